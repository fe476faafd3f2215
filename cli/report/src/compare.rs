//! Any number of reports beside each other.

use crate::format::{Adapter, Measurement, OfChannels, OutputError, Plan, Report, VerifyRun};
use crate::machine::{Machine, machines};
use crate::sheet::{Sheet, wrapped};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was measured, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `forward`, ….
    pub operation: String,
    /// `layer`, `rms` or `l2`.
    pub normalization: String,
    /// The storage of the rows.
    pub dtype: String,
    /// The storage of gain and bias.
    pub parameter_dtype: String,
    /// Which of gain and bias there are.
    pub affine: String,
    /// Channels and groups of a sample, where gain and bias have a value for each channel.
    pub channels: Option<OfChannels>,
    /// Number of rows.
    pub rows: u64,
    /// Values in a row.
    pub cols: u32,
}

/// The order of a table's rows; what is not among them comes last.
pub(crate) const OPERATIONS: [&str; 4] = ["forward", "forward_residual", "backward", "backward_dx"];
pub(crate) const DTYPES: [&str; 3] = ["f32", "f16", "bf16"];

pub(crate) fn rank<'a>(names: &[&str], name: &'a str) -> (usize, &'a str) {
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
            channels: measurement.channels,
            rows: measurement.rows,
            cols: measurement.cols,
        }
    }

    /// The normalization and, where they are not the usual, which of gain and bias there are.
    fn norm(&self) -> String {
        match (self.normalization.as_str(), self.affine.as_str()) {
            ("layer", "gain_bias") | ("rms", "gain") | ("l2", "none") => self.normalization.clone(),
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

impl Key {
    /// The same of any shape.
    pub(crate) fn section(&self) -> Self {
        Self { rows: 0, cols: 0, ..self.clone() }
    }

    /// All but the shape, for a heading: `forward, layer norm, f16, parameters f32`.
    pub(crate) fn title(&self) -> String {
        let norm = match self.normalization.as_str() {
            "rms" => "RMS norm".to_owned(),
            "l2" => "L2 normalization".to_owned(),
            other => format!("{other} norm"),
        };
        let affine = match (self.normalization.as_str(), self.affine.as_str()) {
            (_, "none") if self.channels.is_some() => String::new(),
            ("layer", "gain_bias") if self.channels.is_some() => " with gain and bias".to_owned(),
            ("rms", "gain") if self.channels.is_some() => " with a gain".to_owned(),
            ("layer", "gain_bias") | ("rms", "gain") | ("l2", "none") => String::new(),
            (_, "none") => " without gain and bias".to_owned(),
            (_, "gain") => " with a gain alone".to_owned(),
            (_, "gain_bias") => " with gain and bias".to_owned(),
            (_, other) => format!(" with {other}"),
        };
        let channels = self.channels.map_or_else(String::new, |OfChannels { count, groups }| {
            match self.affine.as_str() {
                "none" => format!(" of {count} channels in {groups} groups"),
                _ => format!(" for each of {count} channels in {groups} groups"),
            }
        });
        format!("{}, {norm}{affine}{channels}, {}", self.operation, self.storage())
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        fn order(key: &Key) -> impl Ord + '_ {
            let Key { operation, normalization, dtype, parameter_dtype, affine, channels, rows, cols } = key;
            (
                rank(&OPERATIONS, operation),
                normalization,
                rank(&DTYPES, dtype),
                cols,
                rows,
                parameter_dtype,
                affine,
                channels,
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
        write!(f, "{operation}/{}/{}/{rows}x{cols}", self.norm(), self.storage())?;
        match self.channels {
            Some(OfChannels { count, groups }) => write!(f, "/{count}_channels_in_{groups}"),
            None => Ok(()),
        }
    }
}

/// A line for each machine that says what its letter stands for.
#[must_use]
pub fn legend(reports: &[Report]) -> String {
    let line =
        |machine: &Machine<'_>| wrapped(&machine.to_string(), usize::from(Sheet::COLUMNS), "   ") + "\n";
    machines(reports).iter().map(line).collect()
}

/// The titles of what comes first.
pub(crate) const MACHINES: &str = "Machines";
pub(crate) const IN_SHORT: &str = "In short";

/// Everything in the reports: which they are, throughput, plans, errors, and all that failed.
#[must_use]
pub fn compare(reports: &[Report]) -> Vec<Sheet> {
    let mut sheets = vec![adapters(reports)];
    sheets.extend(measurements(reports));
    sheets.extend(verification(reports));
    sheets.extend(faults(reports));
    sheets
}

fn adapters(reports: &[Report]) -> Sheet {
    let header = ["machine", "adapter", "driver", "host", "subgroups, f16", "reports"];
    let mut sheet = Sheet::new(MACHINES, &header, 0..0);
    for machine in machines(reports) {
        let Adapter { name, backend, device_type, driver, driver_info, host, .. } = machine.adapter();
        let subgroups = match machine.adapter().subgroup_sizes {
            None => "no subgroups".to_owned(),
            Some([min, max]) if min == max => format!("subgroups of {min}"),
            Some([min, max]) => format!("subgroups of {min} to {max}"),
        };
        let f16 = if machine.adapter().shader_f16 { "f16" } else { "no f16" };
        let holds = |report: &&Report| {
            let holds = match (&report.error, &report.measurements, &report.verify) {
                (Some(error), ..) => format!("FAILED: {}", one_line(error)),
                (None, Some(_), Some(_)) => "measurements, verification".to_owned(),
                (None, Some(_), None) => "measurements".to_owned(),
                (None, None, Some(_)) => "verification".to_owned(),
                (None, None, None) => "nothing".to_owned(),
            };
            format!("{holds}, by {} {}, {}", report.made_by, report.crate_version, report.date)
        };
        let reports: Vec<String> = machine.reports.iter().map(holds).collect();
        let adapter: Vec<&str> =
            [name.as_str(), backend, device_type].into_iter().filter(|part| !part.is_empty()).collect();
        sheet.rows.push(vec![
            machine.label.clone(),
            or_dash(&adapter.join(", ")),
            or_dash(format!("{driver} {driver_info}").trim()),
            or_dash(host),
            format!("{subgroups}, {f16}"),
            reports.join("; "),
        ]);
    }
    sheet
}

/// A row of a table: rows and cols, and which of several measurements of the same thing. Tables are ordered
/// by cols.
type Place = (u32, u64, usize);

/// The measurements of an operation, norm and storage on each machine that has any.
struct Section<'a> {
    title: String,
    /// By the machine's number.
    machines: BTreeMap<usize, BTreeMap<Place, &'a Measurement>>,
}

impl<'a> Section<'a> {
    fn all(machines: &[Machine<'a>]) -> Vec<Self> {
        let mut sections: BTreeMap<Key, Self> = BTreeMap::new();
        for (index, machine) in machines.iter().enumerate() {
            for measurement in machine.measurements() {
                let key = Key::of(measurement).section();
                let title = key.title();
                let section =
                    sections.entry(key).or_insert_with(|| Self { title, machines: BTreeMap::new() });
                let places = section.machines.entry(index).or_default();
                let (cols, rows) = (measurement.cols, measurement.rows);
                let before = places.range((cols, rows, 0)..=(cols, rows, usize::MAX)).count();
                places.insert((cols, rows, before), measurement);
            }
        }
        sections.into_values().collect()
    }

    fn at(&self, machine: usize, place: Place) -> Option<&'a Measurement> {
        self.machines.get(&machine)?.get(&place).copied()
    }

    fn places(&self) -> BTreeSet<Place> {
        self.machines.values().flat_map(|places| places.keys().copied()).collect()
    }

    /// How many times as fast one machine is as another, where both have a time.
    fn ratio(&self, machine: usize, reference: usize, place: Place) -> Option<f64> {
        let seconds = |machine| Some(self.at(machine, place)?.timing.as_ref()?.median_seconds);
        Some(seconds(reference)? / seconds(machine)?)
    }
}

/// Throughput: the machines side by side, then each with its times, then how the kernels ran.
#[must_use]
pub fn measurements(reports: &[Report]) -> Vec<Sheet> {
    let machines = machines(reports);
    let sections = Section::all(&machines);
    let mut sheets = summary(&machines, &sections);
    let mut is_first = true;
    for section in &sections {
        let mut side_by_side = side_by_side(&machines, section);
        if let (true, Some(sheet)) = (is_first, side_by_side.first_mut()) {
            sheet.note = SIDE_BY_SIDE.to_owned();
            is_first = false;
        }
        sheets.extend(side_by_side);
    }
    for (index, section) in sections.iter().enumerate() {
        let mut sheet = details(&machines, section);
        if index == 0 {
            sheet.note = details_note(&machines);
        }
        sheets.push(sheet);
    }
    let mut plans: Vec<Sheet> = sections.iter().filter_map(|section| plans(&machines, section)).collect();
    if let Some(sheet) = plans.first_mut() {
        sheet.note = PLANS.to_owned();
    }
    sheets.extend(plans);
    sheets
}

/// Tables of the first of `machines` and as many others as fit a terminal, until all have been in one.
fn in_groups(machines: &[usize], table: impl Fn(&[usize]) -> Sheet) -> Vec<Sheet> {
    let Some((reference, others)) = machines.split_first() else { return Vec::new() };
    let fits = |group: &[usize]| table(group).width() <= usize::from(Sheet::COLUMNS);
    let mut groups = vec![vec![*reference]];
    for other in others {
        let last = groups.len() - 1;
        let longer = [&groups[last][..], &[*other]].concat();
        if longer.len() == 2 || fits(&longer) {
            groups[last] = longer;
        } else {
            groups.push(vec![*reference, *other]);
        }
    }
    groups.iter().map(|group| table(group)).collect()
}

/// How much faster each machine is than the first, over all shapes that both have. None with less than two
/// machines.
fn summary(machines: &[Machine<'_>], sections: &[Section<'_>]) -> Vec<Sheet> {
    let measuring: Vec<usize> =
        (0..machines.len()).filter(|index| machines[*index].measurements().next().is_some()).collect();
    if measuring.len() < 2 {
        return Vec::new();
    }
    let mut sheets = in_groups(&measuring, |group| {
        let mut header = vec!["measured".to_owned()];
        let reference = group[0];
        header.extend(group[1..].iter().map(|index| ratio_name(machines, *index, reference)));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut sheet = Sheet::new(IN_SHORT, &header, 1..header.len());
        for section in sections {
            let ratios = |machine: &usize| -> Option<String> {
                let places = section.places();
                let ratios: Vec<f64> = places
                    .into_iter()
                    .filter_map(|place| section.ratio(*machine, reference, place))
                    .collect();
                let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
                let least = ratios.iter().copied().reduce(f64::min)?;
                let most = ratios.iter().copied().reduce(f64::max)?;
                let [mean, least, most] =
                    [(logarithms / ratios.len() as f64).exp(), least, most].map(three_digits);
                Some(format!("{mean} ({least} to {most}; {})", ratios.len()))
            };
            let cells: Vec<Option<String>> = group[1..].iter().map(ratios).collect();
            if cells.iter().any(Option::is_some) {
                let mut row = vec![section.title.clone()];
                row.extend(cells.into_iter().map(|cell| cell.unwrap_or_else(dash)));
                sheet.rows.push(row);
            }
        }
        sheet
    });
    sheets.retain(|sheet| !sheet.rows.is_empty());
    if sheets.is_empty() {
        let mut sheet = Sheet::new(IN_SHORT, &[], 0..0);
        let reference = &machines[measuring[0]].label;
        sheet.note = format!(
            "No other machine has timed what {reference} has timed: there is no ratio to that of {reference}."
        );
        sheets.push(sheet);
    } else if let Some(sheet) = sheets.first_mut() {
        sheet.note = "B/A says how many times as fast as A machine B is: the geometric mean over the shapes \
                      that both have measured, in brackets the least, the most and the number of shapes."
            .to_owned();
    }
    sheets
}

const SIDE_BY_SIDE: &str = "B/A says how many times as fast as A machine B is. A/copy says how near A comes \
                            to a plain copy on the same machine: 1.00 is as fast as that. GB/s count the \
                            tensors of rows, each once. A dash stands for what was not measured. Shapes that \
                            one machine alone has measured are below.";

/// The machines as columns, if there are two or more.
fn side_by_side(machines: &[Machine<'_>], section: &Section<'_>) -> Vec<Sheet> {
    let there: Vec<usize> = section.machines.keys().copied().collect();
    if there.len() < 2 {
        return Vec::new();
    }
    let mut sheets =
        in_groups(&there, |group| {
            let reference = group[0];
            let name = |index: &usize, what: &str| format!("{}{what}", machines[*index].label);
            let mut header = vec!["rows x cols".to_owned()];
            header.extend(group.iter().map(|index| name(index, " GB/s")));
            header.extend(group[1..].iter().map(|index| ratio_name(machines, *index, reference)));
            header.extend(group.iter().map(|index| name(index, "/copy")));
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let mut sheet = Sheet::new(&format!("Throughput: {}", section.title), &header, 1..header.len());
            for place in section.places() {
                let has = |index: &&usize| section.at(**index, place).is_some();
                // What one machine alone has measured is in the tables of times.
                if !group.iter().any(|index| has(&index)) || there.iter().filter(has).count() < 2 {
                    continue;
                }
                let timing = |index: &usize| section.at(*index, place)?.timing.as_ref();
                let rate = |index: &usize| match section.at(*index, place) {
                    None => dash(),
                    Some(measurement) => rate_or_failure(measurement),
                };
                let mut row = vec![shape(place)];
                row.extend(group.iter().map(rate));
                row.extend(
                    group[1..]
                        .iter()
                        .map(|index| section.ratio(*index, reference, place).map_or_else(dash, three_digits)),
                );
                row.extend(group.iter().map(|index| {
                    timing(index).map_or_else(dash, |timing| format!("{:.2}", timing.copy_ratio))
                }));
                sheet.rows.push(row);
            }
            sheet
        });
    sheets.retain(|sheet| !sheet.rows.is_empty());
    // A title that says which, where there are several of one.
    if sheets.len() > 1 {
        for sheet in &mut sheets {
            let labels: Vec<&str> =
                sheet.header.iter().filter_map(|name| name.strip_suffix(" GB/s")).collect();
            sheet.title = format!("{}: {}", sheet.title, labels.join(", "));
        }
    }
    sheets
}

fn ratio_name(machines: &[Machine<'_>], machine: usize, reference: usize) -> String {
    format!("{}/{}", machines[machine].label, machines[reference].label)
}

fn shape((cols, rows, _): Place) -> String {
    format!("{rows} x {cols}")
}

fn dash() -> String {
    "-".to_owned()
}

/// With three digits, or all of the whole number.
fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        0.001.. => 5,
        _ => 6,
    };
    format!("{value:.decimals$}")
}

fn rate_or_failure(measurement: &Measurement) -> String {
    match (&measurement.timing, &measurement.failure) {
        (Some(timing), _) => three_digits(timing.gigabytes_per_second),
        (None, failure) => failure.as_ref().map_or("not measured", |failure| failure.kind.name()).to_owned(),
    }
}

/// Times, spreads and errors: a row for each shape and machine that has measured it.
fn details(machines: &[Machine<'_>], section: &Section<'_>) -> Sheet {
    let is_alone = machines.len() == 1;
    let mut header = vec!["rows x cols"];
    if !is_alone {
        header.push("machine");
    }
    let first = header.len();
    header.extend(["GB/s", "copy GB/s", "of copy", "time", "spread", "worst error"]);
    let title = if is_alone { "Throughput" } else { "Times" };
    let mut sheet = Sheet::new(&format!("{title}: {}", section.title), &header, first..header.len());
    for place in section.places() {
        for index in section.machines.keys() {
            let Some(measurement) = section.at(*index, place) else { continue };
            let mut row = vec![shape(place)];
            if !is_alone {
                row.push(machines[*index].label.clone());
            }
            row.extend(measurement_cells(measurement));
            sheet.rows.push(row);
        }
    }
    sheet
}

fn details_note(machines: &[Machine<'_>]) -> String {
    let clocks: BTreeSet<&str> = machines
        .iter()
        .flat_map(Machine::measurements)
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
         rounding, and what passes was at most 4 in f32 and 1 in 16 bits.",
        if clocks.is_empty() { "nothing".to_owned() } else { clocks.join(" or ") }
    )
}

/// From the throughput on.
fn measurement_cells(measurement: &Measurement) -> Vec<String> {
    let mut cells = vec![rate_or_failure(measurement)];
    match &measurement.timing {
        Some(timing) => {
            let spread = |seconds: f64| (100.0 * (seconds / timing.median_seconds - 1.0)).round() + 0.0;
            cells.extend([
                three_digits(timing.copy_gigabytes_per_second),
                format!("{:.2}", timing.copy_ratio),
                duration(timing.median_seconds),
                format!("{:+} to {:+} %", spread(timing.p10_seconds), spread(timing.p90_seconds)),
            ]);
        }
        None => cells.extend([(); 4].map(|()| dash())),
    }
    let worst = measurement.errors.iter().map(|error| error.units).reduce(f64::max);
    cells.push(worst.map_or_else(dash, |units| format!("{units:.2}")));
    cells
}

const PLANS: &str = "Cached: the row stays in registers. Streamed: it is read again. A row's sums are added \
                     up by lanes (its threads are part of a subgroup), by subgroup (they are one), by \
                     subgroups or by workgroup memory. 4 at a time: a thread reads or writes four neighbors \
                     at once. A call with dgain and dbias has a second dispatch, which adds up the partial \
                     sums of the first. Widths are cols.";

/// How the kernels ran, in words: a row for each machine and plan, with the widths that have it.
fn plans(machines: &[Machine<'_>], section: &Section<'_>) -> Option<Sheet> {
    let is_alone = machines.len() == 1;
    let header: &[&str] = if is_alone { &["cols", "plan"] } else { &["machine", "cols", "plan"] };
    let mut sheet = Sheet::new(&format!("Plans: {}", section.title), header, 0..0);
    for (index, measurements) in &section.machines {
        let planned: Vec<(Place, String)> = measurements
            .iter()
            .filter_map(|(place, measurement)| Some((*place, measurement.plan.as_ref().map(Plan::words)?)))
            .collect();
        let mut words: Vec<&str> = Vec::new();
        for (_, plan) in &planned {
            if !words.contains(&plan.as_str()) {
                words.push(plan);
            }
        }
        for plan in words {
            let mut row = if is_alone { Vec::new() } else { vec![machines[*index].label.clone()] };
            row.extend([widths(&planned, plan), plan.to_owned()]);
            sheet.rows.push(row);
        }
    }
    (!sheet.rows.is_empty()).then_some(sheet)
}

/// The widths that have a plan: `64, 256 to 1024`. Where a width has several plans, its shapes.
fn widths(planned: &[(Place, String)], plan: &str) -> String {
    let all: BTreeSet<u32> = planned.iter().map(|((cols, ..), _)| *cols).collect();
    // Neighbors among the widths that were measured, from the first to the last.
    let mut runs: Vec<(u32, u32, usize)> = Vec::new();
    let mut shapes: Vec<String> = Vec::new();
    for cols in &all {
        let of_width = || planned.iter().filter(|(place, _)| place.0 == *cols);
        if of_width().all(|(_, other)| other == plan) {
            match runs.last_mut() {
                Some((_, last, count)) if all.range(*last + 1..*cols).next().is_none() => {
                    (*last, *count) = (*cols, *count + 1);
                }
                _ => runs.push((*cols, *cols, 1)),
            }
        } else {
            shapes.extend(of_width().filter(|(_, other)| other == plan).map(|(place, _)| shape(*place)));
        }
    }
    let runs = runs.into_iter().map(|(first, last, count)| match count {
        1 => first.to_string(),
        2 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    runs.chain(shapes).collect::<Vec<_>>().join(", ")
}

/// The outputs that share a column.
const CLASSES: [(&str, &[&str]); 4] = [
    ("y, sum", &["y", "sum"]),
    ("statistics", &["statistics"]),
    ("dx", &["dx"]),
    ("dgain, dbias", &["dgain", "dbias"]),
];

/// The kernels against the reference: a row for each kernel and dtype of any report, and each machine that
/// verifies.
#[must_use]
pub fn verification(reports: &[Report]) -> Option<Sheet> {
    let machines = machines(reports);
    let runs: Vec<(&str, &VerifyRun)> = machines
        .iter()
        .flat_map(|machine| machine.verify().map(|run| (machine.label.as_str(), run)))
        .collect();
    if runs.is_empty() {
        return None;
    }
    let is_alone = machines.len() == 1;
    let mut header = vec!["kernel", "dtype"];
    if !is_alone {
        header.push("machine");
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
        for (label, run) in &runs {
            let mut row = vec![kernel.to_owned(), dtype.to_owned()];
            if !is_alone {
                row.push((*label).to_owned());
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
    let mut sheet = Sheet::new("Not as it should be", &["machine", "what", "how", "why"], 0..0);
    let mut add = |label: &str, what: &str, how: &str, why: &str| {
        sheet.rows.push([label, what, how, &one_line(why)].map(str::to_owned).into());
    };
    let machines = machines(reports);
    let reports = machines
        .iter()
        .flat_map(|machine| machine.reports.iter().map(|report| (machine.label.as_str(), *report)));
    for (label, report) in reports {
        if let Some(error) = &report.error {
            add(label, "the adapter", "FAILED", error);
        }
        for measurement in report.measurements.iter().flatten() {
            if let Some(failure) = &measurement.failure {
                add(label, &Key::of(measurement).to_string(), failure.kind.name(), &failure.message);
            }
        }
        for run in report.verify.iter().flatten() {
            if let Some(error) = &run.error {
                add(label, &format!("verification, {}", run.mode), "FAILED", error);
            }
            if run.error.is_none() && run.left_out() > 0 {
                let why = format!("{} of {} cases", run.left_out(), run.all_cases);
                add(label, &format!("verification, {}", run.mode), "not run", &why);
            }
            for case in &run.failures {
                add(label, &format!("{}, {}", case.case, run.mode), "FAILED", &case.failures.join("; "));
            }
            for unsupported in &run.unsupported {
                let count = unsupported.cases.len();
                let cases = if count == 1 { "case" } else { "cases" };
                let what = format!("{count} {cases}, {}", run.mode);
                add(label, &what, "not supported", &unsupported.reason);
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
