//! `cargo xtask web`: builds the browser page, and tests it in a headless Chromium or serves it.
//!
//! This finds the tools and builds; `web/harness/` does the rest, so that the other commands need not wait
//! for its build.

mod chromium;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};

pub(crate) use wasm::host;

use crate::{Result, cannot_start_cargo, note, print, program, target_directory};

#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Serve the page until interrupted, and test nothing
    #[arg(long)]
    serve: bool,

    /// With --serve: the port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 8080, requires = "serve")]
    port: u16,

    /// Which cases the page runs
    #[arg(long, value_enum, default_value_t = Cases::All, conflicts_with = "serve")]
    cases: Cases,

    /// Chromium, or a browser that takes the same arguments [default: one on the PATH]
    #[arg(long, value_name = "PROGRAM", conflicts_with = "serve")]
    browser: Option<PathBuf>,

    /// Build with Debian's toolchain for browsers even where this one can
    #[arg(long)]
    debian_toolchain: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Cases {
    /// Every shape, option and kind of data in each kernel
    Quick,
    /// All that the library has
    #[default]
    All,
}

impl Cases {
    const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::All => "all",
        }
    }
}

/// What the machine lacks, and how to get it: no failure of what is tested.
#[derive(Debug, PartialEq)]
struct Missing(String);

/// The exit code where nothing was tested because something is missing.
const NOT_RUN: u8 = 3;

pub(crate) fn run(options: &Options, no_install: bool) -> Result<ExitCode> {
    match tools(options, no_install) {
        Ok((wasm, browser)) => build_and_run(options, &wasm, browser.as_deref()),
        Err(Missing(reason)) => {
            note(&format!("not run because {reason}"));
            Ok(ExitCode::from(NOT_RUN))
        }
    }
}

/// Both are looked for before anything is built.
fn tools(
    options: &Options,
    no_install: bool,
) -> std::result::Result<(wasm::Toolchain, Option<PathBuf>), Missing> {
    let browser = match &options.browser {
        _ if options.serve => None,
        Some(browser) => Some(browser.clone()),
        None => Some(chromium::find(no_install)?),
    };
    Ok((wasm::find(no_install, options.debian_toolchain)?, browser))
}

fn build_and_run(options: &Options, toolchain: &wasm::Toolchain, browser: Option<&Path>) -> Result<ExitCode> {
    let target = target_directory();
    print(&format!("=== WebAssembly, with {}", toolchain.description));
    let start = Instant::now();
    let status = toolchain.build().status().map_err(cannot_start_cargo)?;
    if !status.success() {
        return Err("the page's WebAssembly does not build: see above".to_owned());
    }
    print(&format!("=== WebAssembly: built after {:.1} s", start.elapsed().as_secs_f64()));

    let mut harness = program("layernorm-web-harness")?;
    harness.arg(if options.serve { "serve" } else { "check" });
    harness.arg("--wasm").arg(toolchain.wasm()).arg("--site").arg(target.join("web/site"));
    match browser {
        Some(browser) => {
            harness.arg("--browser").arg(browser).arg("--out").arg(target.join("web/check"));
            harness.args(["--cases", options.cases.name()]);
        }
        None => {
            harness.args(["--port", &options.port.to_string()]);
        }
    }
    let status = harness.status().map_err(|error| format!("cannot start the harness: {error}"))?;
    print(&format!(
        "=== page: {} after {:.1} s",
        if status.success() { "ok" } else { "FAILED" },
        start.elapsed().as_secs_f64()
    ));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
