//! Reports as JSON has them.

use crate::{failed, measurement, report, verified};
use layernorm_report::{FailureKind, date, parse, to_json};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn what_is_written_is_what_is_read() {
    let broken = failed(measurement("backward", "f16", 64, 1.0), FailureKind::WrongResult, "dx is wrong");
    let reports = vec![report("one", vec![measurement("forward", "f32", 64, 1e-3), broken]), verified("two")];
    assert_eq!(parse(&to_json(&reports).unwrap()).unwrap(), reports);
    assert_eq!(parse(&to_json(&reports[..1]).unwrap()).unwrap(), reports[..1]);
}

#[test]
fn one_report_is_an_object_with_flat_measurements() {
    let text = to_json(&[report("one", vec![measurement("forward", "f32", 64, 1e-3)])]).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["adapter"]["name"], "one");
    let measurement = &json["measurements"][0];
    let numbers = [
        "rows",
        "cols",
        "median_seconds",
        "bytes",
        "gigabytes_per_second",
        "copy_gigabytes_per_second",
        "copy_ratio",
    ];
    for key in numbers {
        assert!(measurement[key].is_number(), "{key}: {measurement}");
    }
    for key in ["operation", "kernel", "dtype"] {
        assert!(measurement[key].is_string(), "{key}: {measurement}");
    }
    assert_eq!(measurement["plan"]["threads_per_row"], 64);
    assert_eq!(measurement["plan"]["block_rows"], 1);
    assert!(json.get("verify").is_none() && measurement.get("failure").is_none());
}

#[test]
fn what_is_no_report_is_refused_with_a_reason() {
    let refused = |text: &str, says: &str| {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    };
    refused("", "JSON");
    refused("{", "JSON");
    refused("[]", "empty");
    refused("3", "version");
    refused("{}", "version");
    refused(r#"{"version": "1"}"#, "version");
    refused(r#"{"version": 1}"#, "missing field");
    refused(r#"{"version": 2}"#, "format version 2");
    let good = report("one", vec![measurement("forward", "f32", 64, 1e-3)]);
    let mut json: Value = serde_json::from_str(&to_json(&[good]).unwrap()).unwrap();
    // A field of the future does no harm; a number that is not there does.
    json["weather"] = json!("fine");
    json["measurements"][0]["weather"] = json!("fine");
    assert!(parse(&json.to_string()).is_ok());
    json["measurements"][0]["median_seconds"] = Value::Null;
    refused(&json.to_string(), "forward/layer/f32/128x64");
    refused(&json!([json]).to_string(), "forward/layer/f32/128x64");
    let good: Value = serde_json::from_str(&to_json(&[verified("two")]).unwrap()).unwrap();
    for (cases, failed, unsupported) in [(1, 2, 0), (1, 1, 1), (5, u64::MAX, 2), (u64::MAX, 0, 0)] {
        let mut json = good.clone();
        let verdict = &mut json["verify"][0]["kernels"][0];
        verdict["cases"] = json!(cases);
        verdict["failed"] = json!(failed);
        verdict["unsupported"] = json!(unsupported);
        refused(&json.to_string(), "the verdict on backward_cached, bf16");
    }
}

#[test]
fn parameters_without_a_storage_have_that_of_the_rows() {
    let mut mixed = measurement("forward", "f16", 64, 1e-3);
    mixed.parameter_dtype = "f32".to_owned();
    let reports = [report("one", vec![measurement("forward", "f16", 64, 1e-3), mixed])];
    let mut json: Value = serde_json::from_str(&to_json(&reports).unwrap()).unwrap();
    assert_eq!(json["measurements"][1]["parameter_dtype"], "f32");
    assert!(json["measurements"][0].as_object_mut().unwrap().remove("parameter_dtype").is_some());
    assert_eq!(parse(&json.to_string()).unwrap(), reports);
}

#[test]
fn dates_are_in_utc() {
    assert_eq!(date(Duration::from_secs(1_764_039_721)), "2025-11-25T03:02:01Z");
    assert_eq!(date(Duration::MAX), "unknown");
}
