//! Every shader variant through the vendors' compilers; `cargo xtask vendors` runs it. docs/vendors.md
//! explains it.

mod adreno;
mod amd;
mod baseline;
mod compiled;
mod driver;
mod dxc;
mod intel;
mod javascript;
mod mesa;
mod nvk;
mod outcome;
mod servers;
mod shims;
mod table;
mod tint;
mod tools;
mod translate;
mod work;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use outcome::Outcome;
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::plan::Plan;
use wgpu_layernorm::shader::variants::Strength;
use work::{For, Text};

/// A failure as the line that the user reads.
type Result<T> = std::result::Result<T, String>;

/// Every shader variant through the vendors' compilers.
///
/// Exit codes: 0 all passed, 1 something failed, 2 the call is wrong or a file cannot be written, 3 nothing
/// failed but a compiler is missing.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask vendors", max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Hidden>,

    #[command(flatten)]
    check: Check,
}

#[derive(Args, Debug)]
struct Check {
    /// Only these compilers [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COMPILER,...")]
    only: Vec<Compiler>,

    /// Only the variants whose labels contain TEXT
    #[arg(long, value_name = "TEXT", default_value = "")]
    case: String,

    /// Take what Mesa's compilers make of the tables' kernels as the new baselines, tests/vendors/*.csv;
    /// nothing else. With --only, those of the compilers named
    #[arg(long, conflicts_with = "case")]
    accept: bool,

    /// Build the libraries behind which Mesa's compilers work without a GPU, of source that apt-get fetches,
    /// into target/vendors/shims; nothing else. With --only, those of the compilers named
    #[arg(long, conflicts_with_all = ["case", "accept", "pairs", "json"])]
    build_shims: bool,

    /// Write the result, failures in full, to FILE [default: target/vendors/vendors.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Give the compilers that take long (all but naga and Tint) every pair of factors, and not every triple
    #[arg(long, conflicts_with = "accept")]
    pairs: bool,

    /// Install nothing: what is missing is reported as not run
    #[arg(long)]
    no_install: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compiler {
    Naga,
    SpirvVal,
    Tint,
    Javascript,
    Dxc,
    Amd,
    Intel,
    Adreno,
    Nvk,
}

impl Compiler {
    /// Those that are drivers of Mesa's.
    fn vendor(self) -> Option<&'static mesa::Vendor> {
        let name = self.to_possible_value()?;
        mesa::VENDORS.into_iter().find(|vendor| vendor.name == name.get_name())
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// A process that holds a compiler and answers questions on stdin
    #[command(hide = true)]
    Worker {
        #[arg(value_enum)]
        compiler: Compiler,
        #[arg(long, default_value = "")]
        family: String,
        #[arg(long)]
        library: Option<PathBuf>,
        /// As the checker's own
        #[arg(long, default_value = "")]
        case: String,
        #[arg(long)]
        pairs: bool,
    },
}

/// What the checks are told.
#[derive(Debug)]
struct Options {
    install: bool,
    case: String,
    pairs: bool,
    accept: bool,
}

impl Options {
    /// The arguments with which a worker chooses the same variants.
    fn of_worker(&self) -> Vec<String> {
        let pairs = self.pairs.then(|| "--pairs".to_owned());
        pairs.into_iter().chain([format!("--case={}", self.case)]).collect()
    }
}

/// The JSON file.
#[derive(Serialize)]
struct Report<'a> {
    variants: usize,
    texts: usize,
    compilers: &'a [Outcome],
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Hidden::Worker { compiler, family, library, case, pairs }) => {
            let plans = |whose| work::plans(case, strength(*pairs), whose);
            worker(*compiler, family, library.as_deref(), &plans).map(|()| ExitCode::SUCCESS)
        }
        None if cli.check.build_shims => shims::build(&cli.check.only, !cli.check.no_install),
        None => check(&cli.check),
    };
    result.unwrap_or_else(|message| {
        note(&format!("error: {message}"));
        ExitCode::from(2)
    })
}

/// Of the compilers that take long.
fn strength(pairs: bool) -> Strength {
    if pairs { Strength::Pairs } else { Strength::Triples }
}

fn worker(
    compiler: Compiler,
    family: &str,
    library: Option<&Path>,
    plans: &dyn Fn(For) -> Result<HashMap<String, Plan>>,
) -> Result<()> {
    match compiler.vendor() {
        Some(vendor) => vendor.serve(family, plans),
        None if compiler == Compiler::Dxc => {
            dxc::serve(library.ok_or("--library is missing")?, &plans(For::All)?)
        }
        None => Err(format!("no process holds {}", compiler.name())),
    }
}

