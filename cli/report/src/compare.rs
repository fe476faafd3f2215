//! Any number of reports beside each other.

use crate::format::{Adapter, Measurement, OutputError, Plan, Report, VerifyRun};
use crate::sheet::Sheet;
use std::collections::BTreeSet;
use std::fmt;

/// What was measured, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `forward`, ….
    pub operation: String,
    /// `layer` or `rms`.
    pub normalization: String,
    /// The storage of the rows.
    pub dtype: String,
    /// The storage of gain and bias.
    pub parameter_dtype: String,
    /// Which of gain and bias there are.
    pub affine: String,
    /// Number of rows.
    pub rows: u64,
    /// Values in a row.
    pub cols: u32,
}

/// The order of a table's rows; what is not among them comes last.
const OPERATIONS: [&str; 4] = ["forward", "forward_residual", "backward", "backward_dx"];
const DTYPES: [&str; 3] = ["f32", "f16", "bf16"];

fn rank<'a>(names: &[&str], name: &'a str) -> (usize, &'a str) {
    (names.iter().position(|other| *other == name).unwrap_or(names.len()), name)
}

impl Key {
    /// The key of a measurement.
    #[must_use]
    pub fn of(measurement: &Measurement) -> Self {
        Self {
            operation: measurement.operation.clone(),
            normalization: measurement.normalization.clone(),
            dtype: measurement.dtype.clone(),
            parameter_dtype: measurement.parameter_dtype.clone(),
            affine: measurement.affine.clone(),
            rows: measurement.rows,
            cols: measurement.cols,
        }
    }

    /// The normalization and, where they are not the usual, which of gain and bias there are.
    fn norm(&self) -> String {
        match (self.normalization.as_str(), self.affine.as_str()) {
            ("layer", "gain_bias") | ("rms", "gain") => self.normalization.clone(),
            (normalization, affine) => format!("{normalization}, {affine}"),
        }
    }

    /// Storage of the rows and, where it is another, of the parameters.
    pub(crate) fn storage(&self) -> String {
        if self.parameter_dtype == self.dtype {
            self.dtype.clone()
        } else {
            format!("{}, parameters {}", self.dtype, self.parameter_dtype)
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        fn order(key: &Key) -> impl Ord + '_ {
            let Key { operation, normalization, dtype, parameter_dtype, affine, rows, cols } = key;
            (
                rank(&OPERATIONS, operation),
                normalization,
                rank(&DTYPES, dtype),
                cols,
                rows,
                parameter_dtype,
                affine,
            )
        }
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, rows, cols, .. } = self;
        write!(f, "{operation}/{}/{}/{rows}x{cols}", self.norm(), self.storage())
    }
}

/// The name of report `index` in a comparison: A to Z, AA, AB, ….
#[must_use]
pub fn label(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    match index / 26 {
        0 => letter.to_string(),
        more => format!("{}{letter}", label(more - 1)),
    }
}

/// A line for each report that says what its letter stands for.
#[must_use]
pub fn legend(reports: &[Report]) -> String {
    let line = |(index, report): (usize, &Report)| {
        let Report { made_by, crate_version, date, adapter, .. } = report;
        let host = if adapter.host.is_empty() { String::new() } else { format!(", {}", adapter.host) };
        let adapter = adapter.description();
        format!("{}: {adapter}{host}, by {made_by} {crate_version}, {date}\n", label(index))
    };
    reports.iter().enumerate().map(line).collect()
}

/// Everything in the reports: which they are, throughput, errors, and all that failed.
#[must_use]
pub fn compare(reports: &[Report]) -> Vec<Sheet> {
    let mut sheets = vec![adapters(reports)];
    sheets.extend(measurements(reports));
    sheets.extend(verification(reports));
    sheets.extend(faults(reports));
    sheets
}

fn adapters(reports: &[Report]) -> Sheet {
    let header = [
        "report",
        "adapter",
        "back end",
        "type",
        "driver",
        "host",
        "subgroups",
        "f16",
        "crate",
        "made by",
        "date",
        "holds",
    ];
    let mut sheet = Sheet::new("Adapters", &header, 0..0);
    for (index, report) in reports.iter().enumerate() {
        let Adapter { name, backend, device_type, driver, driver_info, host, .. } = &report.adapter;
        let subgroups = match report.adapter.subgroup_sizes {
            None => "none".to_owned(),
            Some([min, max]) if min == max => min.to_string(),
            Some([min, max]) => format!("{min} to {max}"),
        };
        let holds = match (&report.error, &report.measurements, &report.verify) {
            (Some(error), ..) => format!("FAILED: {}", one_line(error)),
            (None, Some(_), Some(_)) => "measurements, verification".to_owned(),
            (None, Some(_), None) => "measurements".to_owned(),
            (None, None, Some(_)) => "verification".to_owned(),
            (None, None, None) => "nothing".to_owned(),
        };
        sheet.rows.push(vec![
            label(index),
            or_dash(name),
            or_dash(backend),
            or_dash(device_type),
            or_dash(format!("{driver} {driver_info}").trim()),
            or_dash(host),
            subgroups,
            if report.adapter.shader_f16 { "yes" } else { "no" }.to_owned(),
            report.crate_version.clone(),
            report.made_by.clone(),
            report.date.clone(),
            holds,
        ]);
    }
    sheet
}

