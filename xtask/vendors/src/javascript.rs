//! The JavaScript example: emitted kernels run by a program that is not ours in language or in host.

use crate::outcome::Outcome;
use crate::{Options, Result, tools};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const NAME: &str = "Dawn runs examples/javascript";

/// The kernels that the example takes, and the arguments of `layernorm emit` beside `--cols 384`.
const KERNELS: [(&str, &[&str]); 3] = [
    ("forward", &["--operation", "forward", "--statistics"]),
    ("backward", &["--operation", "backward"]),
    ("reduce", &["--operation", "reduce-parameters"]),
];

/// Without subgroup operations, and with `SwiftShader`'s subgroups of 4.
pub(crate) fn javascript(options: &Options) -> Outcome {
    let install = options.install;
    if !options.case.is_empty() {
        return Outcome::missing(NAME, KERNELS.len(), "its kernels are not chosen by --case", false);
    }
    let tools = tools::dawn(install)
        .and_then(|(node, example)| tools::swiftshader(install).map(|manifest| (node, example, manifest)));
    let (node, example, manifest) = match tools {
        Ok(tools) => tools,
        Err(because) => return Outcome::missing(NAME, KERNELS.len(), &because, true),
    };
    let start = Instant::now();
    let mut outcome = Outcome::of(NAME, "SwiftShader", &[], start.elapsed());
    for caps in [&[][..], &["--kind", "software", "--subgroup-sizes", "4..4"]] {
        match run(&node, &example, &manifest, caps) {
            Ok(()) => {
                outcome.tried += KERNELS.len();
                outcome.passed += KERNELS.len();
            }
            Err(message) => outcome.fail(&format!("layer_norm.mjs {}", caps.join(" ")), message),
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome
}

fn run(node: &Path, example: &Path, manifest: &Path, caps: &[&str]) -> Result<()> {
    let kernels = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let layernorm = tools::layernorm()?;
    for (name, arguments) in KERNELS {
        tools::run(
            Command::new(&layernorm)
                .args(["emit", "--cols", "384", "--format", "browser", "--output"])
                .arg(kernels.path().join(format!("{name}.wgsl")))
                .args(arguments)
                .args(caps),
        )?;
    }
    tools::run(
        Command::new(node)
            .arg("layer_norm.mjs")
            .arg(kernels.path())
            .arg("../../tests/fixtures/minilm_layer_norms.safetensors")
            .arg("backend=vulkan")
            .current_dir(example)
            .env("VK_ICD_FILENAMES", manifest)
            .env_remove("VK_DRIVER_FILES"),
    )
}
