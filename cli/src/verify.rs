//! `layernorm verify`: the library's fixed cases on this machine's adapters.

use crate::adapters::{self, Identity};
use crate::compute;
use crate::failure::Failure;
use crate::output;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wgpu_layernorm::plan::Tensor;
use wgpu_layernorm::verify::{self, Case};
use wgpu_layernorm::{Context, describe_adapter, wgpu};

/// Check every kernel against the float64 reference on this machine's adapters.
///
/// Runs a fixed set of cases on each adapter in two modes: full, with all that the adapter offers, and plain, without
/// subgroup operations and 16-bit floats. Prints the worst error for each kernel and dtype in units of the storage
/// type's rounding. What an adapter cannot run counts as not supported, never as passed. Exit code 1 on any failure,
/// and where there is no adapter.
#[derive(Args, Debug)]
#[command(after_help = "Example: layernorm verify --adapter vulkan --json report.json")]
pub(crate) struct Verify {
    /// Adapters to check: all, or those whose description contains one of these texts
    #[arg(long, value_name = "all|SUBSTRING", num_args = 1.., default_value = "all")]
    adapter: Vec<String>,

    /// Write every case's result to a JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Failures listed for an adapter and mode; the JSON report has all.
const MAX_LISTED: usize = 20;

/// The JSON report.
#[derive(Serialize)]
struct Report {
    adapters: Vec<AdapterReport>,
}

#[derive(Serialize)]
struct AdapterReport {
    adapter: Identity,
    mode: Mode,
    /// Why no case was run, if none was.
    error: Option<String>,
    cases: Vec<CaseReport>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Full,
    Plain,
}

#[derive(Serialize)]
struct CaseReport {
    name: String,
    /// `None` where the case did not run.
    kernel: Option<&'static str>,
    dtype: &'static str,
    errors: Vec<ErrorReport>,
    failures: Vec<String>,
    unsupported: Option<String>,
}

#[derive(Serialize)]
struct ErrorReport {
    tensor: &'static str,
    /// `null` in JSON if infinite: a value that is missing or NaN.
    units: f64,
    allowed: f64,
}

/// The outputs that share a column of the table.
const CLASSES: [(&str, &[Tensor]); 4] = [
    ("y, sum", &[Tensor::Y, Tensor::Sum]),
    ("statistics", &[Tensor::Statistics]),
    ("dx", &[Tensor::Dx]),
    ("dgain, dbias", &[Tensor::Dgain, Tensor::Dbias]),
];

pub(crate) fn run(args: &Verify) -> Result<(), Failure> {
    if let Some(path) = &args.json {
        output::check_destination("--json", path)?;
    }
    let adapters = chosen(&args.adapter)?;
    let cases = verify::cases();
    let modes = [Mode::Full, Mode::Plain];
    let bar = output::progress((adapters.len() * modes.len() * cases.len()) as u64);
    let mut report = Report { adapters: Vec::new() };
    for adapter in &adapters {
        for mode in modes {
            bar.set_message(format!("{}, {mode:?}", adapter.get_info().name));
            let result = check(adapter, mode, &cases, &bar);
            let text = summary(&describe_adapter(&adapter.get_info()), &result);
            bar.suspend(|| output::print(&text))?;
            report.adapters.push(result);
        }
    }
    bar.finish_and_clear();

    if let Some(path) = &args.json {
        let json = serde_json::to_vec(&report)
            .map_err(|error| Failure::FailedRun(format!("the report cannot be written as JSON: {error}")))?;
        output::write_file(path, &json)?;
    }
    conclude(&report)
}

/// The adapters that `--adapter` names.
fn chosen(names: &[String]) -> Result<Vec<wgpu::Adapter>, Failure> {
    let adapters = adapters::present();
    if adapters.is_empty() {
        return Err(adapters::none_found());
    }
    let descriptions: Vec<String> =
        adapters.iter().map(|adapter| describe_adapter(&adapter.get_info())).collect();
    let matches = |description: &str, name: &str| {
        name == "all" || description.to_lowercase().contains(&name.to_lowercase())
    };
    for name in names {
        if !descriptions.iter().any(|description| matches(description, name)) {
            return Err(compute::no_match("--adapter", name, &descriptions));
        }
    }
    let is_chosen = |description: &str| names.iter().any(|name| matches(description, name));
    let chosen = adapters.into_iter().zip(&descriptions).filter(|(_, description)| is_chosen(description));
    Ok(chosen.map(|(adapter, _)| adapter).collect())
}

fn check(adapter: &wgpu::Adapter, mode: Mode, cases: &[Case], bar: &ProgressBar) -> AdapterReport {
    let context = pollster::block_on(async {
        match mode {
            Mode::Full => Context::open(adapter).await,
            Mode::Plain => Context::open_plain(adapter).await,
        }
    });
    let mut report =
        AdapterReport { adapter: Identity::new(&adapter.get_info()), mode, error: None, cases: Vec::new() };
    match context {
        Ok(context) => {
            for case in cases {
                report.cases.push(check_case(&context, case));
                bar.inc(1);
            }
        }
        Err(error) => report.error = Some(error.to_string()),
    }
    report
}

fn check_case(context: &Context, case: &Case) -> CaseReport {
    let mut report = CaseReport {
        name: case.name(),
        kernel: None,
        dtype: case.problem().dtype.name(),
        errors: Vec::new(),
        failures: Vec::new(),
        unsupported: None,
    };
    match pollster::block_on(verify::run(context, case)) {
        Ok(outcome) => {
            report.kernel = Some(outcome.kernel.name());
            report.errors = outcome
                .errors
                .iter()
                .map(|error| ErrorReport {
                    tensor: error.tensor.name(),
                    units: error.units,
                    allowed: error.allowed,
                })
                .collect();
            report.failures = outcome.failures;
        }
        Err(error) if error.is_unsupported() => report.unsupported = Some(error.to_string()),
        Err(error) => report.failures.push(error.to_string()),
    }
    report
}

/// What the cases of one kernel and dtype come to.
#[derive(Default)]
struct Group {
    cases: usize,
    failed: usize,
    unsupported: usize,
    /// In the order of [`CLASSES`]; `None` where no case has such an output.
    worst: [Option<f64>; CLASSES.len()],
}

impl Group {
    fn add(&mut self, case: &CaseReport) {
        self.cases += 1;
        self.failed += usize::from(!case.failures.is_empty());
        self.unsupported += usize::from(case.unsupported.is_some());
        for error in &case.errors {
            for (worst, (_, tensors)) in self.worst.iter_mut().zip(CLASSES) {
                if tensors.iter().any(|tensor| tensor.name() == error.tensor) {
                    *worst = Some(worst.map_or(error.units, |worst| worst.max(error.units)));
                }
            }
        }
    }
}

fn summary(description: &str, report: &AdapterReport) -> String {
    let heading = format!(
        "\n{description}, {}\n\n",
        match report.mode {
            Mode::Full => "full: with all that the adapter offers",
            Mode::Plain => "plain: without subgroup operations and 16-bit floats",
        }
    );
    if let Some(error) = &report.error {
        return format!("{heading}{error}\n");
    }
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for case in &report.cases {
        groups.entry((case.kernel.unwrap_or("did not run"), case.dtype)).or_default().add(case);
    }
    let mut header = vec!["kernel", "dtype", "cases", "failed", "not supported"];
    header.extend(CLASSES.map(|(name, _)| name));
    let mut table = output::table(&header, 2);
    for ((kernel, dtype), group) in groups {
        let mut row = vec![kernel.to_owned(), dtype.to_owned()];
        row.extend([group.cases, group.failed, group.unsupported].map(|count| count.to_string()));
        row.extend(group.worst.map(|worst| worst.map_or(String::new(), |units| format!("{units:.2}"))));
        table.add_row(row);
    }
    format!("{heading}{table}\n{}{}", failures(&report.cases), unsupported(&report.cases))
}

fn failures(cases: &[CaseReport]) -> String {
    let failures: Vec<String> = cases
        .iter()
        .flat_map(|case| case.failures.iter().map(|failure| format!("failed: {}: {failure}\n", case.name)))
        .collect();
    let mut text: String = failures.iter().take(MAX_LISTED).map(String::as_str).collect();
    if failures.len() > MAX_LISTED {
        text += &format!("and {} failures more: --json lists all\n", failures.len() - MAX_LISTED);
    }
    text
}

/// The reasons, each with the number of cases that it kept from running.
fn unsupported(cases: &[CaseReport]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in cases.iter().filter_map(|case| case.unsupported.as_deref()) {
        *reasons.entry(reason).or_default() += 1;
    }
    reasons.iter().map(|(reason, cases)| format!("not supported ({cases} cases): {reason}\n")).collect()
}

fn conclude(report: &Report) -> Result<(), Failure> {
    let cases = || report.adapters.iter().flat_map(|adapter| &adapter.cases);
    let failed = cases().filter(|case| !case.failures.is_empty()).count();
    let unsupported = cases().filter(|case| case.unsupported.is_some()).count();
    let unopened = report.adapters.iter().filter(|adapter| adapter.error.is_some()).count();
    let passed = cases().count() - failed - unsupported;
    let counts = format!("{passed} cases passed, {failed} failed, {unsupported} are not supported");
    if failed == 0 && unopened == 0 && passed > 0 {
        return output::print(&format!("\n{counts}\n"));
    }
    let unopened =
        if unopened > 0 { format!(", {unopened} devices could not be opened") } else { String::new() };
    Err(Failure::FailedRun(format!("{counts}{unopened}: see the report above")))
}
