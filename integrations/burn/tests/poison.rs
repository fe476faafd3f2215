//! NaN in memory that is used again, and in a row of x.

mod common;

use burn::tensor::{DType, Tensor};
use common::{Inputs, Results, device, expected, run};
use wgpu_layernorm::Problem;
use wgpu_layernorm_burn::layer_norm;

fn ours(inputs: &Inputs) -> Results {
    run::<2>(inputs, |x, gain, bias| layer_norm(x, gain, bias, 1e-5))
}

/// Outputs and scratch are memory that other tensors have left, and none of it is read before it is written.
#[test]
fn what_memory_held_before_does_not_matter() {
    let device = device();
    for shape in [[1, 3], [7, 33], [50, 256], [129, 1000], [3, 20_001]] {
        let inputs = Inputs::new(&shape, shape[1], 0.0, true, true);
        let expected = expected(&Problem::layer(u32::try_from(shape[1]).unwrap()), &inputs);
        for elements in [shape[0] * shape[1], shape[1], 2 * shape[0], 1 << 20] {
            let poison: Vec<Tensor<1>> =
                (0..4).map(|_| Tensor::full([elements], f32::NAN, (&device, DType::F32)) * 1.0).collect();
            device.sync().unwrap();
            drop(poison);
            let units = ours(&inputs).units(&expected, shape[1]);
            assert!(units.iter().all(|it| *it <= 4.0), "{shape:?}: off by {units:.2?} units, may be by 4");
        }
    }
}

/// What a row holds reaches no other row's y and dx.
#[test]
fn nan_stays_in_its_row() {
    for cols in [5, 64, 257, 20_001] {
        let clean = Inputs::new(&[9, cols], cols, 0.0, true, true);
        for value in [f32::NAN, f32::INFINITY] {
            let mut poisoned = clean.clone();
            poisoned.x[4 * cols + cols / 2] = value;
            let (clean, poisoned) = (ours(&clean), ours(&poisoned));
            for (name, clean, poisoned) in [("y", &clean.y, &poisoned.y), ("dx", &clean.dx, &poisoned.dx)] {
                for (row, (clean, poisoned)) in clean.chunks(cols).zip(poisoned.chunks(cols)).enumerate() {
                    if row == 4 {
                        assert!(poisoned.iter().any(|value| value.is_nan()), "{name} hides {value}");
                    } else {
                        assert_eq!(clean, poisoned, "{name} of row {row}, {cols} columns");
                    }
                }
            }
        }
    }
}
