//! Reports from JSON to tables, pages and plots.

use layernorm_report::baseline::{changes, matching, sheet};
use layernorm_report::{
    Adapter, CaseFailure, Failure, FailureKind, Filter, KernelVerdict, Measurement, Mode, OutputError, Panel,
    Plan, Report, Sheet, Timing, Unsupported, VerifyRun, compare, date, figure, label, legend, machines,
    measurements, page, panels, parse, to_json, verification,
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
        channels: None,
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

/// All tables of measurements.
fn text(reports: &[Report]) -> String {
    measurements(reports).iter().map(Sheet::text).collect()
}

/// The tables whose titles begin so.
fn tables(reports: &[Report], title: &str) -> String {
    measurements(reports).iter().filter(|sheet| sheet.title.starts_with(title)).map(Sheet::text).collect()
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
                failed(measurement("forward", "f32", 128, 1.0), FailureKind::Unsupported, "too wide"),
                failed(measurement("backward", "f16", 64, 1.0), FailureKind::Failed, "the device was lost"),
            ],
        ),
        verified("three"),
    ];
    let times = tables(&reports, "Times: forward, layer norm, f32");
    let narrow = rows_with(&times, "128 x 64");
    assert_eq!(narrow[0], ["128 x 64", "A", "1.05", "2.10", "0.50", "1000 us", "-10 to +20 %", "0.25"]);
    assert_eq!(narrow[1][..3], ["128 x 64", "B", "0.524"], "{times}");
    let wide = rows_with(&times, "128 x 128");
    assert_eq!((wide[0][2].as_str(), wide[1][2].as_str()), ("1.05", "not supported"), "{times}");
    let failed = tables(&reports, "Times: backward, layer norm, f16");
    assert_eq!(rows_with(&failed, "128 x 64")[0][1..3], ["B", "FAILED"], "{failed}");

    let all: String = compare(&reports).iter().map(Sheet::text).collect();
    for word in
        ["one", "two", "three", "1.2.3", "too wide", "the device was lost", "dgain is NaN", "too few buffers"]
    {
        assert!(all.contains(word), "{word} is lost:\n{all}");
    }
    assert_eq!(legend(&reports).lines().count(), 3);
    assert!(legend(&reports).starts_with("A: one [vulkan, 1.2.3], linux x86_64"));
}

#[test]
fn machines_are_columns_with_their_ratio() {
    let machine = |name: &str, seconds: [f64; 2]| {
        let [narrow, wide] = seconds;
        report(
            name,
            vec![measurement("forward", "f32", 64, narrow), measurement("forward", "f32", 128, wide)],
        )
    };
    let mut reports = vec![
        machine("one", [1e-3, 1e-3]),
        machine("two", [5e-4, 1.25e-4]),
        report(
            "three",
            vec![measurement("forward", "f32", 128, 4e-3), measurement("forward", "f32", 512, 1e-3)],
        ),
    ];
    let text = tables(&reports, "Throughput: forward, layer norm, f32");
    let names = ["A GB/s", "B GB/s", "C GB/s", "B/A", "C/A", "A/copy", "B/copy", "C/copy"];
    assert_eq!(rows_with(&text, "rows x cols")[0], [&["rows x cols"][..], &names].concat(), "{text}");
    assert_eq!(
        rows_with(&text, "128 x 64")[0],
        ["128 x 64", "1.05", "2.10", "-", "2.00", "-", "0.50", "0.50", "-"],
        "{text}"
    );
    assert_eq!(
        rows_with(&text, "128 x 128")[0],
        ["128 x 128", "1.05", "8.39", "0.262", "8.00", "0.250", "0.50", "0.50", "0.50"],
        "{text}"
    );
    assert!(rows_with(&text, "128 x 512").is_empty(), "there is nothing beside it\n{text}");
    assert_eq!(rows_with(&tables(&reports, "Times"), "128 x 512").len(), 1);
    // 2 and 8 times as fast, which is 4 times.
    let short = tables(&reports, "In short");
    assert_eq!(
        rows_with(&short, "forward, layer norm, f32")[0][1..],
        ["4.00 (2.00 to 8.00; 2)", "0.250 (0.250 to 0.250; 1)"],
        "{short}"
    );

    reports.remove(1);
    reports[1].measurements.as_mut().unwrap().remove(0);
    assert!(tables(&reports, "Throughput").is_empty());
    let none = tables(&reports, "In short");
    assert!(none.contains("no ratio to that of A") && !none.contains('|'), "{none}");
    assert!(tables(&reports[..1], "In short").is_empty(), "a machine alone");
}

