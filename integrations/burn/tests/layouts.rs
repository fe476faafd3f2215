//! Tensors that do not lie row after row, and those without rows.

mod common;

use burn::tensor::{Device, Tensor};
use common::{Inputs, Results, device, expected, host, run_on, values, vector};
use wgpu_layernorm::Problem;
use wgpu_layernorm_burn::{add_rms_norm, group_norm, layer_norm, rms_norm};

/// Layer norm of what `view` makes of a base, with gradients for the view.
fn judge<const D: usize>(what: &str, base: [usize; 3], view: impl Fn(Tensor<3>) -> Tensor<D>) {
    let x = view(vector(&values(7, base.iter().product()), &device()).reshape(base));
    let shape = x.dims();
    let logical: Vec<f32> = x.clone().try_into_vec_as().unwrap();
    let inputs = Inputs { x: logical, ..Inputs::new(&shape, shape[D - 1], 0.0, true, true) };
    let results = run_on(&inputs, x, |x, gain, bias| layer_norm(x, gain, bias, 1e-5));
    let problem = Problem::layer(u32::try_from(inputs.cols()).unwrap());
    let units = results.units(&expected(&problem, &inputs), inputs.cols());
    assert!(units.iter().all(|units| *units <= 4.0), "{what}: off by {units:.2?} units, may be by 4");
}

#[test]
fn views_are_normalized_where_they_lie() {
    judge("transposed", [1, 37, 64], |x| x.reshape([37, 64]).transpose());
    judge("transposed, odd", [1, 33, 5], |x| x.reshape([33, 5]).transpose());
    judge("heads before tokens", [12, 3, 64], |x| x.swap_dims(0, 1));
    judge("heads before tokens, odd", [5, 3, 7], |x| x.swap_dims(0, 1));
    judge("channels last", [4, 32, 49], |x| x.swap_dims(1, 2));
    judge("reversed axes", [6, 10, 16], |x| x.permute([2, 1, 0]));
    judge("a slice of wider rows", [2, 9, 192], |x| x.slice([0..2, 0..9, 64..128]));
    judge("a slice of samples", [4, 64, 32], |x| x.slice([1..3, 0..64, 0..32]));
    judge("a slice of rows", [4, 64, 32], |x| x.slice([0..4, 16..32, 0..32]));
    judge("an odd slice", [3, 7, 11], |x| x.slice([1..3, 2..6, 3..8]));
    judge("four axes", [6, 10, 16], |x| x.reshape([2, 3, 10, 16]).swap_dims(1, 2));
    judge("one axis", [1, 1, 100], |x| x.reshape([100]));
}

#[test]
fn values_that_repeat_are_normalized() {
    judge("rows that are one", [1, 1, 24], |x| x.expand([3, 5, 24]));
    judge("columns that are one", [4, 6, 1], |x| x.expand([4, 6, 8]));
}

/// The gradient that reaches y may be a view too.
#[test]
fn a_gradient_may_lie_otherwise_than_x() {
    let shape = [5, 8, 12];
    let inputs = Inputs::new(&shape, 12, 0.0, true, true);
    let device = device().autodiff();
    let x = inputs.tensor::<3>(&inputs.x, &device).require_grad();
    let [gain, bias] =
        [&inputs.gain, &inputs.bias].map(|it| vector(it.as_ref().unwrap(), &device).require_grad());
    let y = layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
    let dy = inputs.tensor::<3>(&inputs.dy, &device).swap_dims(1, 2);
    let mut gradients = (y.clone().swap_dims(1, 2) * dy).sum().backward();
    let results = Results {
        y: host(y),
        dx: host(x.grad_remove(&mut gradients).unwrap()),
        dgain: host(gain.grad_remove(&mut gradients).unwrap()),
        dbias: host(bias.grad_remove(&mut gradients).unwrap()),
        dx_terms: Vec::new(),
    };
    let units = results.units(&expected(&Problem::layer(12), &inputs), 12);
    assert!(units.iter().all(|units| *units <= 4.0), "off by {units:.2?} units, may be by 4");
}

#[test]
fn group_norm_takes_views() {
    let plain = device();
    let x = vector(&values(3, 2 * 7 * 6), &plain).reshape([2, 7, 6]).swap_dims(1, 2);
    let y = host(group_norm(x.clone(), None, None, 3, 1e-5));
    let logical: Vec<f32> = x.try_into_vec_as().unwrap();
    let inputs = Inputs { x: logical, ..Inputs::new(&[2, 6, 7], 6, 0.0, false, false) };
    let problem = Problem { affine: wgpu_layernorm::Affine::None, ..Problem::layer(14) };
    let units = common::units(&y, &expected(&problem, &inputs).y, &[], 14);
    assert!(units <= 4.0, "off by {units:.2} units, may be by 4");
}

fn empty<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::empty(shape, device)
}

#[test]
fn nothing_is_normalized_to_nothing() {
    let device = device().autodiff();
    let gain = vector(&[2.0; 8], &device).require_grad();
    let x = empty([0, 8], &device).require_grad();
    let y = layer_norm(x.clone(), Some(gain.clone()), Some(gain.clone()), 1e-5);
    assert_eq!(y.dims(), [0, 8]);
    let mut gradients = y.backward();
    assert_eq!(x.grad_remove(&mut gradients).unwrap().dims(), [0, 8]);
    // As gain and as bias: the sum over no rows.
    assert_eq!(host(gain.grad_remove(&mut gradients).unwrap()), [0.0; 8]);

    let plain = device.inner();
    let is_empty = |y: Tensor<3>, shape: [usize; 3]| {
        assert_eq!(y.dims(), shape);
        assert!(host(y).is_empty());
    };
    is_empty(rms_norm(empty([2, 3, 0], &plain), None, None, 1e-5), [2, 3, 0]);
    is_empty(group_norm(empty([0, 4, 9], &plain), None, None, 2, 1e-5), [0, 4, 9]);
    is_empty(group_norm(empty([2, 4, 0], &plain), None, None, 2, 1e-5), [2, 4, 0]);
    let (y, sum) = add_rms_norm(empty([0, 3, 4], &plain), empty([0, 3, 4], &plain), None, None, 1e-5);
    is_empty(y, [0, 3, 4]);
    is_empty(sum, [0, 3, 4]);
}