/// Throughput: a row for each thing that any of the reports has measured and each report that measures at all.
#[must_use]
pub fn measurements(reports: &[Report]) -> Option<Sheet> {
    let measuring: Vec<(usize, &[Measurement])> = reports
        .iter()
        .enumerate()
        .filter_map(|(index, report)| Some((index, report.measurements.as_deref()?)))
        .collect();
    if measuring.is_empty() {
        return None;
    }
    let keys: BTreeSet<Key> =
        measuring.iter().flat_map(|(_, measurements)| measurements.iter().map(Key::of)).collect();
    let is_alone = reports.len() == 1;
    let mut header = vec!["operation", "norm", "dtype", "rows x cols"];
    if !is_alone {
        header.push("report");
    }
    let first = header.len();
    header.extend(["GB/s", "copy GB/s", "of copy", "time", "spread", "worst error"]);
    let numbers = first..header.len();
    header.extend(["kernel", "plan"]);
    let mut sheet = Sheet::new("Throughput", &header, numbers);
    sheet.note = throughput_note(&measuring);
    for key in &keys {
        for (index, measurements) in &measuring {
            // A report may have measured one thing more than once.
            let mut found: Vec<Option<&Measurement>> =
                measurements.iter().filter(|measurement| Key::of(measurement) == *key).map(Some).collect();
            if found.is_empty() {
                found.push(None);
            }
            for measurement in found {
                let mut row = vec![
                    key.operation.clone(),
                    key.norm(),
                    key.storage(),
                    format!("{} x {}", key.rows, key.cols),
                ];
                if !is_alone {
                    row.push(label(*index));
                }
                row.extend(measurement_cells(measurement));
                sheet.rows.push(row);
            }
        }
    }
    Some(sheet)
}

fn throughput_note(measuring: &[(usize, &[Measurement])]) -> String {
    let clocks: BTreeSet<&str> = measuring
        .iter()
        .flat_map(|(_, measurements)| measurements.iter())
        .filter_map(|measurement| Some(measurement.timing.as_ref()?.clock.as_str()))
        .collect();
    let clocks: Vec<&str> = clocks
        .into_iter()
        .map(|clock| match clock {
            "gpu_timestamps" => "timestamps of the GPU",
            "wall" => "the wall clock, in batches",
            other => other,
        })
        .collect();
    format!(
        "GB/s count the tensors of rows, each once. The copy is the fastest plain shader that reads and writes as many \
         tensors of the same size, timed in turn with the call; 1.00 of copy is as fast. Times are medians, the spread \
         is from the 10th to the 90th percentile; timed by {}. The worst error is in units of the storage type's \
         rounding, and what passes was at most 4 in f32 and 1 in 16 bits. A plan is threads of a row x rows of a \
         workgroup, how the threads add up, and the accesses of a thread to a row, each of so many elements; then that \
         of the next dispatch, if the call has one.",
        if clocks.is_empty() { "nothing".to_owned() } else { clocks.join(" or ") }
    )
}

/// From the throughput on.
fn measurement_cells(measurement: Option<&Measurement>) -> Vec<String> {
    let dash = || "-".to_owned();
    let Some(measurement) = measurement else {
        return [vec!["not measured".to_owned()], vec![dash(); 7]].concat();
    };
    let mut cells = match (&measurement.timing, &measurement.failure) {
        (Some(timing), _) => {
            let spread = |seconds: f64| (100.0 * (seconds / timing.median_seconds - 1.0)).round() + 0.0;
            vec![
                format!("{:.2}", timing.gigabytes_per_second),
                format!("{:.2}", timing.copy_gigabytes_per_second),
                format!("{:.2}", timing.copy_ratio),
                duration(timing.median_seconds),
                format!("{:+} to {:+} %", spread(timing.p10_seconds), spread(timing.p90_seconds)),
            ]
        }
        (None, failure) => {
            let kind = failure.as_ref().map_or("not measured", |failure| failure.kind.name());
            [vec![kind.to_owned()], vec![dash(); 4]].concat()
        }
    };
    let worst = measurement.errors.iter().map(|error| error.units).reduce(f64::max);
    cells.push(worst.map_or_else(dash, |units| format!("{units:.2}")));
    cells.push(measurement.kernel.clone().unwrap_or_else(dash));
    cells.push(measurement.plan.as_ref().map_or_else(dash, Plan::summary));
    cells
}

/// The outputs that share a column.
const CLASSES: [(&str, &[&str]); 4] = [
    ("y, sum", &["y", "sum"]),
    ("statistics", &["statistics"]),
    ("dx", &["dx"]),
    ("dgain, dbias", &["dgain", "dbias"]),
];

