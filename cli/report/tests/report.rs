//! Reports from JSON to tables, pages and plots.

use layernorm_report::baseline::{changes, matching, sheet};
use layernorm_report::{
    Adapter, CaseFailure, Failure, FailureKind, KernelVerdict, Measurement, Mode, OutputError, Plan, Report,
    Timing, Unsupported, VerifyRun, compare, date, figure, label, legend, measurements, page, panels, parse,
    to_json, verification,
};
use serde_json::{Value, json};
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

/// The cells of the rows in which `cell` occurs, without the spaces around them.
fn rows_with(text: &str, cell: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cells| cells.iter().any(|other| other == cell))
        .collect()
}

#[test]
fn nothing_is_lost_in_a_comparison() {
    let reports = [
        report(
            "one",
            vec![measurement("forward", "f32", 64, 1e-3), measurement("forward", "f32", 128, 1e-3)],
        ),
        report(
            "two",
            vec![
                measurement("forward", "f32", 64, 2e-3),
                failed(measurement("forward", "f32", 256, 1.0), FailureKind::Unsupported, "too wide"),
                failed(measurement("backward", "f16", 64, 1.0), FailureKind::Failed, "the device was lost"),
            ],
        ),
        verified("three"),
    ];
    let text = measurements(&reports).unwrap().text();
    // What either has measured, once for each report that measures at all.
    let rows = |cell: &str| rows_with(&text, cell);
    let cell = |rows: &[Vec<String>], row: usize, column: usize| rows[row][column].clone();
    assert_eq!(rows("128 x 64").len(), 4, "forward and backward, in A and B\n{text}");
    let wide = rows("128 x 128");
    assert_eq!((cell(&wide, 0, 4), cell(&wide, 0, 5)), ("A".to_owned(), "1.05".to_owned()), "{text}");
    assert_eq!((cell(&wide, 1, 4), cell(&wide, 1, 5)), ("B".to_owned(), "not measured".to_owned()), "{text}");
    let wider = rows("128 x 256");
    assert_eq!(
        (cell(&wider, 0, 5), cell(&wider, 1, 5)),
        ("not measured".to_owned(), "not supported".to_owned())
    );
    assert!(rows("C").is_empty(), "a report without measurements has no rows\n{text}");
    let backward: Vec<_> = rows("backward").into_iter().map(|row| row[5].clone()).collect();
    assert_eq!(backward, ["not measured", "FAILED"], "{text}");
    assert_eq!(rows("0.50").len(), 3, "the ratio to the copy\n{text}");

    let all: String = compare(&reports).iter().map(layernorm_report::Sheet::text).collect();
    for word in
        ["one", "two", "three", "1.2.3", "too wide", "the device was lost", "dgain is NaN", "too few buffers"]
    {
        assert!(all.contains(word), "{word} is lost:\n{all}");
    }
    assert_eq!(legend(&reports).lines().count(), 3);
    assert!(legend(&reports).starts_with("A: one [vulkan, 1.2.3], linux x86_64"));
}

#[test]
fn what_was_measured_twice_is_shown_twice() {
    let twice = [measurement("forward", "f32", 64, 1e-3), measurement("forward", "f32", 64, 2e-3)];
    let text = measurements(&[report("one", twice.into())]).unwrap().text();
    let times: Vec<_> = rows_with(&text, "forward").into_iter().map(|row| row[7].clone()).collect();
    assert_eq!(times, ["1000 us", "2000 us"], "{text}");
}

#[test]
fn an_unusual_affine_is_named() {
    let mut bare = measurement("forward", "f32", 64, 1e-3);
    bare.affine = "none".to_owned();
    let text = measurements(&[report("one", vec![bare])]).unwrap().text();
    assert_eq!(rows_with(&text, "forward")[0][1], "layer, none", "{text}");
}

#[test]
fn cases_that_were_left_out_are_counted() {
    let mut stopped = verified("one");
    let runs = stopped.verify.as_mut().unwrap();
    for run in runs.iter_mut() {
        run.all_cases = 700;
    }
    assert_eq!(runs[0].left_out(), 693);
    let text: String = compare(&[stopped]).iter().map(layernorm_report::Sheet::text).collect();
    // The plain run has failed as a whole, which is said already.
    assert_eq!(
        rows_with(&text, "not run"),
        [["A", "verification, full", "not run", "693 of 700 cases"]],
        "{text}"
    );
}

#[test]
fn verification_shows_each_mode_and_what_did_not_run() {
    let text = verification(&[verified("one")]).unwrap().text();
    let rows = rows_with(&text, "backward_cached");
    assert_eq!(
        rows[0],
        ["backward_cached", "bf16", "full", "5", "1", "0", "-", "-", "0.50", "inf"],
        "{text}"
    );
    assert_eq!(
        rows[1],
        ["backward_cached", "bf16", "plain", "FAILED", "-", "-", "-", "-", "-", "-"],
        "{text}"
    );
    assert_eq!(rows_with(&text, "did not run")[0][3..6], ["2", "0", "2"], "{text}");
    assert_eq!(verified("one").verify.unwrap()[0].counts(), [4, 1, 2]);
    assert!(verification(&[report("one", Vec::new())]).is_none());
}

