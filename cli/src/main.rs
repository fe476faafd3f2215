//! `layernorm`: runs, verifies and measures the kernels of wgpu-layernorm.
#![forbid(unsafe_code)]
#![allow(clippy::doc_markdown, reason = "clap prints doc comments as they are, backticks too")]

mod adapters;
mod arrangement;
mod backward;
mod batches;
mod bench;
mod call;
mod codes;
mod compare;
mod compute;
mod demo;
mod emit;
mod failure;
mod files;
mod forward;
mod input;
mod interrupt;
mod invariances;
mod output;
mod random;
mod reports;
mod tensors;
mod tune;
mod tuning;
mod verify;
mod words;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// Layer normalization kernels for any GPU that wgpu reaches.
///
/// Exit codes: 0 all is well, 1 the run failed, 2 the call is wrong. WGPU_BACKEND (vulkan, metal, dx12, gl)
/// narrows the adapters that every command sees; RUST_LOG=warn shows what wgpu has to say.
#[derive(Debug, Parser)]
#[command(name = "layernorm", version, max_term_width = 100, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Adapters(adapters::Adapters),
    Forward(forward::Forward),
    Backward(backward::Backward),
    Verify(verify::Verify),
    Bench(bench::Bench),
    Tune(tune::Tune),
    Compare(compare::Compare),
    Emit(emit::Emit),
    Invariances(invariances::Invariances),
    Batches(batches::Batches),
}

fn main() -> ExitCode {
    // Without RUST_LOG, stderr is for what the tool itself has to say.
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    let result = match Cli::try_parse() {
        Ok(cli) => run(&cli.command),
        Err(error) => explain(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Demo(demo) => demo::run(demo),
        Command::Adapters(adapters) => adapters::run(adapters),
        Command::Forward(forward) => forward::run(forward),
        Command::Backward(backward) => backward::run(backward),
        Command::Verify(verify) => verify::run(verify),
        Command::Bench(bench) => bench::run(bench),
        Command::Tune(tune) => tune::run(tune),
        Command::Compare(compare) => compare::run(compare),
        Command::Emit(emit) => emit::run(emit),
        Command::Invariances(invariances) => invariances::run(invariances),
        Command::Batches(batches) => batches::run(batches),
    }
}

/// clap advises to give an unknown flag as a value, behind `--`: it would be taken for a file.
fn without_wrong_tips(paragraph: &str) -> String {
    paragraph.lines().filter(|line| !line.trim().starts_with("tip: to pass '")).collect::<Vec<_>>().join("\n")
}

/// Help goes to stdout as it is; clap's errors, which have several paragraphs, become one line.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return output::print(&text);
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let sentences: Vec<String> = text
        .split("\n\n")
        .map(without_wrong_tips)
        .map(|paragraph| output::one_line(&paragraph))
        .filter(|paragraph| {
            !(paragraph.is_empty()
                || paragraph.starts_with("Usage:")
                || paragraph.starts_with("For more information"))
        })
        .collect();
    Err(Failure::WrongCall(format!("{}; see --help", sentences.join("; "))))
}