fn check(args: &Check) -> Result<ExitCode> {
    if let Some(path) = &args.json
        && !directory_of(path).is_dir()
    {
        return Err(format!("--json: there is no directory {} to write to", directory_of(path).display()));
    }
    let of = |texts: &[Text]| texts.iter().map(|text| text.labels.len()).sum::<usize>();
    let options = Options {
        install: !args.no_install,
        case: args.case.clone(),
        pairs: args.pairs,
        accept: args.accept,
    };
    let slow = strength(args.pairs);
    let texts = work::texts(&args.case, Strength::Triples, For::All)?;
    let slow_texts = work::texts(&args.case, slow, For::All)?;
    if texts.is_empty() {
        return Err(format!(
            "--case: no variant's label contains {:?}: `layernorm emit --all DIR` lists them",
            args.case
        ));
    }
    if args.accept
        && let Some(other) = args.only.iter().find(|compiler| compiler.vendor().is_none())
    {
        let names = mesa::VENDORS.map(|vendor| vendor.name);
        return Err(format!("--accept: {} has no table; these have: {}", other.name(), names.join(", ")));
    }
    let named = |compiler| args.only.is_empty() || args.only.contains(&compiler);
    let wanted = |compiler: Compiler| named(compiler) && (!args.accept || compiler.vendor().is_some());
    let mut outcomes = Vec::new();
    if wanted(Compiler::Naga) {
        outcomes.push(translate::naga(&texts));
    }
    if wanted(Compiler::SpirvVal) {
        outcomes.push(translate::spirv_val(&slow_texts, &options));
    }
    if wanted(Compiler::Tint) {
        outcomes.push(tint::tint(&texts, options.install));
    }
    if wanted(Compiler::Javascript) {
        outcomes.push(javascript::javascript(&options));
    }
    if wanted(Compiler::Dxc) {
        outcomes.push(dxc::dxc(&slow_texts, &options));
    }
    let mut given = Vec::new();
    for compiler in Compiler::value_variants().iter().copied().filter(|compiler| wanted(*compiler)) {
        if let Some(vendor) = compiler.vendor() {
            let texts = work::texts(&args.case, slow, vendor.whose)?;
            given.push(format!("{} on {}", of(&texts), vendor.driver));
            outcomes.extend(vendor.check(&texts, &options));
        }
    }

    print(&format!(
        "variants: {} on naga and Tint, {} on spirv-val and DXC{}\n",
        of(&texts),
        of(&slow_texts),
        given.iter().map(|given| format!(", {given}")).collect::<String>()
    ));
    print(&outcome::table(&outcomes).to_string());
    for outcome in outcomes.iter().filter(|outcome| outcome.failed > 0) {
        print(&format!("\n{}, {} failures, of which the first:", outcome.compiler, outcome.failed));
        for failure in outcome.failures.iter().take(3) {
            print(&format!("  {}: {}", failure.variants[0], failure.message));
        }
    }
    let default = tools::store()?.join("vendors.json");
    let path = args.json.as_deref().unwrap_or(&default);
    let report = Report { variants: of(&texts), texts: texts.len(), compilers: &outcomes };
    let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    write_file(path, &(json + "\n"))?;
    print(&format!("\nfailures in full: {}", path.display()));
    Ok(ExitCode::from(outcome::exit_code(&outcomes)))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does something with each text and its place among them, on all cores. The results are in order.
fn in_parallel<'a>(
    texts: &'a [Text],
    bar: &ProgressBar,
    what: impl Fn(usize, &Text) -> Result<()> + Sync,
) -> Vec<(&'a Text, Result<()>)> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Result<()>>> = Mutex::new(vec![Err("not tried".to_owned()); texts.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(text) = texts.get(place) else { return };
                    let result = what(place, text);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[place] = result;
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    texts.iter().zip(results).collect()
}

/// A progress bar on stderr, if that is a terminal.
fn bar(name: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    // Only a wrong template is an error, and the default style is good enough then.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}

/// Writes a file that has either its old content or all of the new one.
fn write_file(path: &Path, content: &str) -> Result<()> {
    let write = || {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // What the process's umask leaves of it, as for any file; the default is for secrets.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        std::fs::create_dir_all(directory_of(path))?;
        let mut file = builder.tempfile_in(directory_of(path))?;
        file.write_all(content.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(|_| ()).map_err(|error| format!("writing {} failed: {error}", path.display()))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Prints a line of the result. Unlike `println!` it does not panic when the reader has gone away.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line beside the result.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["vendors", "--only", "naga,amd", "--no-install"]).unwrap();
        assert_eq!(cli.check.only, [Compiler::Naga, Compiler::Amd]);
        let options = Options { install: true, case: "-x".to_owned(), pairs: true, accept: false };
        let call = ["vendors", "worker", "dxc"].map(str::to_owned).into_iter().chain(options.of_worker());
        let worker = Cli::try_parse_from(call).unwrap().command;
        assert!(matches!(worker, Some(Hidden::Worker { case, pairs: true, .. }) if case == "-x"));
    }
}
