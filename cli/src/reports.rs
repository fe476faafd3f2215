//! The files that reports are written to and read from.

use crate::failure::Failure;
use crate::files;
use crate::input;
use clap::Args;
use layernorm_report::{Adapter, Report, compare, figure, page, panels, parse, to_json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use wgpu_layernorm::wgpu;

/// Where reports go besides standard output.
#[derive(Args, Debug)]
pub(crate) struct Files {
    /// Write the report as JSON, which `layernorm compare` and --baseline read: one object, or an array of
    /// several
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as a self-contained page, with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the report as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Where plots go on their own.
#[derive(Args, Debug)]
pub(crate) struct Plot {
    /// Write only the plots, GB/s of each shape, as an SVG image
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Files {
    /// Refuses what could not be written, before any work is done for it.
    pub(crate) fn check(&self, plot: Option<&Plot>) -> Result<(), Failure> {
        let destinations = [
            ("--json", self.json.as_deref()),
            ("--html", self.html.as_deref()),
            ("--markdown", self.markdown.as_deref()),
            ("--svg", plot.and_then(|plot| plot.svg.as_deref())),
        ];
        let given: Vec<(&str, &Path)> =
            destinations.into_iter().filter_map(|(flag, path)| Some((flag, path?))).collect();
        given.iter().try_for_each(|(flag, path)| files::check_destination(flag, path))?;
        files::check_distinct(&given)
    }

    pub(crate) fn write(&self, title: &str, reports: &[Report]) -> Result<(), Failure> {
        if let Some(path) = &self.json {
            let json = to_json(reports).map_err(|error| cannot_be_made("JSON", &error.to_string()))?;
            files::write_file(path, json.as_bytes())?;
        }
        if let Some(path) = &self.html {
            let page = page(title, reports).map_err(|error| cannot_be_made("a page", &error))?;
            files::write_file(path, page.as_bytes())?;
        }
        if let Some(path) = &self.markdown {
            files::write_file(path, markdown(title, reports).as_bytes())?;
        }
        Ok(())
    }
}

impl Plot {
    pub(crate) fn write(&self, reports: &[Report]) -> Result<(), Failure> {
        let Some(path) = &self.svg else { return Ok(()) };
        let panels = panels(reports);
        if panels.is_empty() {
            return Err(Failure::FailedRun("--svg: nothing was measured that could be plotted".to_owned()));
        }
        let svg = figure(&panels).map_err(|error| cannot_be_made("an SVG image", &error))?;
        files::write_file(path, svg.as_bytes())
    }
}

fn cannot_be_made(what: &str, error: &str) -> Failure {
    Failure::FailedRun(format!("the report cannot be written as {what}: {error}"))
}

fn markdown(title: &str, reports: &[Report]) -> String {
    let sheets: Vec<String> =
        compare(reports).iter().map(|sheet| format!("\n{}", sheet.markdown())).collect();
    format!("# {title}\n{}", sheets.concat())
}

/// A report of an adapter with nothing in it so far.
pub(crate) fn new(adapter: &wgpu::Adapter) -> Report {
    // A clock before 1970 is no reason to fail.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Report::new("layernorm", since_1970, identity(adapter))
}

pub(crate) fn identity(adapter: &wgpu::Adapter) -> Adapter {
    let host = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    Adapter::of(adapter, &host)
}

/// The reports in a file that the call names.
pub(crate) fn read(flag: &str, path: &Path) -> Result<Vec<Report>, Failure> {
    let text = input::read_text(flag, path, "a report")?;
    parse(&text)
        .map_err(|error| Failure::WrongCall(format!("{flag}: {} cannot be read: {error}", path.display())))
}
