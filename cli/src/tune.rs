//! `layernorm tune`: looks for plans that beat the ladder's on this machine's adapters, and keeps them in a
//! file.

use crate::adapters::{self, parse_part};
use crate::bench::{parse_margin, parse_seconds};
use crate::failure::Failure;
use crate::files;
use crate::output;
use crate::tuning;
use crate::words::{dtypes, normalizations, operations};
use clap::Args;
use indicatif::ProgressBar;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};
use wgpu_layernorm::bench::{self, Bench as Timer, Operation, Options, Tuned, Workload};
use wgpu_layernorm::plan::{Tuning, TuningEntry};
use wgpu_layernorm::{Dtype, Error, Normalization, Problem, wgpu};

/// Look for plans that run faster than the built-in ones on this machine, and keep them in a file.
///
/// For each operation, norm, dtype and width, candidates for the kernel, its threads and how it walks the
/// rows are held against the float64 reference, then timed in turn with the plan of the library's ladder. One
/// that beats it by --margin, and does so again when it is timed once more, is kept; else the file says that
/// the ladder stays. `--tuning FILE` of forward, backward, verify and bench, and Tuning in the library, plan
/// from the file. Widths, drivers and adapters that are not in it are the ladder's.
///
/// The file is written, whole, after each result. A run that was interrupted, or ended by --budget, goes on
/// where it stopped when it is called again. Exit code 1 if a candidate gives wrong results or anything
/// fails; a budget that ran out is no failure. Leave the machine alone meanwhile.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm tune --out tuning.json --cols 1024 4096 --budget 300
  layernorm tune --out tuning.json --cols 256..8192 --dtype f16 --operation forward_residual
  layernorm bench --tuning tuning.json --shape 4096x1024")]
pub(crate) struct Tune {
    /// File to write, and to go on with if it is there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// auto: a real GPU, else a software adapter; all of them; or those whose description contains one of
    /// these texts
    #[arg(long, value_name = "auto|all|SUBSTRING", num_args = 1.., default_value = "auto", value_parser = parse_part)]
    adapter: Vec<String>,

    /// Widths: numbers, FROM..TO for FROM, twice FROM and so on up to TO, or FROM..TO:STEP [default: those of
    /// bench]
    #[arg(long, value_name = "COLS|RANGE", num_args = 1..)]
    cols: Vec<Widths>,

    /// Rows that are timed; plans do not depend on them [default: as many as make four million values]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..=1 << 40), allow_negative_numbers = true)]
    rows: Option<u64>,

    /// Storage of rows and parameters
    #[arg(long, value_parser = dtypes(), num_args = 1.., default_values = ["f32", "f16"])]
    dtype: Vec<Dtype>,

    /// What to tune, as in bench
    #[arg(long, value_parser = operations(), num_args = 1.., default_values = ["forward", "backward"])]
    operation: Vec<Operation>,

    /// Layer norm with gain and bias, RMS norm with a gain, L2 normalization without; one or more
    #[arg(long, value_parser = normalizations(), num_args = 1.., default_values = ["layer"])]
    normalization: Vec<Normalization>,

    /// How much faster than the ladder's a plan must be, in percent
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = parse_margin, allow_negative_numbers = true)]
    margin: f64,

    /// When to stop, setting up the last width aside
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = parse_seconds, allow_negative_numbers = true)]
    budget: Duration,

    /// How long each of the best candidates is timed
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds, allow_negative_numbers = true)]
    seconds: Duration,

    /// Measure again what the file has for these adapters and widths
    #[arg(long)]
    restart: bool,
}

/// Rows of a width hold this many values, as most shapes of `bench` do.
const VALUES: u64 = 1 << 22;

/// More than a table is good for, and than a slip of the finger should start.
const MOST_WIDTHS: usize = 10_000;

/// Some widths, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Widths(Vec<u32>);

impl FromStr for Widths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let width = |text: &str| match text.parse::<u32>() {
            Ok(cols) if (1..=Problem::MAX_COLS).contains(&cols) => Ok(cols),
            _ => Err(format!("{text:?} needs to be a width, 1 to {}", Problem::MAX_COLS)),
        };
        let Some((from, to)) = text.split_once("..") else { return Ok(Self(vec![width(text)?])) };
        let (to, step) = match to.split_once(':') {
            Some((to, step)) => (to, Some(width(step)?)),
            None => (to, None),
        };
        let (from, to) = (width(from)?, width(to)?);
        if from > to {
            return Err(format!("{from}..{to} needs to begin with the smaller width"));
        }
        let next = |cols: &u32| step.map_or(2 * cols, |step| cols + step);
        let widths = std::iter::successors(Some(from), |cols| Some(next(cols)));
        let widths: Vec<u32> = widths.take_while(|cols| *cols <= to).take(MOST_WIDTHS + 1).collect();
        if widths.len() > MOST_WIDTHS {
            return Err(format!("{text} needs to be {MOST_WIDTHS} widths at most; take larger steps"));
        }
        Ok(Self(widths))
    }
}

/// What a run has come to.
#[derive(Debug, Default)]
struct Progress {
    found: Vec<TuningEntry>,
    /// Workloads that were in the file.
    done_before: usize,
    /// Those that the budget has left.
    left: Vec<String>,
    unsupported: Vec<String>,
    failures: Vec<String>,
}

