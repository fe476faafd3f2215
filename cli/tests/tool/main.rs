//! Drives the real binary.

mod activation;
mod batches;
mod calls;
mod codes;
mod compare;
mod destinations;
mod emit;
mod files;
mod from_y;
mod gate;
mod gated;
mod heads;
mod inputs;
mod invariances;
mod modulation;
mod norms;
mod reports;
mod tensors;
mod tune;
mod vectors;
mod wrong_calls;

use assert_cmd::Command;
use std::path::Path;
use tempfile::TempDir;

/// The tool, with an environment in which Mesa and wgpu have nothing to complain about on stderr.
fn layernorm(args: &[&str]) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("layernorm");
    command.args(args).env("XDG_RUNTIME_DIR", std::env::temp_dir());
    for variable in ["WGPU_BACKEND", "WGPU_ADAPTER_NAME", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// The name of a small case of `verify` that is part of no other's.
fn one_case() -> String {
    use wgpu_layernorm::verify::{self, Data, Task};
    let cases = verify::cases();
    let is_small = |case: &&verify::Case| {
        case.problem().cols == 17 && case.data == Data::Normal && matches!(case.task, Task::Forward(_))
    };
    let names: Vec<String> = cases.iter().map(verify::Case::name).collect();
    let is_alone = |name: &String| names.iter().filter(|other| other.contains(name.as_str())).count() == 1;
    cases.iter().filter(is_small).map(verify::Case::name).find(is_alone).unwrap()
}

/// What a finished run has said.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(mut command: Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory for a test's files.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The names of all files, sorted: what was left behind shows.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }
}

/// The model's layer norms: see tests/fixtures/README.md of the library.
fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/minilm_layer_norms.safetensors");
    path.to_str().unwrap().to_owned()
}
