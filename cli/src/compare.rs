//! `layernorm compare`: several machines side by side, by their reports.

use crate::bench::Shape;
use crate::failure::Failure;
use crate::output;
use crate::reports::{self, Files, Plot};
use clap::Args;
use layernorm_report::{Filter, Report, faults, legend, measurements, verification};
use std::path::PathBuf;

/// Lay machines side by side, by reports of the tool or of a browser.
///
/// Prints how many times as fast as the first machine each of the others is; tables with the machines as
/// columns, and how near each comes to its own copy; times, spreads and errors; in words, how the kernels
/// ran; and what `verify` has found. What a machine lacks, and what failed there, is said where its numbers
/// would be. The files are those that `bench --json` and `verify --json` write. Reports of one machine that
/// have nothing in common count as one.
///
/// With --shape, --dtype or --operation there are only the measurements that fit all of them, in the files
/// too.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm compare reports/*.json
  layernorm compare mine.json yours.json --html both.html --markdown both.md
  layernorm compare mine.json yours.json --shape 4096x1024 1x4096 --dtype f16 --svg f16.svg")]
pub(crate) struct Compare {
    /// Reports: JSON files with one or several each. Ratios are to the machine of the first report with
    /// measurements
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,

    /// Only rows and cols such as 4096x1024 [default: all that the reports have]
    #[arg(long, value_name = "ROWSxCOLS", num_args = 1..)]
    shape: Vec<Shape>,

    /// Only rows stored so, such as f16 [default: all that the reports have]
    #[arg(long, value_name = "DTYPE", num_args = 1..)]
    dtype: Vec<String>,

    /// Only these calls, such as forward [default: all that the reports have]
    #[arg(long, value_name = "OPERATION", num_args = 1..)]
    operation: Vec<String>,

    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    plot: Plot,
}

pub(crate) fn run(args: &Compare) -> Result<(), Failure> {
    args.files.check(Some(&args.plot))?;
    let mut reports: Vec<Report> = Vec::new();
    for path in &args.reports {
        reports.extend(reports::read("REPORT", path)?);
    }
    let filter = Filter {
        shapes: args.shape.iter().map(|shape| (shape.rows, shape.cols)).collect(),
        dtypes: args.dtype.clone(),
        operations: args.operation.clone(),
    };
    filter.apply(&mut reports).map_err(|none| Failure::WrongCall(none.to_string()))?;
    output::print(&text(&reports))?;
    args.files.write(&format!("{} reports of wgpu-layernorm", reports.len()), &reports)?;
    args.plot.write(&reports)
}

/// Everything, for a terminal.
pub(crate) fn text(reports: &[Report]) -> String {
    let mut sheets = measurements(reports);
    sheets.extend(verification(reports));
    sheets.extend(faults(reports));
    let sheets: Vec<String> = sheets.iter().map(|sheet| format!("\n{}", sheet.text())).collect();
    format!("{}{}", legend(reports), sheets.concat())
}
