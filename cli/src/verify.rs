//! `layernorm verify`: the library's fixed cases on this machine's adapters.

use crate::adapters::{self, parse_part};
use crate::failure::Failure;
use crate::output;
use crate::reports::{self, Files};
use crate::tuning::{self, TuningFlag};
use crate::words::row_splits;
use clap::Args;
use indicatif::ProgressBar;
use layernorm_report::{Mode, Report, VerifyRun, faults, legend, verification};
use wgpu_layernorm::plan::{RowSplit, Tuning};
use wgpu_layernorm::verify::{self, Case, Outcome};
use wgpu_layernorm::{Context, wgpu};

/// Check every kernel against the float64 reference on this machine's adapters.
///
/// Runs a fixed set of cases on each adapter in two modes: full, with all that the adapter offers, and plain,
/// without subgroup operations and 16-bit floats. Prints the worst error for each kernel and dtype in units
/// of the storage type's rounding. Of the first failures it looks for the smallest case that
/// shows them. What an adapter cannot run counts as not supported, never as passed. Exit
/// code 1 on any failure, on an adapter where no case passed, and where there is no adapter. With --tuning,
/// the cases of the file's own widths come first, and the run fails if none of them ran on a tuned plan. On a
/// software adapter, which compiles every kernel for the CPU, it takes long.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm verify --adapter vulkan --json report.json
  layernorm verify --adapter auto --tuning tuning.json")]
pub(crate) struct Verify {
    /// Adapters to check: all, auto for the best, or those whose description contains one of these texts
    #[arg(long, value_name = "all|auto|SUBSTRING", num_args = 1.., default_value = "all", value_parser = parse_part)]
    adapter: Vec<String>,

    /// Run only the cases whose name contains this text
    #[arg(long, value_name = "SUBSTRING", value_parser = parse_part)]
    case: Option<String>,

    /// Whether several workgroups share a row, by kernels of their own, which sum in another order: wide for
    /// those that are too wide for a workgroup's registers
    #[arg(long, value_parser = row_splits(), default_value = "never")]
    row_split: RowSplit,

    #[command(flatten)]
    tuning: TuningFlag,

    #[command(flatten)]
    files: Files,
}

/// Failures on a device that are reduced to the smallest case that shows them, which runs some dozens.
const MAX_REDUCED: usize = 3;

/// Failures that are printed; the report has all.
const MAX_LISTED: usize = 20;

pub(crate) fn run(args: &Verify) -> Result<(), Failure> {
    args.files.check(None)?;
    let tuning = args.tuning.read()?;
    let cases = chosen_cases(args.case.as_deref())?;
    let adapters = adapters::chosen(&args.adapter)?;
    let modes = [Mode::Full, Mode::Plain];
    let bar = output::progress((adapters.len() * modes.len() * cases.len()) as u64);
    let mut reports = Vec::new();
    let mut tuned = TunedCount::default();
    for adapter in &adapters {
        let own = tuning.as_ref().map(|tuning| tuning::of_adapter(tuning, &adapter.get_info()));
        let tuned_cases = own.as_ref().map(verify::tuned_cases).unwrap_or_default();
        bar.inc_length((modes.len() * tuned_cases.len()) as u64);
        let cases: Vec<Case> = tuned_cases.iter().chain(&cases).copied().collect();
        let mut report = reports::new(adapter);
        let mut runs = Vec::new();
        for mode in modes {
            bar.set_message(format!("{}, {mode}", report.adapter.name));
            let device = Device { adapter, mode, row_split: args.row_split, tuning: tuning.as_ref() };
            let run = check(&device, &cases, &bar, &mut tuned);
            let text = format!("{}, {mode}: {}\n", report.adapter.description(), outcome(&run));
            bar.suspend(|| output::print(&text))?;
            runs.push(run);
        }
        report.verify = Some(runs);
        reports.push(report);
    }
    bar.finish_and_clear();

    output::print(&summary(&reports))?;
    args.files.write("layernorm verify", &reports)?;
    if tuning.is_some() {
        output::print(&format!("\n{} of {} cases ran on plans of --tuning\n", tuned.tuned, tuned.all))?;
    }
    conclude(&reports)?;
    if tuning.is_some() && tuned.tuned == 0 {
        return Err(Failure::FailedRun(
            "--tuning: no case ran on a plan of the file, which has none for these adapters that is not the ladder's"
                .to_owned(),
        ));
    }
    Ok(())
}

/// How many cases have run, and how many of them on a tuned plan.
#[derive(Debug, Default)]
struct TunedCount {
    all: usize,
    tuned: usize,
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

/// What the cases run on.
struct Device<'a> {
    adapter: &'a wgpu::Adapter,
    mode: Mode,
    row_split: RowSplit,
    tuning: Option<&'a Tuning>,
}

