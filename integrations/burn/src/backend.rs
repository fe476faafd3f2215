//! The norms as operations of a burn back end. Each is a call of the kernels: of several tensors that the
//! call has or has not, in the order of burn's own operations on the device.

use crate::norm::{Norm, Wanted};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};
#[cfg(feature = "fusion")]
use burn::{
    backend::fusion::custom::TensorSpec,
    tensor::{DType, Shape},
};

/// A tensor that a call may have.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Maybe<B: Backend> {
    /// It has it.
    Tensor(FloatTensor<B>),
    /// It has not.
    Nothing,
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Nothing, Self::Tensor)
    }
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Nothing => None,
        }
    }
}

/// What forward reads beside x.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Inputs<B: Backend> {
    /// Added to x first: of its shape and type.
    #[extension_type]
    pub residual: Maybe<B>,
    /// A value for each column, or for each channel.
    #[extension_type]
    pub gain: Maybe<B>,
    /// The same, where there is a gain.
    #[extension_type]
    pub bias: Maybe<B>,
}

/// What forward writes.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Outputs<B: Backend> {
    /// The normalized rows, in x's shape.
    pub y: FloatTensor<B>,
    /// x and the residual, where there is one.
    #[extension_type]
    pub sum: Maybe<B>,
    /// `[rows, 2]` float32, mean and rstd of each row, where backward is to come.
    #[extension_type]
    pub statistics: Maybe<B>,
}

/// What backward writes: what is wanted.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Gradients<B: Backend> {
    /// In x's shape and type.
    #[extension_type]
    pub x: Maybe<B>,
    /// In the gain's.
    #[extension_type]
    pub gain: Maybe<B>,
    /// In the gain's, which is the bias's.
    #[extension_type]
    pub bias: Maybe<B>,
}

/// Norms on a back end's tensors.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"), Autodiff)]
pub trait NormOps: Backend {
    /// Normalizes the rows of x, or of x and a residual. With `keep`, statistics for backward are written.
    #[fusion(meta = outputs)]
    fn norm_forward(
        x: FloatTensor<Self>,
        #[extension_type] inputs: Inputs<Self>,
        norm: Norm,
        keep: bool,
    ) -> Outputs<Self>;

    /// The gradients of a forward of `x`, which is the sum where there was a residual.
    #[fusion(meta = gradients)]
    fn norm_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        #[extension_type] gain: Maybe<Self>,
        norm: Norm,
        wanted: Wanted,
    ) -> Gradients<Self>;
}

#[cfg(feature = "fusion")]
fn outputs(x: &TensorSpec, inputs: &InputsMetadata, norm: &Norm, keep: &bool) -> OutputsMetadata {
    let statistics = TensorSpec::new(Shape::from([norm.rows(&x.shape), 2]), DType::F32);
    OutputsMetadata {
        y: x.clone(),
        sum: match inputs.residual {
            MaybeMetadata::Tensor(_) => MaybeMetadata::Tensor(x.clone()),
            MaybeMetadata::Nothing => MaybeMetadata::Nothing,
        },
        statistics: if *keep { MaybeMetadata::Tensor(statistics) } else { MaybeMetadata::Nothing },
    }
}

#[cfg(feature = "fusion")]
fn gradients(
    x: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    gain: &MaybeMetadata,
    _: &Norm,
    wanted: &Wanted,
) -> GradientsMetadata {
    let of_gain = |is_wanted| match gain {
        MaybeMetadata::Tensor(gain) if is_wanted => MaybeMetadata::Tensor(gain.clone()),
        _ => MaybeMetadata::Nothing,
    };
    GradientsMetadata {
        x: if wanted.x { MaybeMetadata::Tensor(x.clone()) } else { MaybeMetadata::Nothing },
        gain: of_gain(wanted.gain),
        bias: of_gain(wanted.bias),
    }
}
