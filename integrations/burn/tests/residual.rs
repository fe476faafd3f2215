//! The norm of a sum, and the gradients that reach it through y and on other ways.

mod common;

use burn::tensor::Tensor;
use common::{Inputs, Results, device, expected, host, values, vector};
use wgpu_layernorm::{Affine, Problem};
use wgpu_layernorm_burn::{LayerNormConfig, RmsNormConfig, add_layer_norm, add_rms_norm, layer_norm};

const SHAPES: [[usize; 2]; 5] = [[1, 3], [6, 64], [33, 257], [40, 768], [3, 20_000]];

type AddNorm = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, Option<Tensor<1>>, f64) -> (Tensor<2>, Tensor<2>);

/// dx, the residual's gradient and the rest, with the sum used on another way, where its gradient is `dsum`.
fn run(
    inputs: &Inputs,
    residual: &[f32],
    dsum: Option<&[f32]>,
    norm: AddNorm,
) -> (Results, Vec<f64>, Vec<f64>) {
    let device = device().autodiff();
    let x = inputs.tensor::<2>(&inputs.x, &device).require_grad();
    let added = inputs.tensor::<2>(residual, &device).require_grad();
    let leaf = |it: &Option<Vec<f32>>| it.as_ref().map(|it| vector(it, &device).require_grad());
    let (gain, bias) = (leaf(&inputs.gain), leaf(&inputs.bias));
    let (y, sum) = norm(x.clone(), added.clone(), gain.clone(), bias.clone(), 1e-5);
    let mut loss = (y.clone() * inputs.tensor::<2>(&inputs.dy, &device)).sum();
    if let Some(dsum) = dsum {
        loss = loss + (sum.clone() * inputs.tensor::<2>(dsum, &device)).sum();
    }
    let mut gradients = loss.backward();
    let mut of =
        |leaf: Option<Tensor<1>>| leaf.map_or(Vec::new(), |it| host(it.grad_remove(&mut gradients).unwrap()));
    let (dgain, dbias) = (of(gain), of(bias));
    let dx = host(x.grad_remove(&mut gradients).unwrap());
    let dresidual = host(added.grad_remove(&mut gradients).unwrap());
    (Results { y: host(y), dx, dgain, dbias, dx_terms: Vec::new() }, host(sum), dresidual)
}

#[test]
fn the_sum_is_that_of_float32_and_its_norm_within_4_units() {
    for shape in SHAPES {
        let cols = u32::try_from(shape[1]).unwrap();
        for (norm, problem, has_bias) in [
            (add_layer_norm as AddNorm, Problem::layer(cols), true),
            (add_rms_norm as AddNorm, Problem::rms(cols), false),
        ] {
            let inputs = Inputs::new(&shape, shape[1], 0.0, true, has_bias);
            let residual = values(9, inputs.x.len());
            let dsum = values(10, inputs.x.len());
            let summed: Vec<f32> = inputs.x.iter().zip(&residual).map(|(x, r)| x + r).collect();
            let of_sum = Inputs { x: summed.clone(), ..inputs.clone() };
            let mut expected = expected(&problem, &of_sum);
            for with_dsum in [false, true] {
                let (results, sum, dresidual) = run(&inputs, &residual, with_dsum.then_some(&dsum), norm);
                if with_dsum {
                    for (dx, dsum) in expected.dx.iter_mut().zip(&dsum) {
                        *dx += f64::from(*dsum);
                    }
                }
                let summed: Vec<f64> = summed.iter().map(|value| f64::from(*value)).collect();
                assert_eq!(sum, summed, "{shape:?}");
                assert_eq!(results.dx, dresidual, "{shape:?}: x and the residual have one gradient");
                let units = results.units(&expected, shape[1]);
                assert!(
                    units.iter().all(|it| *it <= 4.0),
                    "{shape:?} dsum {with_dsum}: off by {units:.2?} units"
                );
            }
        }
    }
}

#[test]
fn a_sum_that_alone_is_used_passes_its_gradient_on() {
    let device = device().autodiff();
    let x = vector(&[1.0, 2.0], &device).reshape([1, 2]).require_grad();
    let residual = vector(&[3.0, 5.0], &device).reshape([1, 2]).require_grad();
    let (_, sum) = add_layer_norm(x.clone(), residual.clone(), None, None, 1e-5);
    let mut gradients = (sum * 3.0).sum().backward();
    assert_eq!(host(x.grad_remove(&mut gradients).unwrap()), [3.0; 2]);
    assert_eq!(host(residual.grad_remove(&mut gradients).unwrap()), [3.0; 2]);
}

/// Only what asks for a gradient gets one.
#[test]
fn a_residual_may_ask_for_no_gradient() {
    let device = device().autodiff();
    let inputs = Inputs::new(&[4, 16], 16, 0.0, true, true);
    let x = inputs.tensor::<2>(&inputs.x, &device);
    let residual = inputs.tensor::<2>(&values(9, 64), &device).require_grad();
    let gain = vector(inputs.gain.as_ref().unwrap(), &device);
    let bias = vector(inputs.bias.as_ref().unwrap(), &device).require_grad();
    let (y, _) = add_layer_norm(x.clone(), residual.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
    let mut gradients = y.sum().backward();
    assert!(x.grad_remove(&mut gradients).is_none());
    assert!(gain.grad_remove(&mut gradients).is_none());
    assert!(residual.grad_remove(&mut gradients).is_some());
    assert_eq!(host(bias.grad_remove(&mut gradients).unwrap()), [4.0; 16]);
}

#[test]
fn modules_have_the_sum_too() {
    let device = device();
    let inputs = Inputs::new(&[5, 32], 32, 0.0, false, false);
    let (x, residual) = (inputs.tensor::<2>(&inputs.x, &device), inputs.tensor::<2>(&inputs.dy, &device));
    let module = LayerNormConfig::new(32).init(&device);
    let (y, sum) = module.forward_add(x.clone(), residual.clone());
    assert_eq!(host(sum.clone()), host(x.clone() + residual.clone()));
    assert_eq!(host(y), host(module.forward(sum)));
    let module = RmsNormConfig::new(32).init(&device);
    let (y, sum) = module.forward_add(x, residual);
    assert_eq!(host(y), host(module.forward(sum)));
}

#[test]
#[should_panic(expected = "the residual has shape [4, 8], needs that of x, [5, 8]")]
fn a_residual_of_another_shape_is_refused() {
    let device = device();
    let _ =
        add_layer_norm::<2>(Tensor::zeros([5, 8], &device), Tensor::zeros([4, 8], &device), None, None, 1e-5);
}

#[test]
#[should_panic(expected = "gamma has 7 values, needs 8: one for each index of axis 1 of x")]
fn a_gain_of_another_length_is_refused() {
    let device = device();
    let _ = layer_norm::<2>(Tensor::zeros([5, 8], &device), Some(Tensor::ones([7], &device)), None, 1e-5);
}

/// There is no kernel with a bias and no gain.
#[test]
fn a_bias_goes_without_a_gain() {
    let inputs = Inputs::new(&[6, 40], 40, 0.0, false, true);
    let ours = common::run::<2>(&inputs, |x, _, bias| layer_norm(x, None, bias, 1e-5));
    let with_ones = Inputs { gain: Some(vec![1.0; 40]), ..inputs };
    let problem = Problem { affine: Affine::GainBias, ..Problem::layer(40) };
    let expected = Results { dgain: Vec::new(), ..expected(&problem, &with_ones) };
    let units = ours.units(&expected, 40);
    assert!(units.iter().all(|it| *it <= 4.0), "off by {units:.2?} units, may be by 4");
}
