//! `layernorm bench`: how fast the kernels run on this machine's adapters.

mod baseline;

use crate::adapters::{self, parse_part};
use crate::compare;
use crate::failure::Failure;
use crate::output;
use crate::reports::{self, Files, Plot};
use crate::tuning::{self, TuningFlag};
use crate::words::{activations, dtypes, normalizations, operations, row_splits};
use baseline::{Baseline, check_baseline, hold_against};
use clap::Args;
use indicatif::ProgressBar;
use layernorm_report::{FailureKind, Measurement, Report};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use wgpu_layernorm::bench::{self, Bench as Timer, NamedShape, Operation, Options, Workload};
use wgpu_layernorm::plan::{RowSplit, Tuning};
use wgpu_layernorm::{Activation, Channels, Dtype, Normalization, Problem, wgpu};

/// Time the kernels against plain copies of the same bytes.
///
/// Each operation is first checked against the float64 reference, then timed in turn with the fastest of
/// several plain copy shaders, which is looked for anew on each adapter: a copy of one tensor to another for
/// forward, of two to two with a residual, of two to one for backward. Buffers are changed from call to call,
/// so that no cache holds them. Times are by the GPU's timestamps where they work, else by the wall clock
/// over batches of calls; the table says which.
///
/// Exit code 1 if an output is wrong, if anything fails, if nothing could be measured on an adapter, or if a
/// measurement takes longer than in the baseline by more than the margin; what else an adapter does not
/// support is in the table and no failure. Compare only with a baseline of the same machine, and leave the
/// machine alone meanwhile.
#[derive(Args, Debug)]
#[command(after_help = after_help())]
pub(crate) struct Bench {
    /// auto: a real GPU, else a software adapter; all of them; or those whose description contains one of
    /// these texts
    #[arg(long, value_name = "auto|all|SUBSTRING", num_args = 1.., default_value = "auto", value_parser = parse_part)]
    adapter: Vec<String>,

    /// Rows and cols, such as 4096x1024 [default: those below]
    #[arg(long, value_name = "ROWSxCOLS", num_args = 1..)]
    shape: Vec<Shape>,

    /// Storage of rows
    #[arg(long, value_parser = dtypes(), num_args = 1.., default_values = ["f32", "f16"])]
    dtype: Vec<Dtype>,

    /// Storage of gain and bias, f32 or that of the rows, such as f32 gains with rows in 16 bits [default:
    /// that of the rows]
    #[arg(long, value_name = "DTYPE", value_parser = dtypes(), num_args = 1..)]
    parameter_dtype: Vec<Dtype>,

    /// What to time: x to y; x and a residual to their sum and y; x and dy to dx, dgain and dbias; x and dy
    /// to dx
    #[arg(long, value_parser = operations(), num_args = 1.., default_values = ["forward", "backward"])]
    operation: Vec<Operation>,

    /// Layer norm with gain and bias, RMS norm with a gain, L2 normalization without; one or more
    #[arg(long, value_parser = normalizations(), num_args = 1.., default_values = ["layer"])]
    normalization: Vec<Normalization>,

    /// Gain and bias have a value for each of so many channels of a sample: group norm, whose rows are the
    /// groups of samples
    #[arg(long, value_name = "C", requires_all = ["groups", "shape"], value_parser = clap::value_parser!(u32).range(1..))]
    channels: Option<u32>,

    /// Groups of a sample: they divide channels and rows evenly, and the channels of a group divide cols
    #[arg(long, value_name = "G", requires = "channels", value_parser = clap::value_parser!(u32).range(1..))]
    groups: Option<u32>,

    /// What is applied to each value after gain and bias: silu, z * sigmoid(z), or nothing
    #[arg(long, value_parser = activations(), default_value = "none")]
    activation: Activation,

    /// Whether several workgroups share a row, which changes the order of its sums: wide for rows that are
    /// too wide for a workgroup's registers, which pays where they are too few to fill the adapter
    #[arg(long, value_parser = row_splits(), default_value = "never")]
    row_split: RowSplit,

    /// How long each measurement takes, setting up aside; more makes the medians steadier
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds, allow_negative_numbers = true)]
    seconds: Duration,

    #[command(flatten)]
    tuning: TuningFlag,

    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    plot: Plot,

    /// An earlier report of the same adapter, written by --json, to compare with
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// How much longer than in the baseline a measurement may take, in percent
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_margin, allow_negative_numbers = true, requires = "baseline")]
    margin: f64,
}