fn check(device: &Device<'_>, cases: &[Case], bar: &ProgressBar, tuned: &mut TunedCount) -> VerifyRun {
    let Device { adapter, mode, row_split, tuning } = *device;
    let context = pollster::block_on(async {
        match mode {
            Mode::Full => Context::open(adapter).await,
            Mode::Plain => Context::open_plain(adapter).await,
        }
    });
    let mut run = VerifyRun::of_all(mode);
    match context {
        Ok(context) => {
            let mut left = MAX_REDUCED;
            let context = tuning::apply(context, tuning).with_row_split(row_split);
            for case in cases {
                let mut result = pollster::block_on(verify::run(&context, case));
                if let Ok(outcome) = &mut result {
                    add_smallest(&context, case, outcome, &mut left);
                }
                tuned.all += 1;
                tuned.tuned += usize::from(result.as_ref().is_ok_and(|outcome| outcome.is_tuned));
                run.add(case, &result);
                bar.inc(1);
            }
        }
        Err(error) => run.error = Some(error.to_string()),
    }
    run
}

/// Adds to what is wrong the smallest case that shows it too, of the first cases that fail.
fn add_smallest(context: &Context, case: &Case, outcome: &mut Outcome, left: &mut usize) {
    if outcome.failures.is_empty() || *left == 0 {
        return;
    }
    *left -= 1;
    outcome.failures.push(match pollster::block_on(verify::smallest(context, case)) {
        Ok(Some((smallest, outcome))) => {
            format!("the smallest case that shows it is {}: {}", smallest.name(), outcome.failures.join("; "))
        }
        Ok(None) => "no smaller case shows it".to_owned(),
        Err(error) => format!("looking for a smaller case: {error}"),
    });
}

fn outcome(run: &VerifyRun) -> String {
    match &run.error {
        Some(error) => output::one_line(error),
        None => counts(run.counts()),
    }
}

fn counts([passed, failed, unsupported]: [usize; 3]) -> String {
    format!("{passed} cases passed, {failed} failed, {unsupported} are not supported")
}

fn summary(reports: &[Report]) -> String {
    let mut text = format!("\n{}", legend(reports));
    if let Some(sheet) = verification(reports) {
        text += &format!("\n{}", sheet.text());
    }
    if let Some(mut sheet) = faults(reports) {
        let more = sheet.rows.len().saturating_sub(MAX_LISTED);
        sheet.rows.truncate(MAX_LISTED);
        text += &format!("\n{}", sheet.text());
        if more > 0 {
            text += &format!("and {more} more: --json lists all\n");
        }
    }
    text
}

fn conclude(reports: &[Report]) -> Result<(), Failure> {
    let runs = || reports.iter().flat_map(|report| report.verify.iter().flatten());
    let sum = runs()
        .map(VerifyRun::counts)
        .fold([0; 3], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1], sum[2] + counts[2]]);
    let unopened = runs().filter(|run| run.error.is_some()).count();
    let passes = |report: &&Report| report.verify.iter().flatten().any(|run| run.counts()[0] > 0);
    let without = reports.iter().filter(|report| !passes(report)).count();
    if sum[1] == 0 && unopened == 0 && without == 0 && !reports.is_empty() {
        return output::print(&format!("\n{}\n", counts(sum)));
    }
    let mut message = counts(sum);
    if unopened > 0 {
        message += &format!(", {unopened} devices could not be opened");
    }
    if without > 0 {
        message += &format!(", on {without} adapters none passed");
    }
    Err(Failure::FailedRun(format!("{message}: see the report above")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use layernorm_report::{Adapter, KernelVerdict};
    use std::time::Duration;

    fn report(passed: usize, failed: usize, unsupported: usize) -> Report {
        let mut run = VerifyRun::new(Mode::Full);
        run.kernels.push(KernelVerdict {
            kernel: Some("forward_cached".to_owned()),
            dtype: "f16".to_owned(),
            cases: passed + failed + unsupported,
            failed,
            unsupported,
            errors: Vec::new(),
        });
        for i in 0..failed {
            let failures = vec!["y is wrong".to_owned()];
            run.failures.push(layernorm_report::CaseFailure { case: format!("bad {i}"), failures });
        }
        let mut report = Report::new("test", Duration::ZERO, Adapter::default());
        report.verify = Some(vec![run]);
        report
    }

    #[test]
    fn the_summary_lists_some_failures_and_counts_the_rest() {
        let text = summary(&[report(1, 25, 0)]);
        assert_eq!(text.matches("y is wrong").count(), MAX_LISTED, "{text}");
        assert!(text.contains("and 5 more"), "{text}");
        assert!(!summary(&[report(1, 20, 0)]).contains("more: --json"));
    }

    #[test]
    fn only_cases_that_passed_and_none_that_failed_are_a_success() {
        assert!(conclude(&[report(1, 0, 1)]).is_ok());
        let message = |reports: &[Report]| conclude(reports).unwrap_err().to_string();
        let failed = message(&[report(1, 0, 0), report(1, 1, 0)]);
        assert!(failed.starts_with("2 cases passed, 1 failed, 0 are not supported"), "{failed}");
        let nothing = message(&[report(0, 0, 2)]);
        assert!(nothing.starts_with("0 cases passed"), "{nothing}");
        let one_of_two = message(&[report(1, 0, 0), report(0, 0, 2)]);
        assert!(one_of_two.contains("on 1 adapters none passed"), "{one_of_two}");
        let mut unopened = report(1, 0, 0);
        unopened.verify.as_mut().unwrap()[0].error = Some("lost".to_owned());
        let unopened = message(&[unopened]);
        assert!(unopened.contains("1 devices could not be opened"), "{unopened}");
    }
}
