//! Reports from JSON to tables, pages and plots.

mod baseline;
mod charts;
mod json;
mod plots;
mod tables;

use layernorm_report::{
    Adapter, CaseFailure, Failure, FailureKind, KernelVerdict, Measurement, Mode, OutputError, Plan, Report,
    Timing, Unsupported, VerifyRun, parse,
};
use serde_json::json;
use std::time::Duration;

fn adapter(name: &str) -> Adapter {
    Adapter {
        name: name.to_owned(),
        backend: "vulkan".to_owned(),
        device_type: "DiscreteGpu".to_owned(),
        driver: "driver".to_owned(),
        driver_info: "1.2.3".to_owned(),
        host: "linux x86_64".to_owned(),
        subgroup_sizes: Some([32, 64]),
        shader_f16: true,
        ..Adapter::default()
    }
}

fn error(output: &str, units: f64) -> OutputError {
    OutputError { output: output.to_owned(), units, allowed: 4.0 }
}

fn plan() -> Plan {
    Plan {
        label: "forward_cached/f32x4".to_owned(),
        kernel: "forward_cached".to_owned(),
        threads_per_row: 64,
        rows_per_workgroup: 4,
        vector_width: 4,
        steps: 2,
        reduction: "lanes".to_owned(),
        more: [("block_rows".to_owned(), json!(1))].into_iter().collect(),
        then: Vec::new(),
    }
}

/// 1 MiB in `seconds`, with a copy that takes half as long.
fn measurement(operation: &str, dtype: &str, cols: u32, seconds: f64) -> Measurement {
    let (bytes, copy) = (1 << 20, seconds / 2.0);
    Measurement {
        operation: operation.to_owned(),
        normalization: "layer".to_owned(),
        affine: "gain_bias".to_owned(),
        dtype: dtype.to_owned(),
        parameter_dtype: dtype.to_owned(),
        channels: None,
        activation: None,
        rows: 128,
        cols,
        kernel: Some("forward_cached".to_owned()),
        plan: Some(plan()),
        errors: vec![error("y", 0.25)],
        timing: Some(Timing {
            median_seconds: seconds,
            p10_seconds: 0.9 * seconds,
            p90_seconds: 1.2 * seconds,
            bytes,
            gigabytes_per_second: bytes as f64 / seconds / 1e9,
            copy_median_seconds: copy,
            copy_p10_seconds: copy,
            copy_p90_seconds: copy,
            copy_gigabytes_per_second: bytes as f64 / copy / 1e9,
            copy_ratio: 0.5,
            copy_form: "64x8".to_owned(),
            clock: "gpu_timestamps".to_owned(),
            rounds: 9,
            calls_per_submit: 10,
            copies_per_submit: 20,
            buffer_sets: 7,
        }),
        failure: None,
    }
}

fn failed(mut measurement: Measurement, kind: FailureKind, message: &str) -> Measurement {
    measurement.timing = None;
    measurement.failure = Some(Failure { kind, message: message.to_owned() });
    measurement
}

fn report(name: &str, measurements: Vec<Measurement>) -> Report {
    let mut report = Report::new("test", Duration::from_secs(1), adapter(name));
    report.measurements = Some(measurements);
    report
}

fn verified(name: &str) -> Report {
    let mut run = VerifyRun::new(Mode::Full);
    run.kernels.push(KernelVerdict {
        kernel: Some("backward_cached".to_owned()),
        dtype: "bf16".to_owned(),
        cases: 5,
        failed: 1,
        unsupported: 0,
        errors: vec![error("dx", 0.5), error("dgain", f64::INFINITY)],
    });
    run.kernels.push(KernelVerdict {
        kernel: None,
        dtype: "f32".to_owned(),
        cases: 2,
        failed: 0,
        unsupported: 2,
        errors: Vec::new(),
    });
    run.failures.push(CaseFailure {
        case: "backward/bf16/1x2".to_owned(),
        failures: vec!["dgain is NaN".to_owned()],
    });
    run.unsupported.push(Unsupported {
        reason: "too few buffers".to_owned(),
        cases: vec!["a".to_owned(), "b".to_owned()],
    });
    let mut plain = VerifyRun::new(Mode::Plain);
    plain.error = Some("the device was lost".to_owned());
    let mut report = Report::new("test", Duration::ZERO, adapter(name));
    report.verify = Some(vec![run, plain]);
    report
}

/// The cells of the rows in which `cell` occurs, without the spaces around them.
fn rows_with(text: &str, cell: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cells| cells.iter().any(|other| other == cell))
        .collect()
}

/// The reports in this repository.
fn committed() -> Vec<Report> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../reports");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path| parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let reports: Vec<Report> = paths.into_iter().flat_map(read).collect();
    assert!(reports.len() > 5);
    reports
}
