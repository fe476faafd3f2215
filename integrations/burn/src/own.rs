//! The norms as burn computes them, for devices whose compiler takes no WGSL: the operations of its modules.

use crate::norm::Kind;
use burn::tensor::module::layer_norm;
use burn::tensor::{DType, Tensor};
use wgpu_layernorm::Normalization;

/// (y, sum) by burn's own operations, with its own gradients.
pub(crate) fn normalize<const D: usize>(
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    kind: Kind,
    epsilon: f64,
) -> (Tensor<D>, Option<Tensor<D>>) {
    let sum = residual.map(|residual| x.clone() + residual);
    let x = sum.clone().unwrap_or(x);
    let dtype = x.dtype();
    // burn's modules widen what cannot hold its own squares, and narrow the result.
    let x = if dtype == DType::F16 { x.cast(DType::F32) } else { x };
    let wide = x.dtype();
    let [gamma, beta] =
        [gamma, beta].map(|it| it.map(|it| if it.dtype() == wide { it } else { it.cast(wide) }));
    let y = match kind {
        Kind::Rows(Normalization::Layer) => {
            let ones = || Tensor::ones([x.dims()[D - 1]], (&x.device(), wide));
            layer_norm(x.clone(), gamma.unwrap_or_else(ones), beta, epsilon)
        }
        Kind::Rows(_) => {
            let square = x.clone().cast(DType::F32).square();
            let rms = (square.mean_dim(D - 1) + epsilon).sqrt().cast(wide);
            affine(x / rms, gamma, beta, kind)
        }
        Kind::Groups(groups) => {
            let shape = x.shape();
            let values = shape[1..].iter().product::<usize>() / groups;
            let rows = x.reshape([shape[0], groups, values]);
            let rows = rows.clone() - rows.mean_dim(2);
            let variance = rows.clone().square().mean_dim(2);
            let xhat = rows / (variance + epsilon).sqrt();
            affine(xhat.reshape(shape), gamma, beta, kind)
        }
    };
    (if dtype == wide { y } else { y.cast(dtype) }, sum)
}

fn affine<const D: usize>(
    xhat: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    kind: Kind,
) -> Tensor<D> {
    let scaled = match gamma {
        Some(gamma) => xhat * along(gamma, kind),
        None => xhat,
    };
    match beta {
        Some(beta) => scaled + along(beta, kind),
        None => scaled,
    }
}

/// A value for each column or channel, in a shape that goes with x's.
pub(crate) fn along<const D: usize>(parameter: Tensor<1>, kind: Kind) -> Tensor<D> {
    let mut shape = [1; D];
    shape[kind.parameter_axis(D)] = parameter.dims()[0];
    parameter.reshape(shape)
}
