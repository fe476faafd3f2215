//! Times our layer norm and burn's own, in turn, on the default wgpu device:
//!
//!     cargo run --release --features fusion --example time [-- ROWSxCOLS ...]
//!
//! Each is synchronized and warm. Medians of milliseconds, with the fastest and the slowest.

use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use std::time::Instant;
use wgpu_layernorm_burn::layer_norm;

const SHAPES: [&str; 3] = ["8192x256", "4096x1024", "2048x4096"];
const WARM_UP: usize = 3;
const REPEATS: usize = 15;
const EPSILON: f64 = 1e-5;

type Norm = fn(Tensor<2>, Tensor<1>, Tensor<1>) -> Tensor<2>;

fn ours(x: Tensor<2>, gain: Tensor<1>, bias: Tensor<1>) -> Tensor<2> {
    layer_norm(x, Some(gain), Some(bias), EPSILON)
}

fn own(x: Tensor<2>, gain: Tensor<1>, bias: Tensor<1>) -> Tensor<2> {
    burn::tensor::module::layer_norm(x, gain, Some(bias), EPSILON)
}

struct Inputs {
    device: Device,
    x: Tensor<2>,
    gain: Tensor<1>,
    bias: Tensor<1>,
}

impl Inputs {
    fn new(rows: usize, cols: usize) -> Self {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let x = Tensor::random([rows, cols], Distribution::Normal(0.0, 1.0), &device);
        let gain = Tensor::random([cols], Distribution::Uniform(0.5, 1.5), &device);
        let bias = Tensor::random([cols], Distribution::Uniform(-1.0, 1.0), &device);
        let inputs = Self { device, x, gain, bias };
        inputs.sync();
        inputs
    }

    fn sync(&self) {
        self.device.sync().expect("the device runs");
    }

    /// Seconds of a forward without gradients.
    fn forward(&self, norm: Norm) -> f64 {
        let (x, gain, bias) = (self.x.clone(), self.gain.clone(), self.bias.clone());
        let start = Instant::now();
        let y = norm(x, gain, bias);
        self.sync();
        let time = start.elapsed().as_secs_f64();
        drop(y);
        time
    }

    /// Seconds of a backward for all three gradients, from a gradient of ones.
    fn backward(&self, norm: Norm) -> f64 {
        let x = self.x.clone().autodiff().require_grad();
        let [gain, bias] = [&self.gain, &self.bias].map(|it| it.clone().autodiff().require_grad());
        let y = norm(x.clone(), gain.clone(), bias.clone());
        self.sync();
        let start = Instant::now();
        let mut gradients = y.backward();
        let dx = x.grad_remove(&mut gradients);
        let parameters = [gain.grad_remove(&mut gradients), bias.grad_remove(&mut gradients)];
        self.sync();
        let time = start.elapsed().as_secs_f64();
        assert!(dx.is_some() && parameters.iter().all(Option::is_some), "a gradient is missing");
        time
    }
}

/// Times `call` for each of both, in turn.
fn compare(call: impl Fn(Norm) -> f64) -> [Vec<f64>; 2] {
    let norms: [Norm; 2] = [ours, own];
    for _ in 0..WARM_UP {
        norms.iter().for_each(|norm| _ = call(*norm));
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..REPEATS {
        for (times, norm) in times.iter_mut().zip(norms) {
            times.push(1e3 * call(norm));
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    times
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let shapes = if given.is_empty() { SHAPES.map(str::to_owned).to_vec() } else { given };
    let name = Device::wgpu(DeviceKind::DefaultDevice).identity().map_or("unknown".into(), |it| it.name);
    println!("{name}, burn's fusion {}", if cfg!(feature = "fusion") { "on" } else { "off" });
    println!("| rows x columns | | ours, ms | burn's own, ms | times as fast |");
    println!("| --- | --- | --- | --- | --- |");
    for shape in shapes {
        let parsed = shape.split_once('x').and_then(|(r, c)| Some((r.parse().ok()?, c.parse().ok()?)));
        let Some((rows, cols)) = parsed else {
            eprintln!("{shape} is no shape: write ROWSxCOLS, such as 4096x1024");
            std::process::exit(2);
        };
        let inputs = Inputs::new(rows, cols);
        let both = [
            ("forward", compare(|norm| inputs.forward(norm))),
            ("backward", compare(|norm| inputs.backward(norm))),
        ];
        for (what, times) in both {
            let [ours, own] = times.map(|times| (times[times.len() / 2], times[0], times[times.len() - 1]));
            let text =
                |(median, least, most): (f64, f64, f64)| format!("{median:.2} ({least:.2} to {most:.2})");
            println!("| {shape} | {what} | {} | {} | {:.1} |", text(ours), text(own), own.0 / ours.0);
        }
    }
}
