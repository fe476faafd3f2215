//! `cargo xtask burn`: the integration with burn builds, passes its tests with and without burn's fusion, and
//! is timed against burn's own norms.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::{ROOT, Result, cannot_start_cargo, cargo, print};

/// A workspace of its own, with its own lock file and minimum Rust version.
const PACKAGE: &str = "integrations/burn";

/// What each is, and the arguments of cargo, separated by spaces. In one profile, so that burn is built once
/// with its fusion and once without.
const STEPS: &[(&str, &str)] = &[
    ("format", "fmt --check"),
    ("tests", "test --locked --release"),
    ("clippy", "clippy --locked --release --all-targets -- -D warnings"),
    ("tests, fusion", "test --locked --release --features fusion"),
    ("clippy, fusion", "clippy --locked --release --all-targets --features fusion -- -D warnings"),
    ("docs", "doc --locked --release --no-deps --features fusion"),
    ("swap", "run --locked --release --features fusion --example swap"),
    ("times", "run --locked --release --features fusion --example time"),
];

pub(crate) fn run() -> Result<ExitCode> {
    let directory = Path::new(ROOT).join(PACKAGE);
    let mut times = Vec::new();
    for (name, arguments) in STEPS {
        print(&format!("\n=== {name}: cargo {arguments}, in {PACKAGE}"));
        let start = Instant::now();
        let mut command = cargo();
        command.args(arguments.split(' ')).current_dir(&directory);
        // Doc tests would fail on it too, on code that is an illustration.
        command.envs((*name == "docs").then_some(("RUSTDOCFLAGS", "-D warnings")));
        if !command.status().map_err(cannot_start_cargo)?.success() {
            return Err(format!(
                "step {name} failed: repair what it reports above, then try `cargo {arguments}` in {PACKAGE}"
            ));
        }
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
    }
    print(&format!("\n=== burn: ok ({})", times.join(", ")));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is run is there, and nothing is resolved anew.
    #[test]
    fn the_examples_that_steps_run_are_there_and_the_lock_file_holds() {
        for (name, arguments) in STEPS {
            assert!(arguments.starts_with("fmt") || arguments.contains(" --locked "), "{name}");
            if let Some((_, example)) = arguments.split_once("--example ") {
                let path = Path::new(ROOT).join(PACKAGE).join("examples").join(format!("{example}.rs"));
                assert!(path.is_file(), "{}", path.display());
            }
        }
    }
}
