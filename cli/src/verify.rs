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
/// and where there is no adapter. On a software adapter, which compiles every kernel for the CPU, it takes long.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm verify --adapter vulkan --json report.json")]
pub(crate) struct Verify {
    /// Adapters to check: all, or those whose description contains one of these texts
    #[arg(long, value_name = "all|SUBSTRING", num_args = 1.., default_value = "all")]
    adapter: Vec<String>,

    /// Run only the cases whose name contains this text
    #[arg(long, value_name = "SUBSTRING")]
    case: Option<String>,

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
    let cases = chosen_cases(args.case.as_deref())?;
    let adapters = chosen_adapters(&args.adapter)?;
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
fn chosen_adapters(names: &[String]) -> Result<Vec<wgpu::Adapter>, Failure> {
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

/// The cases that `--case` names; all without it.
fn chosen_cases(name: Option<&str>) -> Result<Vec<Case>, Failure> {
    let all = verify::cases();
    let Some(name) = name else { return Ok(all) };
    let is_chosen = |case: &Case| case.name().contains(name);
    let (chosen, others): (Vec<Case>, Vec<Case>) = all.into_iter().partition(is_chosen);
    match (chosen.is_empty(), others.first()) {
        (true, Some(other)) => Err(Failure::WrongCall(format!(
            "--case: no name of a case contains {name}; an example is {}",
            other.name()
        ))),
        _ => Ok(chosen),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str) -> CaseReport {
        CaseReport {
            name: name.to_owned(),
            kernel: Some("forward_cached"),
            dtype: "f16",
            errors: [("y", 0.5), ("sum", 0.75), ("statistics", 1.5)]
                .map(|(tensor, units)| ErrorReport { tensor, units, allowed: 1.0 })
                .into(),
            failures: Vec::new(),
            unsupported: None,
        }
    }

    fn failed(name: &str) -> CaseReport {
        CaseReport { failures: vec!["y is wrong".to_owned()], ..case(name) }
    }

    fn unsupported(name: &str) -> CaseReport {
        CaseReport {
            errors: Vec::new(),
            kernel: None,
            unsupported: Some("too large".to_owned()),
            ..case(name)
        }
    }

    fn report(cases: Vec<CaseReport>) -> AdapterReport {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Noop);
        AdapterReport { adapter: Identity::new(&info), mode: Mode::Full, error: None, cases }
    }

    #[test]
    fn the_summary_counts_and_lists() {
        let mut cases: Vec<CaseReport> = (0..25).map(|i| failed(&format!("bad {i}"))).collect();
        cases.extend([case("good"), unsupported("large"), unsupported("larger")]);
        let text = summary("an adapter", &report(cases));
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().replace(' ', "");
        assert_eq!(line("| forward_cached"), "|forward_cached|f16|26|25|0|0.75|1.50|||");
        assert_eq!(line("| did not run"), "|didnotrun|f16|2|0|2|||||");
        assert_eq!(text.matches("failed: bad").count(), MAX_LISTED);
        assert!(text.contains("and 5 failures more"), "{text}");
        assert!(text.contains("not supported (2 cases): too large"), "{text}");
    }

    #[test]
    fn only_cases_that_passed_and_none_that_failed_are_a_success() {
        let conclude = |reports: Vec<AdapterReport>| conclude(&Report { adapters: reports });
        assert!(conclude(vec![report(vec![case("good"), unsupported("large")])]).is_ok());
        let message = |reports| conclude(reports).unwrap_err().to_string();
        let failed = message(vec![report(vec![case("good"), failed("bad")])]);
        assert!(failed.starts_with("1 cases passed, 1 failed, 0 are not supported"), "{failed}");
        let nothing = message(vec![report(vec![unsupported("large")])]);
        assert!(nothing.starts_with("0 cases passed"), "{nothing}");
        let unopened = AdapterReport { error: Some("lost".to_owned()), ..report(Vec::new()) };
        let unopened = message(vec![report(vec![case("good")]), unopened]);
        assert!(unopened.contains("1 devices could not be opened"), "{unopened}");
    }
}
