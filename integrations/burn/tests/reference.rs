//! Forward and all gradients, held against float64 and against burn's own modules' operations.

mod common;

use burn::tensor::{DType, Tensor};
use common::{Inputs, expected, run};
use wgpu_layernorm::{Affine, Problem};
use wgpu_layernorm_burn::{group_norm, layer_norm, rms_norm};

const NAMES: [&str; 4] = ["y", "dx", "dgain", "dbias"];
const MOST_UNITS: f64 = 4.0;

/// Widths of one step, of several, odd ones, and those that registers do not hold.
const SHAPES: [[usize; 2]; 10] =
    [[1, 1], [3, 2], [5, 33], [7, 64], [300, 17], [37, 768], [64, 256], [128, 1000], [9, 4096], [3, 20_001]];

fn affine(inputs: &Inputs) -> Affine {
    match (&inputs.gain, &inputs.bias) {
        (None, _) => Affine::None,
        (Some(_), None) => Affine::Gain,
        (Some(_), Some(_)) => Affine::GainBias,
    }
}

/// Ours within 4 units, and no worse than burn's own by more than a unit.
fn judge(what: &str, cols: usize, ours: &common::Results, own: &common::Results, expected: &common::Results) {
    let (ours, own) = (ours.units(expected, cols), own.units(expected, cols));
    println!("{what}: ours {ours:.2?}, burn's {own:.2?}");
    for ((name, ours), own) in NAMES.iter().zip(ours).zip(own) {
        assert!(ours <= MOST_UNITS, "{what}: {name} is off by {ours:.2} units, may be by {MOST_UNITS}");
        assert!(
            ours <= own.max(1.0) + 1.0,
            "{what}: {name} is off by {ours:.2} units, burn's own by {own:.2}"
        );
    }
}

#[test]
fn layer_norm_is_within_4_units_of_float64() {
    for shape in SHAPES {
        for mean in [0.0, 3000.0] {
            for (has_gain, has_bias) in [(true, true), (true, false), (false, false)] {
                let inputs = Inputs::new(&shape, shape[1], mean, has_gain, has_bias);
                let problem =
                    Problem { affine: affine(&inputs), ..Problem::layer(shape[1].try_into().unwrap()) };
                let ours = run::<2>(&inputs, |x, gain, bias| layer_norm(x, gain, bias, 1e-5));
                let own = run::<2>(&inputs, |x, gain, bias| {
                    let ones = Tensor::ones([shape[1]], &x.device());
                    burn::tensor::module::layer_norm(x, gain.unwrap_or(ones), bias, 1e-5)
                });
                let what = format!("layer norm {shape:?}, mean {mean}, {}", affine(&inputs));
                judge(&what, shape[1], &ours, &own, &expected(&problem, &inputs));
            }
        }
    }
}

#[test]
fn rms_norm_is_within_4_units_of_float64() {
    for shape in SHAPES {
        for mean in [0.0, 3000.0] {
            for (has_gain, has_bias) in [(true, true), (true, false), (false, false)] {
                let inputs = Inputs::new(&shape, shape[1], mean, has_gain, has_bias);
                let problem =
                    Problem { affine: affine(&inputs), ..Problem::rms(shape[1].try_into().unwrap()) };
                let ours = run::<2>(&inputs, |x, gain, bias| rms_norm(x, gain, bias, 1e-5));
                let own = run::<2>(&inputs, |x, gain, bias| {
                    let rms = (x.clone().cast(DType::F32).square().mean_dim(1) + 1e-5).sqrt();
                    let y = x / rms;
                    let y = gain.map_or(y.clone(), |gain| y * gain.unsqueeze());
                    bias.map_or(y.clone(), |bias| y + bias.unsqueeze())
                });
                let what = format!("RMS norm {shape:?}, mean {mean}, {}", affine(&inputs));
                judge(&what, shape[1], &ours, &own, &expected(&problem, &inputs));
            }
        }
    }
}

/// Samples, channels, values of a channel; groups.
const GROUPED: [([usize; 3], usize); 6] = [
    ([2, 4, 9], 2),
    ([3, 6, 1], 3),
    ([2, 8, 49], 8),
    ([1, 12, 64], 1),
    ([5, 32, 196], 4),
    ([2, 64, 1024], 8),
];

#[test]
fn group_norm_is_within_4_units_of_float64() {
    for (shape, groups) in GROUPED {
        for mean in [0.0, 3000.0] {
            for has_affine in [true, false] {
                let inputs = Inputs::new(&shape, shape[1], mean, has_affine, has_affine);
                let [channels, spatial] = [shape[1], shape[2]].map(|length| u32::try_from(length).unwrap());
                let of_groups = Problem::group(channels, u32::try_from(groups).unwrap(), spatial);
                let channels = of_groups.channels.filter(|_| has_affine);
                let problem = Problem { affine: affine(&inputs), channels, ..of_groups };
                let ours = run::<3>(&inputs, |x, gain, bias| group_norm(x, gain, bias, groups, 1e-5));
                let own = run::<3>(&inputs, |x, gain, bias| {
                    let cols = shape[1] / groups * shape[2];
                    let rows = x.reshape([shape[0], groups, cols]);
                    let rows = rows.clone() - rows.mean_dim(2);
                    let xhat = rows.clone() / (rows.square().mean_dim(2) + 1e-5).sqrt();
                    let xhat = xhat.reshape(shape);
                    let along = |it: Tensor<1>| it.reshape([1, shape[1], 1]);
                    let y = gain.map_or(xhat.clone(), |gain| xhat * along(gain));
                    bias.map_or(y.clone(), |bias| y + along(bias))
                });
                let what = format!("group norm {shape:?} of {groups}, mean {mean}, {}", affine(&inputs));
                judge(&what, problem.cols as usize, &ours, &own, &expected(&problem, &inputs));
            }
        }
    }
}
