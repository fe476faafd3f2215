//! Puts the browser page together, serves it, and tests it in a headless browser. `cargo xtask web` finds the
//! tools, builds the page's WebAssembly and runs this.

mod browser;
mod check;
mod judgment;
mod server;
mod site;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use server::Server;

/// A failure as the one line that the user reads: what is wrong and what to do about it.
type Result<T> = std::result::Result<T, String>;

#[derive(Debug, Parser)]
#[command(about = "Serves and tests the browser page; run by `cargo xtask web`")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the page until interrupted
    Serve {
        #[command(flatten)]
        page: Page,

        /// The port on 127.0.0.1; 0 takes any free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Run the page in a headless browser to its end, and fail if anything on it does
    Check {
        #[command(flatten)]
        page: Page,

        #[command(flatten)]
        options: check::Options,
    },
}

#[derive(Args, Debug)]
struct Page {
    /// The WebAssembly of the package layernorm-web, as cargo leaves it
    #[arg(long, value_name = "FILE")]
    wasm: PathBuf,

    /// The directory to put the page in
    #[arg(long, value_name = "DIRECTORY")]
    site: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { page, port } => serve(&page, port),
        Command::Check { page, options } => check(&page, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(page: &Page, port: u16) -> Result<()> {
    site::build(&page.wasm, &page.site)?;
    let server = Server::start(&page.site, port)?;
    print(&format!("serving {} at {}: interrupt to stop", page.site.display(), server.address()));
    server.wait();
    Ok(())
}

fn check(page: &Page, options: &check::Options) -> Result<()> {
    site::build(&page.wasm, &page.site)?;
    let server = Server::start(&page.site, 0)?;
    check::run(&server.address(), options)
}

/// Prints a line of the result. Unlike `println!` it does not panic when the reader has gone away.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