/// The kernels against the reference: a row for each kernel and dtype of any report, and each report that verifies.
#[must_use]
pub fn verification(reports: &[Report]) -> Option<Sheet> {
    let runs: Vec<(usize, &VerifyRun)> = reports
        .iter()
        .enumerate()
        .flat_map(|(index, report)| report.verify.iter().flatten().map(move |run| (index, run)))
        .collect();
    if runs.is_empty() {
        return None;
    }
    let is_alone = reports.len() == 1;
    let mut header = vec!["kernel", "dtype"];
    if !is_alone {
        header.push("report");
    }
    header.push("mode");
    let first = header.len();
    header.extend(["cases", "failed", "not supported"]);
    header.extend(CLASSES.map(|(name, _)| name));
    let mut sheet = Sheet::new("Verification", &header, first..header.len());
    sheet.note = "Against the float64 reference, in two modes: full, with all that the adapter offers, and plain, \
                  without subgroup operations and 16-bit floats. Errors are the worst, in units of the storage type's \
                  rounding."
        .to_owned();
    let names: BTreeSet<(&str, (usize, &str))> = runs
        .iter()
        .flat_map(|(_, run)| &run.kernels)
        .map(|group| (kernel_name(group.kernel.as_deref()), rank(&DTYPES, &group.dtype)))
        .collect();
    for (kernel, (_, dtype)) in names {
        for (index, run) in &runs {
            let mut row = vec![kernel.to_owned(), dtype.to_owned()];
            if !is_alone {
                row.push(label(*index));
            }
            row.push(run.mode.name().to_owned());
            let group = run
                .kernels
                .iter()
                .find(|group| kernel_name(group.kernel.as_deref()) == kernel && group.dtype == dtype);
            match (group, &run.error) {
                (Some(group), _) => {
                    row.extend([group.cases, group.failed, group.unsupported].map(|count| count.to_string()));
                    row.extend(CLASSES.map(|(_, outputs)| worst(&group.errors, outputs)));
                }
                // Cases that did not run at all are an entry of their own, and most runs have none.
                (None, None) if kernel == DID_NOT_RUN => continue,
                (None, error) => {
                    row.push(if error.is_some() { "FAILED" } else { "not run" }.to_owned());
                    row.extend(vec!["-".to_owned(); 2 + CLASSES.len()]);
                }
            }
            sheet.rows.push(row);
        }
    }
    Some(sheet)
}

const DID_NOT_RUN: &str = "did not run";

fn kernel_name(kernel: Option<&str>) -> &str {
    kernel.unwrap_or(DID_NOT_RUN)
}

fn worst(errors: &[OutputError], outputs: &[&str]) -> String {
    let of_class = errors.iter().filter(|error| outputs.contains(&error.output.as_str()));
    let worst = of_class.map(|error| error.units).reduce(f64::max);
    worst.map_or_else(|| "-".to_owned(), |units| format!("{units:.2}"))
}

/// Every failure, every reason for what is not supported, and how many cases were left out.
#[must_use]
pub fn faults(reports: &[Report]) -> Option<Sheet> {
    let mut sheet = Sheet::new("Not as it should be", &["report", "what", "how", "why"], 0..0);
    let mut add = |index: usize, what: &str, how: &str, why: &str| {
        sheet.rows.push([&label(index), what, how, &one_line(why)].map(|cell| cell.to_owned()).into());
    };
    for (index, report) in reports.iter().enumerate() {
        if let Some(error) = &report.error {
            add(index, "the adapter", "FAILED", error);
        }
        for measurement in report.measurements.iter().flatten() {
            if let Some(failure) = &measurement.failure {
                add(index, &Key::of(measurement).to_string(), failure.kind.name(), &failure.message);
            }
        }
        for run in report.verify.iter().flatten() {
            if let Some(error) = &run.error {
                add(index, &format!("verification, {}", run.mode), "FAILED", error);
            }
            if run.error.is_none() && run.left_out() > 0 {
                let why = format!("{} of {} cases", run.left_out(), run.all_cases);
                add(index, &format!("verification, {}", run.mode), "not run", &why);
            }
            for case in &run.failures {
                add(index, &format!("{}, {}", case.case, run.mode), "FAILED", &case.failures.join("; "));
            }
            for unsupported in &run.unsupported {
                let count = unsupported.cases.len();
                let cases = if count == 1 { "case" } else { "cases" };
                let what = format!("{count} {cases}, {}", run.mode);
                add(index, &what, "not supported", &unsupported.reason);
            }
        }
    }
    (!sheet.rows.is_empty()).then_some(sheet)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// With three digits or so.
pub(crate) fn duration(seconds: f64) -> String {
    let microseconds = seconds * 1e6;
    match microseconds {
        ..10.0 => format!("{microseconds:.2} us"),
        10.0..100.0 => format!("{microseconds:.1} us"),
        100.0..10_000.0 => format!("{microseconds:.0} us"),
        _ => format!("{:.1} ms", microseconds / 1e3),
    }
}
