//! Runs of `forward` and `backward` that have to succeed, and what their results are compared by.

use crate::files::{self, Tensor};
use crate::{Room, Run, layernorm, run};
use safetensors::tensor::Dtype;

/// Runs a call that has to succeed.
pub(crate) fn assert_runs(args: &[&str]) -> Run {
    let result = run(layernorm(args));
    assert_eq!(result.code, Some(0), "{args:?}: {result:?}");
    assert_eq!(result.stdout, "", "{args:?}");
    assert_eq!(result.stderr.lines().count(), 1, "says where it ran, and nothing else: {result:?}");
    result
}

/// Gives `y` of an input on the CPU and on an adapter.
pub(crate) fn on_both(room: &Room, args: &[&str], outputs: &[&str]) -> [Vec<Tensor>; 2] {
    ["cpu", "auto"].map(|adapter| {
        let out = room.path("out");
        let mut all = vec![args[0], &args[1], &out, "--adapter", adapter];
        all.extend(&args[2..]);
        assert_runs(&all);
        let mut names = outputs.to_vec();
        names.sort_unstable();
        assert_eq!(files::names(&out), names);
        outputs.iter().map(|name| files::tensor(&out, name)).collect()
    })
}

/// All values within 4 units of 2^-24 of the largest of each `chunk`.
pub(crate) fn assert_close(name: &str, got: &Tensor, expected: &Tensor, chunk: usize) {
    assert_eq!((got.dtype, &got.shape), (expected.dtype, &expected.shape), "{name}");
    for (got, expected) in got.values().chunks(chunk).zip(expected.values().chunks(chunk)) {
        let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        for (got, expected) in got.iter().zip(expected) {
            let units = f64::from((got - expected).abs()) / f64::from(largest) * f64::from(1 << 24);
            assert!(units <= 4.0, "{name}: {got} is not {expected}: off by {units} units");
        }
    }
}

/// Each value by itself, zeros exactly.
pub(crate) fn assert_near(name: &str, got: &Tensor, expected: &[f32]) {
    for (got, expected) in got.values().iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{name}: {got} is not {expected}");
    }
}

/// Equal but for one rounding of a 16-bit type.
pub(crate) fn assert_similar(name: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!((got.dtype, &got.shape), (expected.dtype, &expected.shape), "{name}");
    let tolerance = if got.dtype == Dtype::BF16 { 1.0 / 128.0 } else { 1.0 / 1024.0 };
    for (got, expected) in got.values().iter().zip(expected.values()) {
        let error = (got - expected).abs();
        assert!(error <= tolerance * expected.abs() + 1e-6, "{name}: {got} is not {expected}");
    }
}