#[test]
fn more_machines_than_fit_are_in_several_tables() {
    let machine = |index: usize| report(&index.to_string(), vec![measurement("forward", "f32", 64, 1e-3)]);
    let reports: Vec<Report> = (0..9).map(machine).collect();
    let sheets = measurements(&reports);
    for title in ["In short", "Throughput"] {
        let sheets: Vec<&Sheet> = sheets.iter().filter(|sheet| sheet.title.starts_with(title)).collect();
        assert!(sheets.len() > 1, "{title}");
        let all = sheets.iter().flat_map(|sheet| &sheet.header).filter(|name| name.ends_with("/A"));
        let ratios: Vec<&String> = all.collect();
        assert_eq!(ratios, ["B/A", "C/A", "D/A", "E/A", "F/A", "G/A", "H/A", "I/A"], "{title}");
        for sheet in sheets {
            let text = sheet.text();
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        }
    }
    let titles: Vec<&str> =
        sheets.iter().map(|sheet| sheet.title.as_str()).filter(|title| title.starts_with("Thr")).collect();
    assert_eq!(titles[0], "Throughput: forward, layer norm, f32: A, B, C, D");
}

#[test]
fn reports_of_one_machine_with_nothing_in_common_are_one() {
    let narrow = || report("one", vec![measurement("forward", "f32", 64, 1e-3)]);
    let wide = || report("one", vec![measurement("forward", "f32", 128, 1e-3)]);
    let labels = |reports: &[Report]| -> Vec<usize> {
        machines(reports).iter().map(|machine| machine.reports.len()).collect()
    };
    assert_eq!(labels(&[narrow(), report("two", Vec::new()), verified("one"), wide()]), [3, 1]);
    let reports = [narrow(), wide()];
    let text = text(&reports);
    assert!(text.contains("128 x 64 ") && text.contains("128 x 128") && !text.contains("machine"), "{text}");
    assert_eq!(legend(&reports).matches("1970-01-01T00:00:01Z").count(), 2);
    // Before and after are two.
    assert_eq!(labels(&[narrow(), narrow()]), [1, 1]);
    assert_eq!(labels(&[verified("one"), verified("one")]), [1, 1]);
    let mut newer = wide();
    newer.adapter.driver_info = "1.2.4".to_owned();
    assert_eq!(labels(&[narrow(), newer]), [1, 1]);
    let mut unopened = wide();
    unopened.error = Some("lost".to_owned());
    assert_eq!(labels(&[narrow(), unopened]), [1, 1]);
}

#[test]
fn what_was_measured_twice_is_shown_twice() {
    let twice = [measurement("forward", "f32", 64, 1e-3), measurement("forward", "f32", 64, 2e-3)];
    let text = text(&[report("one", twice.into())]);
    let times: Vec<_> = rows_with(&text, "128 x 64").into_iter().map(|row| row[4].clone()).collect();
    assert_eq!(times, ["1000 us", "2000 us"], "{text}");
}

