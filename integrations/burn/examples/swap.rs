//! A model that takes our norms by its `use`, goes on from a record that was saved with burn's own, and
//! learns:
//!
//!     cargo run --release --example swap

// Before: use burn::nn::{LayerNorm, LayerNormConfig};
use wgpu_layernorm_burn::{LayerNorm, LayerNormConfig};

use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::store::ModuleRecord;
use burn::tensor::activation::relu;
use burn::tensor::{Device, DeviceKind, Distribution, Tensor};

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    norm: LayerNorm,
    second: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(64, 256).init(device),
            norm: LayerNormConfig::new(256).init(device),
            second: LinearConfig::new(256, 1).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.norm.forward(self.first.forward(x))))
    }
}

/// The same model as it was before.
#[derive(Module, Debug)]
struct Before {
    first: Linear,
    norm: burn::nn::LayerNorm,
    second: Linear,
}

fn main() {
    let device = Device::wgpu(DeviceKind::DefaultDevice).autodiff();
    let before = Before {
        first: LinearConfig::new(64, 256).init(&device),
        norm: burn::nn::LayerNormConfig::new(256).init(&device),
        second: LinearConfig::new(256, 1).init(&device),
    };
    let saved = before.into_record().into_bytes().expect("the record is saved");
    let record = ModuleRecord::from_bytes(saved).expect("the record is read");
    let mut model = Model::new(&device).load_record(record);

    let x = Tensor::<2>::random([128, 64], Distribution::Normal(0.0, 1.0), &device);
    let target = x.clone().slice([0..128, 0..8]).square().sum_dim(1);
    let mut optimizer = AdamConfig::new().init();
    for step in 0..50 {
        let loss = MseLoss::new().forward(model.forward(x.clone()), target.clone(), Reduction::Mean);
        if step % 10 == 0 {
            println!("step {step}: {:.3}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
}
