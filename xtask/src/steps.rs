//! The steps of `cargo xtask test`.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{ROOT, Result, adapter, cannot_start_cargo, cargo, print};

struct Step {
    name: &'static str,
    /// The arguments of cargo, separated by spaces.
    arguments: &'static str,
    /// Those of a second cargo at the same time, whose output comes after the first one's.
    beside: Option<&'static str>,
    on: On,
}

/// The adapters that a step's tests see.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    /// All that the machine has, which on a machine without a GPU are lavapipe and llvmpipe's GL.
    Machine,
    /// SwiftShader alone.
    SwiftShader,
    /// The GL adapter alone, where there is Mesa's.
    Gl,
    /// All that the machine has and SwiftShader.
    Every,
}

impl Step {
    const fn new(name: &'static str, arguments: &'static str) -> Self {
        Self { name, arguments, beside: None, on: On::Machine }
    }
}

/// All in the release profile, so that each dependency is built once for all steps.
const STEPS: &[Step] = &[
    Step::new("format", "fmt --all --check"),
    Step::new("clippy", "clippy --workspace --all-targets --release -- -D warnings"),
    // With no target named this is the unit, integration and doc tests; the examples are built.
    Step::new("tests", "test --workspace --release"),
    // The workspace again, so that nothing is built anew; what depends on the adapter. Compiling each kernel
    // takes SwiftShader long, one at a time in a process, whatever the threads.
    Step {
        name: "SwiftShader",
        arguments: "test --workspace --release --test conformance --test accuracy --test foreign_pipeline -- --skip /backward+",
        beside: Some("test --workspace --release --test conformance -- /backward+"),
        on: On::SwiftShader,
    },
    // Its cases are among the tests; this fails where there is no such adapter.
    Step {
        name: "GL",
        arguments: "test --workspace --release --test accuracy --test foreign_pipeline",
        beside: None,
        on: On::Gl,
    },
    // As a test of the tool: `cargo run` would build all of wgpu anew, with the features of one package.
    Step {
        name: "verify",
        arguments: "test --workspace --release --test tool -- adapters_are_listed verify_reports_both_modes_of_every_adapter",
        beside: None,
        on: On::Every,
    },
    // Feature by feature, because the workspace build turns all of them on. With warnings as errors: what
    // only another feature uses is unused here. Without features and with `gpu` the tests that need no more
    // are built too.
    Step::new(
        "no features",
        "clippy --release --package wgpu-layernorm --all-targets --no-default-features -- -D warnings",
    ),
    Step::new(
        "feature gpu",
        "clippy --release --package wgpu-layernorm --all-targets --no-default-features --features gpu -- -D warnings",
    ),
    Step::new(
        "feature verify",
        "clippy --release --package wgpu-layernorm --no-default-features --features verify -- -D warnings",
    ),
    Step::new(
        "feature bench",
        "clippy --release --package wgpu-layernorm --no-default-features --features bench -- -D warnings",
    ),
    Step::new(
        "feature rayon",
        "clippy --release --package wgpu-layernorm --no-default-features --features rayon -- -D warnings",
    ),
    Step::new(
        "feature json",
        "clippy --release --package wgpu-layernorm --no-default-features --features json -- -D warnings",
    ),
    Step::new(
        "feature translate",
        "clippy --release --package wgpu-layernorm --no-default-features --features translate -- -D warnings",
    ),
    // Reports are read where there is no wgpu, too.
    Step::new("report", "check --release --package layernorm-report"),
    Step::new("docs", "doc --workspace --no-deps --release"),
    Step::new(
        "benches",
        "bench --no-run --workspace --bench forward --bench backward --bench heads --bench ways --bench host",
    ),
    // Once each, without timing: dispatches by hand have to keep up with the texts.
    Step::new("host bench", "bench --workspace --bench host -- --test"),
];

struct Outcome {
    name: &'static str,
    time: Duration,
    result: StepResult,
}

enum StepResult {
    Ok,
    Failed,
    /// The machine lacks something; what.
    NotRun(String),
}

impl StepResult {
    fn of(status: ExitStatus) -> Self {
        if status.success() { Self::Ok } else { Self::Failed }
    }
}

impl std::fmt::Display for StepResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Failed => f.write_str("FAILED"),
            Self::NotRun(missing) => write!(f, "NOT RUN: {missing}"),
        }
    }
}

/// The adapters beside the machine's first one, or what is missing.
pub(crate) struct Adapters {
    /// Its Vulkan driver's manifest.
    pub(crate) swiftshader: Result<PathBuf>,
    pub(crate) gl: Result<()>,
}

/// The exit code where nothing failed, but a step was not run because something is missing.
pub(crate) const NOT_RUN: u8 = 3;

/// What conformance reads: every case in every mode, where its default is one array of both.
/// How much conformance runs. The step `tests` runs every pair of levels.
const CONFORMANCE: &str = "LAYERNORM_CONFORMANCE";

/// Runs the steps up to the first that fails; `full`: with every case in every mode.
pub(crate) fn run(adapters: &Adapters, full: bool) -> Result<ExitCode> {
    let mut outcomes = Vec::new();
    for step in STEPS {
        print(&format!("\n=== {}: cargo {}", step.name, step.arguments));
        let start = Instant::now();
        let result = run_step(step, adapters, full)?;
        let outcome = Outcome { name: step.name, time: start.elapsed(), result };
        print(&format!("=== {}: {} after {:.1} s", outcome.name, outcome.result, outcome.time.as_secs_f64()));
        let failed = matches!(outcome.result, StepResult::Failed);
        outcomes.push(outcome);
        if failed {
            print(&summary(&outcomes));
            return Err(format!(
                "step {} failed: repair what it reports above, then try `cargo {}` alone",
                step.name, step.arguments
            ));
        }
    }
    print(&summary(&outcomes));
    let all_run = outcomes.iter().all(|outcome| matches!(outcome.result, StepResult::Ok));
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUN) })
}

