//! Any number of reports beside each other, as tables.

use crate::{committed, failed, measurement, plan, report, rows_with, verified};
use layernorm_report::{
    FailureKind, Filter, Measurement, Plan, Report, Sheet, compare, label, legend, machines, measurements,
    verification,
};
use serde_json::json;

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