/// The default shapes, which the help names with the models that they are from.
fn after_help() -> String {
    let shape = |shape: &NamedShape| {
        let Shape { rows, cols } = shape.into();
        format!("  {:<11} {}\n", format!("{rows}x{cols}"), shape.name)
    };
    format!(
        "Default shapes:\n{}
Examples:
  layernorm bench --json before.json
  layernorm bench --baseline before.json --margin 5
  layernorm bench --dtype f16 bf16 --parameter-dtype f32 --operation forward
  layernorm bench --adapter all --shape 2048x4096 1x4096 --dtype f32 bf16 --html report.html",
        bench::SHAPES.iter().map(shape).collect::<String>()
    )
}

/// Rows and cols, as a flag has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) rows: u64,
    pub(crate) cols: u32,
}

impl From<&NamedShape> for Shape {
    fn from(shape: &NamedShape) -> Self {
        Self { rows: shape.rows, cols: shape.cols }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rows, cols) = text.split_once(['x', 'X']).ok_or("needs to be ROWSxCOLS, such as 4096x1024")?;
        let number = |name: &str, text: &str| {
            text.parse::<u64>().map_err(|error| format!("{name} is {text:?}: {error}"))
        };
        let (rows, cols) = (number("rows", rows)?, number("cols", cols)?);
        let cols = u32::try_from(cols)
            .map_err(|_| format!("cols is {cols}, needs to be at most {}", Problem::MAX_COLS))?;
        let any = Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, rows, cols);
        any.validate().map_err(|error| error.to_string())?;
        Ok(Self { rows, cols })
    }
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= Duration::from_secs(3600) => Ok(duration),
        _ => Err("needs to be 0 to 3600".to_owned()),
    }
}

pub(crate) fn parse_margin(text: &str) -> Result<f64, String> {
    let margin: f64 = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if margin.is_finite() && margin >= 0.0 { Ok(margin) } else { Err("needs to be 0 or more".to_owned()) }
}

pub(crate) fn run(args: &Bench) -> Result<(), Failure> {
    args.files.check(Some(&args.plot))?;
    let workloads = workloads(args)?;
    let tuning = args.tuning.read()?;
    let baseline = match &args.baseline {
        Some(path) => {
            let reports = reports::read("--baseline", path)?;
            Some(Baseline { reports, margin: args.margin / 100.0 })
        }
        None => None,
    };
    let adapters = adapters::chosen(&args.adapter)?;
    if let Some(baseline) = &baseline {
        check_baseline(baseline, &adapters)?;
    }

    let bar = output::progress((adapters.len() * workloads.len()) as u64);
    let options = Options { budget: args.seconds, ..Options::default() };
    let plans = Plans { row_split: args.row_split, tuning: tuning.as_ref() };
    let reports: Vec<Report> =
        adapters.iter().map(|adapter| measure(adapter, &plans, options, &workloads, &bar)).collect();
    bar.finish_and_clear();

    output::print(&compare::text(&reports))?;
    args.files.write("layernorm bench", &reports)?;
    let verdict = conclude(&reports);
    // What was measured has been written; what is wrong with it is said last.
    if reports.iter().any(has_timing) {
        args.plot.write(&reports)?;
    }
    verdict?;
    match &baseline {
        Some(baseline) => hold_against(baseline, &reports),
        None => Ok(()),
    }
}

/// Every combination of what was asked for, once.
fn workloads(args: &Bench) -> Result<Vec<Workload>, Failure> {
    let shapes: Vec<Shape> = if args.shape.is_empty() {
        bench::SHAPES.iter().map(Into::into).collect()
    } else {
        args.shape.clone()
    };
    let mut workloads = Vec::new();
    for operation in &args.operation {
        for normalization in &args.normalization {
            for dtype in &args.dtype {
                for parameter_dtype in parameter_dtypes(args, *dtype)? {
                    for Shape { rows, cols } in &shapes {
                        let workload = Workload::new(*operation, *normalization, *dtype, *rows, *cols)
                            .with_parameter_dtype(parameter_dtype)
                            .with_activation(args.activation);
                        let workload = with_channels(args, workload)?;
                        if !workloads.contains(&workload) {
                            workloads.push(workload);
                        }
                    }
                }
            }
        }
    }
    Ok(workloads)
}

/// The workload with the channels that were asked for, if it can have such.
fn with_channels(args: &Bench, workload: Workload) -> Result<Workload, Failure> {
    let Some((count, groups)) = args.channels.zip(args.groups) else { return Ok(workload) };
    let cols = workload.problem.cols;
    let per_row = (count / groups).max(1);
    let workload = workload.with_channels(Channels::new(count, groups, cols / per_row));
    match workload.validate() {
        Ok(()) => Ok(workload),
        Err(error) => {
            let shape =
                format!("--shape {}x{cols} with --channels {count} and --groups {groups}", workload.rows);
            Err(Failure::WrongCall(format!("{shape}: {error}")))
        }
    }
}

