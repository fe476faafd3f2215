//! What the kernels cannot do is done by burn's own operations, and a warning says so once.

mod common;

use burn::tensor::{DType, Tensor};
use common::{Inputs, device, expected, host};
use std::sync::Mutex;
use wgpu_layernorm::{Affine, Problem};
use wgpu_layernorm_burn::{add_layer_norm, group_norm, kernels, layer_norm, rms_norm};

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("wgpu_layernorm_burn")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// A device that has float64 computes in it, by burn's own operations.
#[test]
fn what_kernels_cannot_do_is_burns_own_with_a_warning_each() {
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let device = device().autodiff();
    let inputs = Inputs::new(&[7, 24], 24, 3.0, true, true);

    // No kernel takes an eps below 0. burn's own does, and so do we.
    let x = inputs.tensor::<2>(&inputs.x, &device);
    let own = burn::tensor::module::layer_norm(x.clone(), Tensor::ones([24], &device), None, -1e-3);
    for _ in 0..2 {
        assert_eq!(host(layer_norm(x.clone(), None, None, -1e-3)), host(own.clone()));
    }
    assert_eq!(kernels(), 0, "no kernel was made");
    let warnings = WARNINGS.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("eps is -0.001"), "{warnings:?}");
    drop(warnings);

    if !device.supports_dtype(DType::F64) {
        eprintln!("the device has no float64");
        return;
    }
    let wide = |tensor: Tensor<1>| tensor.cast(DType::F64).detach().require_grad();
    let x = inputs.tensor::<2>(&inputs.x, &device).cast(DType::F64).detach().require_grad();
    let [gain, bias] =
        [&inputs.gain, &inputs.bias].map(|it| wide(common::vector(it.as_ref().unwrap(), &device)));
    let problem = Problem::layer(24);
    let expected_of_sum =
        expected(&problem, &Inputs { x: inputs.x.iter().map(|x| 2.0 * x).collect(), ..inputs.clone() });
    let expected_of_x = expected(&problem, &inputs);
    let near = |what: &str, got: Vec<f64>, expected: &[f64]| {
        for (got, expected) in got.iter().zip(expected) {
            // The results are read as float32.
            assert!(
                (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{what}: {got}, needs {expected}"
            );
        }
    };
    let y = layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
    assert_eq!(y.dtype(), DType::F64);
    near("y", host(y.clone()), &expected_of_x.y);
    let dy = inputs.tensor::<2>(&inputs.dy, &device).cast(DType::F64);
    let gradients = |y: Tensor<2>| {
        let mut gradients = (y * dy.clone()).sum().backward();
        let dx = host(x.grad_remove(&mut gradients).unwrap());
        [dx, host(gain.grad_remove(&mut gradients).unwrap()), host(bias.grad_remove(&mut gradients).unwrap())]
    };
    // A device's powers of float64 may be poor ones, and burn's gradients are made of them.
    let own = burn::tensor::module::layer_norm(x.clone(), gain.clone(), Some(bias.clone()), 1e-5);
    assert_eq!(gradients(y), gradients(own));

    let (y, sum) = add_layer_norm(x.clone(), x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
    near("sum", host(sum), &inputs.x.iter().map(|x| 2.0 * f64::from(*x)).collect::<Vec<_>>());
    near("y of the sum", host(y), &expected_of_sum.y);

    let none = |problem: Problem| Problem { affine: Affine::None, ..problem };
    let bare = Inputs { gain: None, bias: None, ..inputs.clone() };
    near("RMS", host(rms_norm(x.clone(), None, None, 1e-5)), &expected(&none(Problem::rms(24)), &bare).y);
    let of_rms = Problem { affine: Affine::GainBias, ..Problem::rms(24) };
    let y = rms_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
    near("RMS with gamma and beta", host(y), &expected(&of_rms, &inputs).y);

    let grouped = x.reshape([7, 6, 4]);
    let rows = expected(&none(Problem::layer(8)), &bare).y;
    near("groups", host(group_norm(grouped.clone(), None, None, 3, 1e-5)), &rows);
    let of_channels = |it: Tensor<1>| Some(it.narrow(0, 0, 6));
    let y = group_norm(grouped, of_channels(gain.clone()), of_channels(bias.clone()), 3, 1e-5);
    let first = |it: &Option<Vec<f32>>| it.as_ref().map(|it| it[..6].to_vec());
    let with_channels = Inputs { gain: first(&inputs.gain), bias: first(&inputs.bias), ..inputs.clone() };
    near("groups with gamma and beta", host(y), &expected(&Problem::group(6, 3, 4), &with_channels).y);

    assert_eq!(kernels(), 0, "no kernel was made");
    let warnings = WARNINGS.lock().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("tensors have type F64, and the kernels F32, F16 and BF16"), "{warnings:?}");
}
