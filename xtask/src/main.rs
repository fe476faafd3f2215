//! The repository's own commands: `cargo xtask demo`, `test`, `web`, `package`, `burn`, `vendors` and
//! `adapter`.
//!
//! They are a program and not shell scripts so that they run wherever the library does.

mod adapter;
mod apt;
mod burn;
mod package;
mod steps;
mod swiftshader;
mod web;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use steps::Adapters;

/// A failure as the one line that the user reads: what is wrong and what to do about it.
type Result<T> = std::result::Result<T, String>;

/// The root of the repository, fixed when this program is built: it is only ever run from its own checkout.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", about = "The repository's own commands")]
struct Cli {
    #[command(subcommand)]
    task: Task,

    /// Install nothing: if the machine lacks something, say what and stop
    #[arg(long, global = true)]
    no_install: bool,
}

// A further command is a variant here, a line in `run` and a module of its own.
#[derive(Debug, Subcommand)]
enum Task {
    /// Make sure there is an adapter, then run `layernorm demo`
    Demo {
        /// Arguments for `layernorm demo`
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Make sure there are adapters, then run every check of the repository; exit code 3 if nothing failed
    /// but something that a check needs is missing
    Test {
        /// Every case in every mode of every adapter, then the package from its tarball, then the browser
        /// page, then every triple of factors through all of the vendors' compilers: hours
        #[arg(long)]
        full: bool,
    },
    /// Build the browser page and test it in a headless Chromium; exit code 3 if something that it needs is
    /// missing
    Web(web::Options),
    /// Pack the library, build it from its tarball, and run an application that depends on it
    Package,
    /// Make sure there is an adapter, then build, test and time the integration with burn, with and without
    /// burn's fusion; needs Rust 1.95, and half an hour for burn
    Burn,
    /// Make sure there is an adapter and say what was found
    Adapter,
    /// Every shader variant through the vendors' compilers; `cargo xtask vendors -- --help` has its arguments
    Vendors {
        /// Build the libraries behind which Mesa's drivers compile for GPUs that are not there, from Mesa's
        /// source; nothing else
        #[arg(long)]
        build_shims: bool,

        /// Arguments for the checker
        #[arg(last = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|message| {
        note(&format!("error: {message}"));
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.task {
        Task::Demo { args } => {
            note(&adapter::ensure(cli.no_install)?);
            demo(args)
        }
        Task::Test { full } => {
            print(&adapter::ensure(cli.no_install)?);
            let adapters = Adapters {
                swiftshader: swiftshader::ensure(cli.no_install),
                gl: adapter::ensure_gl(cli.no_install),
            };
            let steps = steps::run(&adapters, *full)?;
            if !full {
                return Ok(steps);
            }
            let package = package::run()?;
            let web = web::run(&web::Options::default(), cli.no_install)?;
            let vendors = vendors(cli.no_install, &[])?;
            // Each has said what it lacks or what has failed; a failure counts before something that is
            // missing.
            let not_run = ExitCode::from(steps::NOT_RUN);
            let codes = [steps, package, web, vendors];
            let failed = codes.into_iter().find(|code| ![ExitCode::SUCCESS, not_run].contains(code));
            let worst = failed.or(codes.into_iter().find(|code| *code == not_run));
            Ok(worst.unwrap_or(ExitCode::SUCCESS))
        }
        Task::Web(options) => web::run(options, cli.no_install),
        Task::Package => {
            print(&adapter::ensure(cli.no_install)?);
            package::run()
        }
        Task::Burn => {
            print(&adapter::ensure(cli.no_install)?);
            burn::run()
        }
        Task::Adapter => {
            print(&adapter::ensure(cli.no_install)?);
            Ok(ExitCode::SUCCESS)
        }
        Task::Vendors { build_shims, args } => {
            let mut all: Vec<OsString> = Vec::new();
            all.extend(build_shims.then(|| "--build-shims".into()));
            all.extend(args.iter().cloned());
            vendors(cli.no_install, &all)
        }
    }
}

fn demo(args: &[OsString]) -> Result<ExitCode> {
    run_tool(program("layernorm")?.arg("demo").args(args))
}

/// The checker is a package of its own, so that this one builds in seconds.
fn vendors(no_install: bool, args: &[OsString]) -> Result<ExitCode> {
    run_tool(program("vendors")?.args(no_install.then_some("--no-install")).args(args))
}

fn run_tool(command: &mut Command) -> Result<ExitCode> {
    let program = command.get_program().to_owned();
    let status = command.status().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    // No code means that a signal ended it.
    let code = status.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Builds a program of the workspace, to run with its arguments from the caller's directory, which their
/// paths are relative to. `cargo run` would build wgpu once more, with the features that one package wants.
fn program(name: &str) -> Result<Command> {
    let status = cargo()
        .args(["build", "--release", "--workspace", "--bin", name])
        .current_dir(ROOT)
        .status()
        .map_err(cannot_start_cargo)?;
    if !status.success() {
        return Err(format!("{name} does not build: see above"));
    }
    // This program is of the same workspace and profile (.cargo/config.toml), so its neighbor.
    let this =
        env::current_exe().map_err(|error| format!("the system hides where this program is: {error}"))?;
    Ok(Command::new(this.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX))))
}

/// Where cargo builds.
fn target_directory() -> PathBuf {
    let set = env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    set.map_or_else(|| Path::new(ROOT).join("target"), |set| Path::new(ROOT).join(set))
}

/// The cargo that runs this program, so that a `+toolchain` on the command line holds for what it starts.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cannot_start_cargo(error: io::Error) -> String {
    format!("cannot start cargo ({error}): run this as `cargo xtask`")
}

/// Prints a line of the result. Unlike `println!` it does not panic when the reader has gone away.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line beside the result, so that the standard output of `demo` is the demo's alone.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_demo() {
        let cli = Cli::try_parse_from(["xtask", "demo", "--no-install", "--", "--no-install", "x"]).unwrap();
        assert!(cli.no_install);
        let Task::Demo { args } = cli.task else { panic!("not demo: {:?}", cli.task) };
        assert_eq!(args, ["--no-install", "x"]);
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_checker() {
        let cli = Cli::try_parse_from(["xtask", "vendors", "--no-install", "--", "--only", "amd"]).unwrap();
        let Task::Vendors { build_shims, args } = cli.task else { panic!("not vendors: {:?}", cli.task) };
        assert_eq!((cli.no_install, build_shims), (true, false));
        assert_eq!(args, ["--only", "amd"].map(OsString::from));
        let cli =
            Cli::try_parse_from(["xtask", "vendors", "--build-shims", "--", "--only", "intel"]).unwrap();
        assert!(matches!(cli.task, Task::Vendors { build_shims: true, args } if args.len() == 2));
    }

    #[test]
    fn the_root_is_the_root() {
        assert!(Path::new(ROOT).join("xtask/Cargo.toml").is_file());
    }
}