#[test]
fn an_unusual_affine_and_storage_are_named() {
    let mut bare = measurement("forward", "f16", 64, 1e-3);
    bare.affine = "none".to_owned();
    bare.parameter_dtype = "f32".to_owned();
    let title = |one: &Measurement| measurements(&[report("one", vec![one.clone()])])[0].title.clone();
    assert_eq!(title(&bare), "Throughput: forward, layer norm without gain and bias, f16, parameters f32");
    bare.normalization = "rms".to_owned();
    bare.affine = "gain".to_owned();
    assert_eq!(title(&bare), "Throughput: forward, RMS norm, f16, parameters f32");
}

#[test]
fn plans_are_in_words() {
    let words = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        plan.words()
    };
    let rest = "64 threads a row, 4 rows a workgroup";
    assert_eq!(words(|_| {}), format!("cached, {rest}, by lanes, 4 at a time"));
    let streamed = words(|plan| {
        plan.kernel = "backward_streamed".to_owned();
        plan.reduction = "workgroup".to_owned();
        plan.more.insert("block_rows".to_owned(), json!(4));
    });
    assert_eq!(streamed, format!("streamed, {rest}, by workgroup memory, blocks of 4 rows, 4 at a time"));
    let alone = words(|plan| {
        plan.reduction = "thread".to_owned();
        (plan.threads_per_row, plan.rows_per_workgroup) = (1, 1);
    });
    assert_eq!(alone, "cached, 1 thread a row, 1 row a workgroup, 4 at a time");
    let split = words(|plan| {
        plan.kernel = "forward_split_statistics".to_owned();
        plan.reduction = "adaptive".to_owned();
        plan.then = vec![Plan { kernel: "forward_split_apply".to_owned(), ..plan.clone() }];
    });
    assert_eq!(
        split,
        format!(
            "statistics of parts of a row, {rest}, by subgroups of any size, 4 at a time; \
             then results of parts of a row, {rest}, by subgroups of any size, 4 at a time"
        )
    );
    let parameters = words(|plan| {
        plan.then = vec![Plan {
            kernel: "backward_reduce_parameters".to_owned(),
            reduction: "thread".to_owned(),
            ..plan.clone()
        }];
    });
    let second = "then dgain and dbias, 64 threads across, 4 slices of rows, 4 at a time";
    assert_eq!(parameters, format!("cached, {rest}, by lanes, 4 at a time; {second}"));
    let unknown = words(|plan| plan.kernel = "forward_of_the_future".to_owned());
    assert!(unknown.starts_with("of the future, 64 threads"), "{unknown}");
}