/// The storages of gain and bias beside rows of `dtype`.
fn parameter_dtypes(args: &Bench, dtype: Dtype) -> Result<Vec<Dtype>, Failure> {
    let is_possible = |parameters: &Dtype| [Dtype::F32, dtype].contains(parameters);
    match args.parameter_dtype.iter().find(|parameters| !is_possible(parameters)) {
        Some(parameters) => {
            let possible = if dtype == Dtype::F32 { "f32".to_owned() } else { format!("f32 or {dtype}") };
            Err(Failure::WrongCall(format!(
                "--parameter-dtype {parameters}: rows in {dtype} (--dtype) need gain and bias in {possible}"
            )))
        }
        None if args.parameter_dtype.is_empty() => Ok(vec![dtype]),
        None => Ok(args.parameter_dtype.clone()),
    }
}

/// What plans are made from, beside the ladder.
struct Plans<'a> {
    row_split: RowSplit,
    tuning: Option<&'a Tuning>,
}

fn measure(
    adapter: &wgpu::Adapter,
    plans: &Plans<'_>,
    options: Options,
    workloads: &[Workload],
    bar: &ProgressBar,
) -> Report {
    let mut report = reports::new(adapter);
    let context = pollster::block_on(bench::open(adapter));
    let context = context.map(|context| tuning::apply(context.with_row_split(plans.row_split), plans.tuning));
    let mut timer = match context.and_then(|context| Timer::new(&context, options)) {
        Ok(timer) => timer,
        Err(error) => {
            report.error = Some(error.to_string());
            report.measurements = Some(Vec::new());
            bar.inc(workloads.len() as u64);
            return report;
        }
    };
    let measure = |workload: &Workload| {
        bar.set_message(format!("{}, {}", report.adapter.name, workload.name()));
        let result = pollster::block_on(timer.measure(workload));
        bar.inc(1);
        Measurement::of(workload, &result)
    };
    let measurements = workloads.iter().map(measure).collect();
    report.measurements = Some(measurements);
    report
}

fn has_timing(report: &Report) -> bool {
    report.measurements.iter().flatten().any(|measurement| measurement.timing.is_some())
}

fn conclude(reports: &[Report]) -> Result<(), Failure> {
    let unopened = reports.iter().filter(|report| report.error.is_some()).count();
    let all = || reports.iter().flat_map(|report| report.measurements.iter().flatten());
    let count = |kind: FailureKind| {
        let is_kind = |measurement: &&Measurement| {
            measurement.failure.as_ref().is_some_and(|failure| failure.kind == kind)
        };
        all().filter(is_kind).count()
    };
    let timed = all().filter(|measurement| measurement.timing.is_some()).count();
    let (wrong, failed) = (count(FailureKind::WrongResult), count(FailureKind::Failed));
    let times = |report: &&Report| {
        report.measurements.iter().flatten().any(|measurement| measurement.timing.is_some())
    };
    let without = reports.iter().filter(|report| !times(report)).count();
    if unopened + wrong + failed + without == 0 && timed > 0 {
        return Ok(());
    }
    let unsupported = count(FailureKind::Unsupported);
    Err(Failure::FailedRun(format!(
        "{timed} measurements, {wrong} with wrong results, {failed} failed, {unsupported} are not supported, \
         {unopened} devices could not be opened, {without} have no measurement: see the report above"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_without_a_measurement_is_no_success() {
        let report = |json: &str| layernorm_report::parse(json).unwrap().remove(0);
        let measured = include_str!("../../../reports/llvmpipe-gl-22.3.6-bench.json");
        assert!(conclude(&[report(measured)]).is_ok());
        let idle = Report { measurements: Some(Vec::new()), ..report(measured) };
        let message = conclude(&[report(measured), idle]).unwrap_err().to_string();
        assert!(message.contains("1 have no measurement"), "{message}");
    }

    #[test]
    fn shapes_are_read() {
        assert_eq!("4096x1024".parse(), Ok(Shape { rows: 4096, cols: 1024 }));
        assert_eq!("1X1".parse(), Ok(Shape { rows: 1, cols: 1 }));
        for (text, says) in [
            ("4096", "ROWSxCOLS"),
            ("x4", "rows"),
            ("4x", "cols"),
            ("0x4", "rows"),
            ("4x0", "cols"),
            ("-1x4", "rows"),
            ("4x16777217", "cols"),
            ("4x99999999999", "cols"),
            ("99999999999999999999x4", "rows"),
            ("2x3x4", "cols"),
        ] {
            let error = text.parse::<Shape>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
