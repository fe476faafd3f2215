//! The steps of `cargo xtask test`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{ROOT, Result, cannot_start_cargo, cargo, print};

struct Step {
    name: &'static str,
    /// The arguments of cargo, separated by spaces.
    arguments: &'static str,
}

/// All in the release profile, so that each dependency is built once for all steps.
const STEPS: &[Step] = &[
    Step { name: "format", arguments: "fmt --all --check" },
    Step { name: "clippy", arguments: "clippy --workspace --all-targets --release -- -D warnings" },
    // With no target named this is the unit, integration and doc tests; the examples are built.
    Step { name: "tests", arguments: "test --workspace --release" },
    // Feature by feature, because the workspace build turns all of them on.
    Step { name: "no features", arguments: "check --release --package wgpu-layernorm --no-default-features" },
    Step {
        name: "feature gpu",
        arguments: "check --release --package wgpu-layernorm --no-default-features --features gpu",
    },
    Step {
        name: "feature rayon",
        arguments: "check --release --package wgpu-layernorm --no-default-features --features rayon",
    },
    // Reports are read where there is no wgpu, too.
    Step { name: "report", arguments: "check --release --package layernorm-report" },
    Step { name: "docs", arguments: "doc --workspace --no-deps --release" },
    Step { name: "benches", arguments: "bench --no-run --package wgpu-layernorm" },
];

struct Outcome {
    name: &'static str,
    time: Duration,
    ok: bool,
}

/// Runs the steps up to the first that fails.
pub(crate) fn run() -> Result<ExitCode> {
    let mut outcomes = Vec::new();
    for step in STEPS {
        print(&format!("\n=== {}: cargo {}", step.name, step.arguments));
        let start = Instant::now();
        let status = cargo()
            .args(step.arguments.split(' '))
            .current_dir(ROOT)
            // Only the step that writes the documentation may fail on its warnings: with the flag, doc tests would
            // too, on code that is an illustration.
            .envs((step.name == "docs").then_some(("RUSTDOCFLAGS", "-D warnings")))
            .status()
            .map_err(cannot_start_cargo)?;
        let outcome = Outcome { name: step.name, time: start.elapsed(), ok: status.success() };
        print(&format!(
            "=== {}: {} after {:.1} s",
            outcome.name,
            result(outcome.ok),
            outcome.time.as_secs_f64()
        ));
        outcomes.push(outcome);
        if !status.success() {
            print(&summary(&outcomes));
            return Err(format!(
                "step {} failed: repair what it reports above, then try `cargo {}` alone",
                step.name, step.arguments
            ));
        }
    }
    print(&summary(&outcomes));
    Ok(ExitCode::SUCCESS)
}

fn summary(outcomes: &[Outcome]) -> String {
    let mut table = format!("\n{:<13}  {:>7}  result", "step", "seconds");
    for Outcome { name, time, ok } in outcomes {
        let _ = write!(table, "\n{name:<13}  {:>7.1}  {}", time.as_secs_f64(), result(*ok));
    }
    let missing = STEPS.len() - outcomes.len();
    if missing > 0 {
        let _ = write!(table, "\n({missing} further not run)");
    }
    table
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "FAILED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_up_and_counts_what_was_left_out() {
        let outcomes = [
            Outcome { name: "format", time: Duration::from_millis(840), ok: true },
            Outcome { name: "feature rayon", time: Duration::from_secs(1234), ok: false },
        ];
        let expected = format!(
            "\nstep           seconds  result\
             \nformat             0.8  ok\
             \nfeature rayon   1234.0  FAILED\
             \n({} further not run)",
            STEPS.len() - 2
        );
        assert_eq!(summary(&outcomes), expected);
    }
}
