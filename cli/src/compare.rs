//! `layernorm compare`: reports of several machines in one table.

use crate::failure::Failure;
use crate::output;
use crate::reports::{self, Files, Plot};
use clap::Args;
use layernorm_report::{Report, faults, legend, measurements, verification};
use std::path::PathBuf;

/// Lay any number of reports beside each other, of the tool or of a browser.
///
/// Prints one table of everything that any of them has measured, with the ratio to that machine's own copy, and one of
/// the worst errors. What a report lacks, and what failed in it, is said where its numbers would be. The files are
/// those that `bench --json` and `verify --json` write.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm compare reports/*.json
  layernorm compare mine.json yours.json --html both.html --markdown both.md")]
pub(crate) struct Compare {
    /// Reports: JSON files with one or several each
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,

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
    output::print(&text(&reports))?;
    args.files.write(&format!("{} reports of wgpu-layernorm", reports.len()), &reports)?;
    args.plot.write(&reports)
}

/// Everything, for a terminal.
pub(crate) fn text(reports: &[Report]) -> String {
    let sheets = [measurements(reports), verification(reports), faults(reports)];
    let sheets: Vec<String> = sheets.iter().flatten().map(|sheet| format!("\n{}", sheet.text())).collect();
    format!("{}{}", legend(reports), sheets.concat())
}