#[test]
fn labels_go_on_after_z() {
    assert_eq!([0, 25, 26, 27, 52, 702].map(label), ["A", "Z", "AA", "AB", "BA", "AAA"]);
}

#[test]
fn dates_are_in_utc() {
    assert_eq!(date(Duration::from_secs(1_764_039_721)), "2025-11-25T03:02:01Z");
    assert_eq!(date(Duration::MAX), "unknown");
}

#[test]
fn slower_and_no_longer_measured_is_worse() {
    let before =
        report("one", [64, 128, 256, 512].map(|cols| measurement("forward", "f32", cols, 1e-3)).into());
    let now = report(
        "one",
        vec![
            measurement("forward", "f32", 64, 1.09e-3),
            measurement("forward", "f32", 128, 1.11e-3),
            failed(measurement("forward", "f32", 256, 1.0), FailureKind::WrongResult, "y is wrong"),
            measurement("forward", "f32", 1024, 1e-3),
        ],
    );
    let changes = changes(&before, &now);
    let worse: Vec<(u32, bool)> =
        changes.iter().map(|change| (change.key.cols, change.is_worse(0.1))).collect();
    // 512 was not asked for this time, and 1024 is new.
    assert_eq!(worse, [(64, false), (128, true), (256, true), (1024, false)]);
    let text = sheet(&changes, 0.1).text();
    let verdict = |cols: u32| rows_with(&text, &format!("forward/layer/f32/128x{cols}"))[0][1].clone();
    assert_eq!(
        [64, 128, 256, 1024].map(verdict),
        ["the same", "SLOWER", "NO LONGER MEASURED", "not in the baseline"]
    );
    assert!(changes[1].is_worse(0.1) && !changes[1].is_worse(0.12));
}

#[test]
fn a_baseline_is_of_the_same_adapter_and_has_measurements() {
    let now = report("one", Vec::new());
    let baselines = [verified("one"), report("two", Vec::new()), report("one", Vec::new())];
    assert!(std::ptr::eq(matching(&baselines, &now).unwrap(), &baselines[2]));
    assert!(matching(&baselines[..2], &now).is_none());
}

#[test]
fn plots_have_a_line_for_each_dtype_or_report() {
    let mut small = measurement("forward", "f32", 64, 1.0);
    small.rows = 1;
    small.timing.as_mut().unwrap().bytes = 8;
    let one = report(
        "one",
        vec![
            small,
            measurement("forward", "f32", 64, 1e-3),
            measurement("forward", "f32", 128, 1e-3),
            measurement("forward", "f16", 64, 1e-3),
            measurement("backward", "f32", 64, 1e-3),
            failed(measurement("backward", "f32", 128, 1.0), FailureKind::Failed, "lost"),
        ],
    );
    let alone = panels(std::slice::from_ref(&one));
    let titles: Vec<&str> = alone.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["layer norm, forward", "layer norm, backward"]);
    let names: Vec<&str> = alone[0].series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["f32", "f16"]);
    let points: Vec<u32> = alone[0].series[0].points.iter().map(|point| point.0).collect();
    assert_eq!(points, [64, 128]);
    assert!(alone[0].series[0].points[0].1 > 1.0, "the larger of two tensors of one width");
    assert_eq!(alone[1].series[0].points.len(), 1);

    let both = panels(&[one, report("two", vec![measurement("forward", "f16", 64, 1e-3)])]);
    let f16 = both.iter().find(|panel| panel.title == "layer norm, forward, f16").unwrap();
    assert_eq!(
        f16.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
        ["A one, vulkan", "B two, vulkan"]
    );
}

#[test]
fn figures_show_every_point_and_turn_dark() {
    let one = report("one", [64, 128].map(|cols| measurement("forward", "f32", cols, 1e-3)).into());
    let svg = figure(&panels(&[one])).unwrap();
    assert_eq!(svg.matches("<svg ").count(), 1);
    assert!(svg.trim_end().ends_with("</svg>"));
    // Two points, and one in the legend.
    assert_eq!(svg.matches("<circle ").count(), 3, "{svg}");
    for word in ["layer norm, forward", "f32", "the copy beside it", "prefers-color-scheme:dark"] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(figure(&[]).is_ok());
}

#[test]
fn pages_are_whole_and_nothing_in_them_is_code() {
    let mut one = report("<script>alert(1)</script>", vec![measurement("forward", "f32", 64, 1e-3)]);
    one.verify = verified("one").verify;
    let page = page("A & B", &[one]).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("A &amp; B") && page.contains("&lt;script&gt;"));
    for word in ["<script", "http://", "https://", "src=", "@import", "url("] {
        let text = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains(word), "{word} in the page");
    }
    assert!(page.contains("<svg ") && page.contains("Throughput") && page.contains("Verification"));
    assert!(page.contains("class=\"alarm") || page.contains(" alarm\""), "what failed stands out");
}
