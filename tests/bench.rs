//! `bench` on the machine's adapter: every operation and storage is checked and timed, and what cannot be says so.
#![cfg(feature = "gpu")]

use std::time::Duration;
use wgpu_layernorm::bench::{Bench, Clock, Measurement, Operation, Options, Workload, open};
use wgpu_layernorm::{Dtype, Error, Normalization, adapters};

/// As little time and memory as it can do with.
const SHORT: Options =
    Options { budget: Duration::ZERO, least_submit: Duration::from_micros(500), rotation_bytes: 1 << 18 };

fn measure(workloads: &[Workload]) -> Vec<Result<Measurement, Error>> {
    pollster::block_on(async {
        let adapters = adapters().await;
        let context = open(adapters.first().expect("an adapter")).await.unwrap();
        let mut bench = Bench::new(&context, SHORT).unwrap();
        let mut results = Vec::new();
        for workload in workloads {
            results.push(bench.measure(workload).await);
        }
        results
    })
}

#[test]
fn every_operation_is_checked_and_timed() {
    let mut workloads = Vec::new();
    for operation in Operation::ALL {
        for (dtype, normalization, rows, cols) in [
            (Dtype::F32, Normalization::Layer, 640, 64),
            // A last word of a copy that is not whole, and rows that share words.
            (Dtype::F16, Normalization::Rms, 37, 77),
            (Dtype::Bf16, Normalization::Layer, 5, 1001),
            // More than one block of the check.
            (Dtype::F32, Normalization::Layer, 1300, 301),
        ] {
            workloads.push(Workload::new(operation, normalization, dtype, rows, cols));
        }
    }
    for (workload, result) in workloads.iter().zip(measure(&workloads)) {
        let name = workload.name();
        let measurement = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(measurement.failures, [""; 0], "{name}");
        assert!(!measurement.plans.is_empty(), "{name}");
        assert!(measurement.errors.iter().all(|error| error.units <= error.allowed), "{name}");
        let timing = measurement.timing.unwrap_or_else(|| panic!("{name} is right, but not timed"));
        assert!(timing.rounds >= Options::LEAST_ROUNDS, "{name}: {timing:?}");
        assert!(timing.sets % 2 == 1 && timing.sets <= Options::MOST_SETS, "{name}: {timing:?}");
        for summary in [timing.call, timing.copy] {
            assert!(0.0 < summary.p10 && summary.p10 <= summary.median && summary.median <= summary.p90);
            assert!(summary.p90 < 10.0, "seconds a call: {name}: {timing:?}");
        }
        assert_eq!(timing.bytes, workload.bytes());
        let ratio = timing.gigabytes_per_second() / timing.copy_gigabytes_per_second();
        assert!((timing.copy_ratio() / ratio - 1.0).abs() < 1e-9, "{name}: {timing:?}");
    }
}

#[test]
fn outputs_of_a_call_are_what_its_errors_are_of() {
    let layer = |operation| Workload::new(operation, Normalization::Layer, Dtype::F32, 9, 40);
    let results = measure(&Operation::ALL.map(layer));
    let tensors: Vec<Vec<&str>> = results
        .iter()
        .map(|result| result.as_ref().unwrap().errors.iter().map(|error| error.tensor.name()).collect())
        .collect();
    assert_eq!(tensors, [&["y"][..], &["sum", "y"], &["dx", "dgain", "dbias"], &["dx"]]);
}

#[test]
fn a_workload_that_cannot_be_is_an_error() {
    let workload =
        |rows, cols| Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, rows, cols);
    for result in measure(&[workload(0, 8), workload(1, 0), workload(1 << 39, 4)]) {
        assert!(result.unwrap_err().is_invalid());
    }
    // 64 GiB a tensor: more than a buffer may have.
    let error = measure(&[workload(1 << 20, 1 << 14)]).remove(0).unwrap_err();
    assert!(error.is_unsupported() || matches!(error, Error::Device { .. }), "{error}");
}

#[test]
fn clocks_have_names() {
    assert_eq!([Clock::GpuTimestamps, Clock::Wall].map(Clock::name), ["gpu_timestamps", "wall"]);
}