pub(crate) fn run(args: &Tune) -> Result<(), Failure> {
    files::check_destination("--out", &args.out)?;
    let workloads = workloads(args)?;
    let mut table = if args.out.exists() { tuning::read("--out", &args.out)? } else { Tuning::default() };
    let adapters = adapters::chosen(&args.adapter)?;
    let bar = output::progress((adapters.len() * workloads.len()) as u64);
    let end = Instant::now() + args.budget;
    let mut progress = Progress::default();
    for adapter in &adapters {
        tune_adapter(args, adapter, &workloads, end, &bar, &mut table, &mut progress)?;
    }
    bar.finish_and_clear();
    output::print(&progress.text(args))?;
    if progress.failures.is_empty() {
        return Ok(());
    }
    let count = progress.failures.len();
    Err(Failure::FailedRun(format!("{count} failures: {}", progress.failures.join("; "))))
}

/// Every combination of what was asked for, once.
fn workloads(args: &Tune) -> Result<Vec<Workload>, Failure> {
    let mut widths: Vec<u32> = if args.cols.is_empty() {
        bench::SHAPES.iter().map(|shape| shape.cols).collect()
    } else {
        args.cols.iter().flat_map(|widths| widths.0.iter().copied()).collect()
    };
    widths.sort_unstable();
    widths.dedup();
    let mut workloads = Vec::new();
    for operation in &args.operation {
        for normalization in &args.normalization {
            for dtype in &args.dtype {
                for cols in &widths {
                    let rows = args.rows.unwrap_or((VALUES / u64::from(*cols)).max(1));
                    let workload = Workload::new(*operation, *normalization, *dtype, rows, *cols);
                    workload.validate()?;
                    if !workloads.contains(&workload) {
                        workloads.push(workload);
                    }
                }
            }
        }
    }
    Ok(workloads)
}

fn tune_adapter(
    args: &Tune,
    adapter: &wgpu::Adapter,
    workloads: &[Workload],
    end: Instant,
    bar: &ProgressBar,
    table: &mut Tuning,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let options = Options { budget: args.seconds, ..Options::default() };
    let context = pollster::block_on(bench::open(adapter));
    let mut timer = context.and_then(|context| Timer::new(&context, options))?;
    let name = adapter.get_info().name;
    for workload in workloads {
        let label = workload.name();
        bar.set_message(format!("{name}, {label}"));
        let go_on = |done, of| {
            bar.set_message(format!("{name}, {label}: candidate {done} of {of}"));
            Instant::now() < end
        };
        let is_done = table.get(&timer.tuning_key(workload)).is_some();
        let result = if is_done && !args.restart {
            progress.done_before += 1;
            None
        } else if Instant::now() >= end {
            progress.left.push(label.clone());
            None
        } else {
            Some(pollster::block_on(timer.tune(workload, args.margin / 100.0, go_on)))
        };
        match result {
            None => {}
            Some(Ok(None)) => progress.left.push(label),
            Some(Ok(Some(Tuned { entry, failures, .. }))) => {
                let wrong = |(rung, why)| format!("{label}: {rung:?}: {why}");
                progress.failures.extend(failures.into_iter().map(wrong));
                table.insert(entry.clone())?;
                files::write_file(&args.out, table.to_json().as_bytes())?;
                progress.found.push(entry);
            }
            Some(Err(Error::Unsupported { .. })) => progress.unsupported.push(label),
            Some(Err(error)) => progress.failures.push(format!("{label}: {error}")),
        }
        bar.inc(1);
    }
    Ok(())
}

impl Progress {
    fn text(&self, args: &Tune) -> String {
        let mut table =
            output::table(&["adapter", "operation", "norm", "dtype", "plan", "cols", "speed-up"], 5);
        for entry in &self.found {
            let key = &entry.key;
            let plan = entry.rung.map_or("the ladder's".to_owned(), |rung| {
                let holds = if rung.hold_parameters { ", parameters held" } else { "" };
                format!(
                    "{} {}x{} {:?}, blocks of {}, {} rows a slot{holds}",
                    rung.kernel.name(),
                    rung.threads_per_row,
                    rung.rows_per_workgroup,
                    rung.reduction,
                    rung.block_rows,
                    rung.rows_per_slot
                )
            });
            table.add_row([
                key.adapter.name.clone(),
                key.operation.clone(),
                key.normalization.name().to_owned(),
                key.dtype.to_string(),
                plan,
                key.cols.to_string(),
                format!("{:.2}", entry.speedup),
            ]);
        }
        let mut text = if self.found.is_empty() { String::new() } else { format!("{table}\n") };
        let faster = self.found.iter().filter(|entry| entry.rung.is_some()).count();
        text += &format!(
            "{} tuned: {faster} beat the ladder by {} % or more; {} were in the file\n",
            self.found.len(),
            args.margin,
            self.done_before
        );
        if !self.unsupported.is_empty() {
            text += &format!("not supported: {}\n", self.unsupported.join(", "));
        }
        if !self.left.is_empty() {
            text += &format!(
                "the budget of {} s has left {}: {}; call again to go on\n",
                args.budget.as_secs_f64(),
                self.left.len(),
                self.left.join(", ")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read() {
        let widths = |text: &str| text.parse::<Widths>().map(|widths| widths.0);
        assert_eq!(widths("1024"), Ok(vec![1024]));
        assert_eq!(widths("100..1000"), Ok(vec![100, 200, 400, 800]));
        assert_eq!(widths("768..1024:128"), Ok(vec![768, 896, 1024]));
        assert_eq!(widths("5..5"), Ok(vec![5]));
        assert_eq!(widths("16777216..16777216:16777216"), Ok(vec![16_777_216]));
        for (text, says) in [
            ("", "a width"),
            ("0", "1 to 16777216"),
            ("16777217", "1 to 16777216"),
            ("..5", "a width"),
            ("5..", "a width"),
            ("6..5", "smaller"),
            ("1..5:0", "a width"),
            ("1..16777216:1", "10000 widths"),
            ("1:5", "a width"),
        ] {
            let error = widths(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