fn run_step(step: &Step, adapters: &Adapters, full: bool) -> Result<StepResult> {
    let environment: Vec<(&str, OsString)> = match (step.on, &adapters.swiftshader, &adapters.gl) {
        (On::Machine, ..) => Vec::new(),
        // Older loaders know the second name alone.
        (On::SwiftShader, Ok(driver), _) => vec![
            ("VK_DRIVER_FILES", driver.into()),
            ("VK_ICD_FILENAMES", driver.into()),
            ("WGPU_BACKEND", "vulkan".into()),
        ],
        (On::Every, Ok(driver), Ok(())) => {
            let drivers = match adapter::named_drivers() {
                // The loader adds nothing to drivers that are named.
                Some((name, named)) => {
                    let all = env::split_paths(&named).chain([driver.clone()]);
                    (name, env::join_paths(all).map_err(|error| format!("{name}: {error}"))?)
                }
                None => ("VK_ADD_DRIVER_FILES", driver.into()),
            };
            vec![drivers, ("LAYERNORM_TEST_ADAPTERS", "SwiftShader,gl".into())]
        }
        (On::Gl, _, Ok(())) => vec![("WGPU_BACKEND", "gl".into())],
        (On::SwiftShader | On::Every, Err(missing), _) | (On::Gl | On::Every, _, Err(missing)) => {
            return Ok(StepResult::NotRun(missing.clone()));
        }
    };
    let command = |arguments: &str| {
        let mut command = cargo();
        command.args(arguments.split(' ')).current_dir(ROOT);
        // A back end that the caller has chosen would leave out adapters that the steps are for.
        command.env_remove("WGPU_BACKEND").envs(environment.iter().cloned());
        let conformance = match step.on {
            _ if full => Some("every_case"),
            On::SwiftShader => Some("every_level"),
            _ => None,
        };
        command.envs(conformance.map(|which| (CONFORMANCE, which)));
        // Only the step that writes the documentation may fail on its warnings: with the flag, doc tests
        // would too, on code that is an illustration.
        command.envs((step.name == "docs").then_some(("RUSTDOCFLAGS", "-D warnings")));
        command
    };
    let Some(beside) = step.beside else {
        let status = command(step.arguments).status().map_err(cannot_start_cargo)?;
        return Ok(StepResult::of(status));
    };
    std::thread::scope(|scope| {
        let second =
            scope.spawn(|| command(beside).stdin(Stdio::null()).output().map_err(cannot_start_cargo));
        let first = command(step.arguments).status().map_err(cannot_start_cargo);
        let second = second.join().map_err(|_| format!("the thread of `cargo {beside}` panicked"))??;
        print(&format!("\n=== {}, beside it: cargo {beside}", step.name));
        print(String::from_utf8_lossy(&second.stderr).trim_end());
        print(String::from_utf8_lossy(&second.stdout).trim_end());
        let result = StepResult::of(first?);
        Ok(if matches!(result, StepResult::Ok) { StepResult::of(second.status) } else { result })
    })
}

fn summary(outcomes: &[Outcome]) -> String {
    let mut table = format!("\n{:<17}  {:>7}  result", "step", "seconds");
    for Outcome { name, time, result } in outcomes {
        let _ = write!(table, "\n{name:<17}  {:>7.1}  {result}", time.as_secs_f64());
    }
    let missing = STEPS.len() - outcomes.len();
    if missing > 0 {
        let _ = write!(table, "\n({missing} further not run)");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter that no test's name contains runs none, and passes.
    #[test]
    fn the_tests_that_a_step_names_are_there() {
        let step = STEPS.iter().find(|step| step.name == "verify").unwrap();
        let (_, tests) = step.arguments.split_once(" -- ").unwrap();
        for test in tests.split(' ') {
            let function = format!("fn {test}()");
            assert!(include_str!("../../cli/tests/tool/reports.rs").contains(&function), "{test}");
        }
    }

    #[test]
    fn each_feature_is_built_alone() {
        let (_, features) = include_str!("../../Cargo.toml").split_once("\n[features]\n").unwrap();
        let (features, _) = features.split_once("\n[").unwrap();
        let names = features.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
        // The two that only turn others on: our own and wgpu's, which all other steps build.
        for name in names.filter(|name| !name.starts_with('#') && !["default", "backends"].contains(name)) {
            let alone = format!(" --no-default-features --features {name} -- -D warnings");
            assert!(STEPS.iter().any(|step| step.arguments.ends_with(&alone)), "{name}");
        }
    }

    #[test]
    fn summary_lines_up_and_counts_what_was_left_out() {
        let outcomes = [
            Outcome { name: "format", time: Duration::from_millis(840), result: StepResult::Ok },
            Outcome {
                name: "SwiftShader",
                time: Duration::ZERO,
                result: StepResult::NotRun("there is none".to_owned()),
            },
            Outcome { name: "feature rayon", time: Duration::from_secs(1234), result: StepResult::Failed },
        ];
        let expected = format!(
            "\nstep               seconds  result\
             \nformat                 0.8  ok\
             \nSwiftShader            0.0  NOT RUN: there is none\
             \nfeature rayon       1234.0  FAILED\
             \n({} further not run)",
            STEPS.len() - 3
        );
        assert_eq!(summary(&outcomes), expected);
    }
}
