//! Gradient checkpointing, where burn makes tensors again that it has not kept.

mod common;

use burn::tensor::{Device, Tensor};
use common::{Inputs, device, host, vector};
use wgpu_layernorm_burn::{add_rms_norm, layer_norm};

/// Two norms behind operations that are cheap to repeat.
fn gradients(device: &Device) -> Vec<Vec<f64>> {
    let inputs = Inputs::new(&[19, 72], 72, 0.5, true, true);
    let x = inputs.tensor::<2>(&inputs.x, device).require_grad();
    let [gain, bias] =
        [&inputs.gain, &inputs.bias].map(|it| vector(it.as_ref().unwrap(), device).require_grad());
    let doubled = x.clone() * 2.0 + 1.0;
    let y = layer_norm(doubled.clone(), Some(gain.clone() * 0.5), Some(bias.clone() + 1.0), 1e-5);
    let (y, sum) = add_rms_norm(y * 3.0, doubled.exp(), Some(gain.clone()), None, 1e-5);
    let dy: Tensor<2> = inputs.tensor(&inputs.dy, device);
    let mut gradients = ((y + sum.log().abs()) * dy).sum().backward();
    let of_parameters = [gain, bias].map(|leaf| host(leaf.grad_remove(&mut gradients).unwrap()));
    let mut all = vec![host(x.grad_remove(&mut gradients).unwrap())];
    all.extend(of_parameters);
    all
}

#[test]
fn what_is_made_again_has_the_same_gradients() {
    let kept = gradients(&device().autodiff());
    assert!(kept.iter().flatten().all(|value| value.is_finite()));
    let made_again = gradients(&device().autodiff().gradient_checkpointing());
    for (kept, made_again) in kept.iter().zip(&made_again) {
        let off = kept.iter().zip(made_again).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = kept.iter().map(|value| value.abs()).fold(0.0, f64::max);
        // What is fused with what may differ, and with it how an exponential is rounded.
        assert!(off <= 1e-6 * largest, "off by {off} of {largest}");
    }
}
