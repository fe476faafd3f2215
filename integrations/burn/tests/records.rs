//! Records, configurations and what is displayed: ours and burn's own are one.

mod common;

use burn::config::Config;
use burn::module::Module;
use burn::nn;
use burn::store::ModuleRecord;
use burn::tensor::Tensor;
use common::{device, host, values, vector};
use wgpu_layernorm_burn::{GroupNormConfig, LayerNormConfig, RmsNormConfig};

/// A parameter with values that no initializer makes.
fn set(parameter: burn::module::Param<Tensor<1>>, seed: u64) -> burn::module::Param<Tensor<1>> {
    parameter.map(|it| vector(&values(seed, it.dims()[0]), &it.device()))
}

fn bytes(module: impl Module) -> burn::tensor::Bytes {
    module.into_record().into_bytes().unwrap()
}

fn record(bytes: burn::tensor::Bytes) -> ModuleRecord {
    ModuleRecord::from_bytes(bytes).unwrap()
}

#[test]
fn a_layer_norm_of_burns_loads_into_ours_and_back() {
    let device = device();
    for has_bias in [true, false] {
        let config = nn::LayerNormConfig::new(24).with_bias(has_bias);
        let mut theirs = config.init(&device);
        theirs.gamma = set(theirs.gamma, 1);
        theirs.beta = theirs.beta.map(|beta| set(beta, 2));
        let fresh = LayerNormConfig::new(24).with_bias(has_bias).init(&device);
        let ours = fresh.load_record(record(bytes(theirs.clone())));
        assert_eq!(host(ours.gamma.val()), host(theirs.gamma.val()));
        let beta = |it: &Option<burn::module::Param<Tensor<1>>>| it.as_ref().map(|it| host(it.val()));
        assert_eq!(beta(&ours.beta), beta(&theirs.beta));
        assert_eq!(ours.beta.is_some(), has_bias);

        let back = config.init(&device).load_record(record(bytes(ours)));
        assert_eq!(host(back.gamma.val()), host(theirs.gamma.val()));
        assert_eq!(beta(&back.beta), beta(&theirs.beta));
    }
}

#[test]
fn an_rms_norm_of_burns_loads_into_ours_and_back() {
    let device = device();
    let mut theirs = nn::RmsNormConfig::new(24).init(&device);
    theirs.gamma = set(theirs.gamma, 1);
    let ours = RmsNormConfig::new(24).init(&device).load_record(record(bytes(theirs.clone())));
    assert_eq!(host(ours.gamma.val()), host(theirs.gamma.val()));
    let back = nn::RmsNormConfig::new(24).init(&device).load_record(record(bytes(ours)));
    assert_eq!(host(back.gamma.val()), host(theirs.gamma.val()));
}

#[test]
fn a_group_norm_of_burns_loads_into_ours_and_back() {
    let device = device();
    let mut theirs = nn::GroupNormConfig::new(2, 8).init(&device);
    theirs.gamma = theirs.gamma.map(|gamma| set(gamma, 1));
    theirs.beta = theirs.beta.map(|beta| set(beta, 2));
    let ours = GroupNormConfig::new(2, 8).init(&device).load_record(record(bytes(theirs.clone())));
    let of = |it: &Option<burn::module::Param<Tensor<1>>>| host(it.as_ref().unwrap().val());
    assert_eq!((of(&ours.gamma), of(&ours.beta)), (of(&theirs.gamma), of(&theirs.beta)));
    let back = nn::GroupNormConfig::new(2, 8).init(&device).load_record(record(bytes(ours)));
    assert_eq!((of(&back.gamma), of(&back.beta)), (of(&theirs.gamma), of(&theirs.beta)));
}

/// A configuration that burn's has written is read by ours, with the same defaults.
#[test]
fn configurations_are_one() {
    let written = serde_json::to_value(nn::LayerNormConfig::new(7)).unwrap();
    assert_eq!(serde_json::to_value(LayerNormConfig::new(7)).unwrap(), written);
    let written = nn::RmsNormConfig::new(7).with_epsilon(1e-3).to_string();
    let read = RmsNormConfig::load_binary(written.as_bytes()).unwrap();
    assert_eq!((read.d_model, read.epsilon), (7, 1e-3));
    let written = nn::GroupNormConfig::new(2, 8).with_affine(false).to_string();
    assert_eq!(GroupNormConfig::load_binary(written.as_bytes()).unwrap().to_string(), written);
}

#[test]
fn modules_display_as_burns() {
    let device = device();
    let layer = (nn::LayerNormConfig::new(6).init(&device), LayerNormConfig::new(6).init(&device));
    assert_eq!(layer.0.to_string(), layer.1.to_string());
    let rms = (nn::RmsNormConfig::new(6).init(&device), RmsNormConfig::new(6).init(&device));
    assert_eq!(rms.0.to_string(), rms.1.to_string());
    let group = (nn::GroupNormConfig::new(2, 6).init(&device), GroupNormConfig::new(2, 6).init(&device));
    assert_eq!(group.0.to_string(), group.1.to_string());
}

/// The same values as burn's own modules, at values that both are good at.
#[test]
fn modules_compute_what_burns_do() {
    let device = device();
    let x = vector(&values(5, 4 * 6 * 10), &device).reshape([4, 6, 10]);
    let near = |ours: Tensor<3>, own: Tensor<3>| {
        let off = (ours - own).abs().max().into_scalar::<f32>();
        assert!(off < 2e-6, "off by {off}");
    };
    let (own, ours) =
        (nn::LayerNormConfig::new(10).with_epsilon(0.1), LayerNormConfig::new(10).with_epsilon(0.1));
    near(ours.init(&device).forward(x.clone()), own.init(&device).forward(x.clone()));
    let (own, ours) =
        (nn::RmsNormConfig::new(10).with_epsilon(0.1), RmsNormConfig::new(10).with_epsilon(0.1));
    near(ours.init(&device).forward(x.clone()), own.init(&device).forward(x.clone()));
    for affine in [true, false] {
        let own = nn::GroupNormConfig::new(3, 6).with_epsilon(0.1).with_affine(affine).init(&device);
        let ours = GroupNormConfig::new(3, 6).with_epsilon(0.1).with_affine(affine).init(&device);
        near(ours.forward(x.clone()), own.forward(x.clone()));
    }
}

#[test]
#[should_panic(expected = "gamma has 10 values, needs 3")]
fn another_width_is_refused() {
    let module = LayerNormConfig::new(10).init(&device());
    let _ = module.forward(Tensor::<2>::zeros([1, 3], &device()));
}

#[test]
#[should_panic(expected = "input of GroupNorm has 4 channels in its second axis, needs 6")]
fn other_channels_are_refused() {
    let module = GroupNormConfig::new(2, 6).init(&device());
    let _ = module.forward(Tensor::<3>::zeros([1, 4, 9], &device()));
}
