//! A device that is none of `CubeCL`'s: burn's own operations run, with gradients.

mod common;

use burn::tensor::{Device, Tensor};
use common::{Inputs, expected, host, run_on};
use wgpu_layernorm::Problem;
use wgpu_layernorm_burn::{GroupNormConfig, LayerNormConfig, RmsNormConfig, add_layer_norm, kernels};

#[test]
fn a_cpu_back_end_computes_the_norms_itself() {
    let device = Device::flex();
    let inputs = Inputs::new(&[7, 24], 24, 0.0, true, true);
    let x = inputs.tensor::<2>(&inputs.x, &device);
    let results = run_on(&inputs, x.clone(), |x, gain, bias| {
        let (y, sum) = add_layer_norm(x.clone(), x.zeros_like(), gain, bias, 1e-5);
        assert_eq!(host(sum), host(x));
        y
    });
    let units = results.units(&expected(&Problem::layer(24), &inputs), 24);
    assert!(units.iter().all(|units| *units <= 16.0), "off by {units:.2?} units, may be by 16");

    let (layer, rms) = (LayerNormConfig::new(24).init(&device), RmsNormConfig::new(24).init(&device));
    let own =
        (burn::nn::LayerNormConfig::new(24).init(&device), burn::nn::RmsNormConfig::new(24).init(&device));
    assert_eq!(host(layer.forward(x.clone())), host(own.0.forward(x.clone())));
    assert_eq!(host(rms.forward(x.clone())), host(own.1.forward(x.clone())));
    let images: Tensor<3> = x.reshape([7, 6, 4]);
    let (group, own) = (GroupNormConfig::new(2, 6), burn::nn::GroupNormConfig::new(2, 6));
    assert_eq!(host(group.init(&device).forward(images.clone())), host(own.init(&device).forward(images)));
    assert_eq!(kernels(), 0, "no kernel was made");
}