#[test]
fn plans_name_their_widths() {
    let mut all: Vec<Measurement> =
        [64, 128, 256, 384, 512, 1024].map(|cols| measurement("forward", "f32", cols, 1e-3)).into();
    let threads = |one: &mut Measurement, threads| one.plan.as_mut().unwrap().threads_per_row = threads;
    threads(&mut all[3], 32);
    // A width with two plans.
    let mut few = measurement("forward", "f32", 1024, 1e-3);
    few.rows = 1;
    threads(&mut few, 32);
    all.push(few);
    all.push(failed(measurement("forward", "f32", 2048, 1.0), FailureKind::Unsupported, "no kernel"));
    all[7].plan = None;
    let text = tables(&[report("one", all)], "Plans: forward, layer norm, f32");
    let rows: Vec<_> = text.lines().filter(|line| line.contains("threads a row")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    let cell = |row: usize| rows[row].trim_matches('|').split('|').next().unwrap().trim();
    assert_eq!((cell(0), cell(1)), ("64 to 256, 512, 128 x 1024", "384, 1 x 1024"), "{text}");
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

#[test]
fn committed_reports_fit_a_terminal() {
    let reports = committed();
    let text = legend(&reports) + &compare(&reports).iter().map(Sheet::text).collect::<String>();
    for line in text.lines() {
        assert!(line.chars().count() <= 120, "{} columns: {line}", line.chars().count());
    }
    // Words are whole.
    for word in ["backward_streamed", "HeadlessChrome/156.0.0.0", "2026-11-27T22:35:53Z", "workgroup,"] {
        assert!(text.contains(word), "{word} is broken");
    }
}

#[test]
fn a_filter_takes_what_has_all_that_it_names() {
    let all = || {
        let mut one = report(
            "one",
            vec![
                measurement("forward", "f32", 64, 1e-3),
                measurement("forward", "f16", 64, 1e-3),
                measurement("backward", "f16", 128, 1e-3),
            ],
        );
        one.verify = verified("one").verify;
        [one, report("two", vec![measurement("forward", "bf16", 64, 1e-3)])]
    };
    let filter = |shapes: &[(u64, u32)], dtypes: &[&str], operations: &[&str]| Filter {
        shapes: shapes.into(),
        dtypes: dtypes.iter().map(|name| (*name).to_owned()).collect(),
        operations: operations.iter().map(|name| (*name).to_owned()).collect(),
    };
    let left = |filter: &Filter| {
        let mut reports = all();
        filter.apply(&mut reports).unwrap();
        assert!(reports.iter().all(|report| report.verify.is_none()));
        reports.map(|report| {
            let measurements = report.measurements.unwrap();
            measurements
                .iter()
                .map(|one| format!("{} {} {}", one.operation, one.dtype, one.cols))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        left(&filter(&[(128, 64)], &["f16", "f32"], &[])),
        [vec!["forward f32 64", "forward f16 64"], vec![]]
    );
    assert_eq!(left(&filter(&[], &[], &["backward"])), [vec!["backward f16 128"], vec![]]);
    assert_eq!(left(&filter(&[], &["bf16"], &[])), [vec![], vec!["forward bf16 64"]]);
    let mut unfiltered = all();
    Filter::default().apply(&mut unfiltered).unwrap();
    assert_eq!(unfiltered, all());

    let refused = |filter: &Filter, says: &str| {
        let mut reports = all();
        assert_eq!(filter.apply(&mut reports).unwrap_err().to_string(), says);
        assert_eq!(reports, all(), "nothing is taken away");
    };
    refused(&filter(&[(1, 64)], &[], &[]), "--shape 1x64: not in the reports; there are: 128x64, 128x128");
    refused(&filter(&[], &["f16", "f64"], &[]), "--dtype f64: not in the reports; there are: f32, f16, bf16");
    refused(
        &filter(&[], &[], &["tune"]),
        "--operation tune: not in the reports; there are: forward, backward",
    );
    refused(
        &filter(&[(128, 128)], &["f32"], &[]),
        "no measurement is of all of --shape 128x128 --dtype f32; there are: backward/f16/128x128",
    );
    let none = filter(&[], &["f32"], &[]).apply(&mut [verified("one")]).unwrap_err().to_string();
    assert!(none.contains("no measurements"), "{none}");
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
fn cases_that_were_left_out_are_counted() {
    let mut stopped = verified("one");
    let runs = stopped.verify.as_mut().unwrap();
    for run in runs.iter_mut() {
        run.all_cases = 700;
    }
    assert_eq!(runs[0].left_out(), 693);
    let text: String = compare(&[stopped]).iter().map(Sheet::text).collect();
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

fn titles(panels: &[Panel]) -> Vec<&str> {
    panels.iter().map(|panel| panel.title.as_str()).collect()
}

fn names(panel: &Panel) -> Vec<&str> {
    panel.series.iter().map(|series| series.name.as_str()).collect()
}

#[test]
fn plots_have_a_series_for_each_dtype_or_machine() {
    let mut small = measurement("forward", "f32", 64, 1.0);
    small.rows = 1;
    let mut bare = measurement("forward", "f32", 64, 1e-3);
    bare.affine = "none".to_owned();
    let one = report(
        "one",
        vec![
            measurement("forward", "f32", 128, 1e-3),
            measurement("forward", "f32", 64, 1e-3),
            small,
            measurement("forward", "f16", 64, 1e-3),
            measurement("backward", "f32", 64, 1e-3),
            failed(measurement("backward", "f32", 128, 1.0), FailureKind::Failed, "lost"),
            bare,
        ],
    );
    let alone = panels(std::slice::from_ref(&one));
    let all = ["forward, layer norm", "forward, layer norm without gain and bias", "backward, layer norm"];
    assert_eq!(titles(&alone), all);
    assert_eq!(names(&alone[0]), ["f32", "f16"]);
    assert_ne!(alone[0].series[0].mark, alone[0].series[1].mark);
    // One row of 64 is another thing than 128 rows of 64.
    assert_eq!(alone[0].shapes, [(64, 1), (64, 128), (128, 128)]);
    assert_eq!(alone[0].series[0].points.len(), 3);
    assert_eq!(alone[2].shapes, [(64, 128)]);
    assert_eq!(alone[2].series[0].points.len(), 1);

    let both = panels(&[one, report("two", vec![measurement("forward", "f16", 64, 1e-3)])]);
    let f16 = both.iter().find(|panel| panel.title == "forward, layer norm, f16").unwrap();
    assert_eq!(names(f16), ["A one, vulkan", "B two, vulkan"]);
}

#[test]
fn a_machine_keeps_its_color() {
    let machine = |name: &str, dtypes: &[&str]| {
        report(name, dtypes.iter().map(|dtype| measurement("forward", dtype, 64, 1e-3)).collect())
    };
    let one = || machine("one", &["f32", "f16"]);
    let two = || machine("two", &["f16"]);
    let color = |reports: &[Report], name: &str| {
        let colors: Vec<usize> = panels(reports)
            .iter()
            .flat_map(|panel| panel.series.clone())
            .filter(|series| series.name.ends_with(name))
            .map(|series| series.color)
            .collect();
        assert!(colors.iter().all(|color| *color == colors[0]), "{colors:?} in one figure");
        colors[0]
    };
    // Behind another, before another, where the other has nothing, and alone.
    let together = color(&[one(), two()], "two, vulkan");
    assert_eq!(color(&[two(), one()], "two, vulkan"), together);
    assert_eq!(color(&[machine("one", &["f32"]), two()], "two, vulkan"), together);
    assert_eq!(color(&[two()], "f16"), together);
    assert_ne!(color(&[one(), two()], "one, vulkan"), together);

    // However many there are, no two have the same before all colors are taken.
    let many: Vec<Report> = (0..12).map(|index| machine(&index.to_string(), &["f32"])).collect();
    let mut colors: Vec<usize> = panels(&many)[0].series.iter().map(|series| series.color).collect();
    colors.sort_unstable();
    assert_eq!(colors, (0..12).collect::<Vec<_>>());
    let committed = committed();
    let all = panels(&committed);
    for report in &committed {
        let series = panels(std::slice::from_ref(report)).into_iter().flat_map(|panel| panel.series).next();
        let Some(series) = series else { continue };
        let name = format!("{}, {}", report.adapter.name, report.adapter.backend);
        let among = all.iter().flat_map(|panel| &panel.series).find(|series| series.name.ends_with(&name));
        assert_eq!(among.unwrap().color, series.color, "{name}");
    }
}

#[test]
fn figures_show_every_point_and_turn_dark() {
    let one = report("one", [64, 128].map(|cols| measurement("forward", "f32", cols, 1e-3)).into());
    let svg = figure(&panels(&[one])).unwrap();
    assert_eq!(svg.matches("<svg ").count(), 1);
    assert!(svg.trim_end().ends_with("</svg>"));
    // Two points, and one in the legend.
    assert_eq!(svg.matches("<polygon ").count(), 3, "{svg}");
    for word in [
        "forward, layer norm",
        "f32",
        "128 x 64",
        "128 x 128",
        "fastest plain copy",
        "prefers-color-scheme:dark",
    ] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(figure(&[]).is_ok());
    // Two and two, each with its marks.
    assert!(svg.contains("width=\"520\""), "{svg}");
    let panel = panels(&[report("one", vec![measurement("forward", "f32", 64, 1e-3)])]).remove(0);
    let three = figure(&[panel.clone(), panel.clone(), panel]).unwrap();
    assert!(three.contains("width=\"1040\""), "{three}");
    let mut marks = marks(&three);
    marks.sort_by(f64::total_cmp);
    // Of three panels a point each and a legend: four in the left half, two in the right.
    assert_eq!(marks.iter().filter(|x| **x < 520.0).count(), 4, "{marks:?}");
    assert_eq!(marks.len(), 6, "{marks:?}");
}

#[test]
fn long_names_fit_the_plot() {
    let name = "ANGLE (NVIDIA, NVIDIA GeForce RTX 4090 (0x00002684) Direct3D11 vs_5_0 ps_5_0, D3D11)";
    let mut mixed = measurement("forward_residual", "bf16", 64, 1e-3);
    mixed.parameter_dtype = "f32".to_owned();
    let reports = [report(name, vec![mixed.clone()]), report("two", vec![mixed])];
    let svg = figure(&panels(&reports)).unwrap();
    let size = |text: &str| -> f64 {
        let (before, _) = svg.split_once(text).unwrap_or_else(|| panic!("{text}: {svg}"));
        let (_, size) = before.rsplit_once("font-size=\"").unwrap();
        size.split_once('"').unwrap().0.parse().unwrap()
    };
    let widths = ["forward_residual, layer norm, bf16, parameters f32", name].map(|text| {
        let letters = text.chars().count() as f64;
        letters * size(text) * 0.6
    });
    assert!(widths.iter().all(|width| (300.0..=520.0).contains(width)), "{widths:?} pixels");
    assert!(size("B two, vulkan") > size(name));
}

/// The middle of each mark of a figure, from left to right.
fn marks(svg: &str) -> Vec<f64> {
    let of = |polygon: &str| {
        let points = polygon.split_once("points=\"").unwrap().1.split_once('"').unwrap().0;
        let across: Vec<f64> = points
            .split_whitespace()
            .map(|point| point.split_once(',').unwrap().0.parse().unwrap())
            .collect();
        across.iter().sum::<f64>() / across.len() as f64
    };
    svg.split("<polygon ").skip(1).map(of).collect()
}

#[test]
fn fast_and_slow_are_both_seen() {
    let machine = |name: &str, seconds: f64| {
        let rates = [64, 128].map(|cols| measurement("forward", "f32", cols, seconds * f64::from(cols)));
        report(name, rates.into())
    };
    // A thousand times, and within each twice.
    let svg = figure(&panels(&[machine("slow", 1e-3), machine("fast", 1e-6)])).unwrap();
    let marks = marks(&svg);
    let [slow, fast, slower, faster] = marks[..4] else { panic!("{marks:?}") };
    for twice in [slow - slower, fast - faster] {
        assert!(twice > 8.0, "{twice} pixels for twice as fast: {marks:?}");
    }
    assert!(fast - slow > 200.0, "{marks:?}");
    // What has no place on the scale is left out, and does no harm to the others.
    let mut idle = measurement("forward", "f32", 256, 1e-3);
    idle.timing.as_mut().unwrap().gigabytes_per_second = f64::INFINITY;
    let svg = figure(&panels(&[report("one", vec![measurement("forward", "f32", 64, 1e-3), idle])])).unwrap();
    assert_eq!(svg.matches("<polygon ").count(), 2, "{svg}");
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
    let at = |word: &str| page.find(word).unwrap_or_else(|| panic!("{word} is not in the page"));
    let order = ["<h2>Machines", "<svg ", "<h2>Throughput", "<h2>Plans", "<h2>Verification"].map(at);
    assert!(order.is_sorted(), "{order:?}");
    assert!(page.contains("class=\"alarm") || page.contains(" alarm\""), "what failed stands out");
}
