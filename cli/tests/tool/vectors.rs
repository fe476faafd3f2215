//! The calls of `tests/vectors/family.safetensors`: what PyTorch computes of the
//! norms, and ONNX's own tests.

use crate::Room;
use crate::calls::assert_runs;
use crate::files::{self, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;

/// A call of the tool, and the tensors that it is expected to write.
#[derive(serde::Deserialize)]
struct Call {
    name: String,
    command: String,
    flags: Vec<String>,
    /// Tensors of the output, those of the file that they should be, and what errors are relative to: the
    /// largest value, and of gradients the largest sum of the sizes of terms.
    outputs: BTreeMap<String, (String, f64)>,
}

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/family.safetensors");

/// What is off by so many units of 2^-24 of a tensor's size is right. ONNX's values are `NumPy`'s in
/// float32, whose sums err too. A gate, and its slope, may be off by 14 units (docs/numerics.md). From y,
/// xhat is off by a unit of itself and of bias / gain, of which |bias| is at most 2 and |gain| 0.25 or more.
fn allowed_units(name: &str) -> f64 {
    match name.split_once('.') {
        Some(("onnx", _)) => 16.0,
        Some(("gated", _)) => 14.0,
        Some(("from_y", _)) => 4.0 + 1.0 + 8.0,
        _ => 4.0,
    }
}

#[test]
fn calls_give_what_pytorch_and_onnx_give() {
    let room = Room::new();
    let bytes = std::fs::read(VECTORS).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let calls: Vec<Call> = serde_json::from_str(&header.metadata().as_ref().unwrap()["calls"]).unwrap();
    let count = |is: fn(&str) -> bool| calls.iter().filter(|call| is(&call.name)).count();
    assert_eq!(count(|name| name.starts_with("onnx.")), 30);
    assert_eq!(count(|name| name.ends_with(" backward")), 24);
    assert_eq!(count(|name| name.starts_with("gated.")), 8);
    assert_eq!(count(|name| name.starts_with("from_y.")), 2);
    for call in &calls {
        for adapter in ["cpu", "auto"] {
            let out = room.path("out");
            let mut args = vec![&call.command[..], VECTORS, &out, "--adapter", adapter];
            args.extend(call.flags.iter().map(String::as_str));
            assert_runs(&args);
            for (output, (expected, size)) in &call.outputs {
                let what = format!("{} on {adapter}: {output}", call.name);
                check(&what, &files::tensor(&out, output), &expected_values(&tensors, expected), *size);
            }
        }
    }
}

fn expected_values(tensors: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = tensors.tensor(name).unwrap();
    match tensor.dtype() {
        Dtype::F64 => bytemuck::pod_collect_to_vec(tensor.data()),
        Dtype::F32 => {
            bytemuck::pod_collect_to_vec(tensor.data()).into_iter().map(|value: f32| value.into()).collect()
        }
        other => panic!("{name} is {other}"),
    }
}

fn check(what: &str, got: &Tensor, expected: &[f64], size: f64) {
    let got = got.values();
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let units = (f64::from(*got) - expected).abs() / size * f64::from(1 << 24);
        let is_right = units <= allowed_units(what);
        assert!(is_right, "{what}: {got} is not {expected}: off by {units:.2} units");
    }
}
