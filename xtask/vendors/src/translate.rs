//! naga: every text validated and translated; its SPIR-V by spirv-val too.

use crate::outcome::Outcome;
use crate::work::Text;
use crate::{Options, Result, bar, in_parallel, tools};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use wgpu_layernorm::translate::{Checks, Module};

/// Validation with no more capabilities than the plan claims, then SPIR-V 1.3, MSL, HLSL and GLSL, each as
/// wgpu asks for it and without run-time checks.
pub(crate) fn naga(texts: &[Text]) -> Outcome {
    let start = Instant::now();
    let bar = bar("naga", texts.len());
    let results = in_parallel(texts, &bar, |_, text| {
        let translate = || {
            let module = Module::new(&text.variant.plan)?;
            for checks in [Checks::None, Checks::Wgpu] {
                module.spirv(checks)?;
                module.msl(checks)?;
                module.hlsl(checks)?;
            }
            module.glsl()
        };
        let glsl = translate().map_err(|error| error.to_string())?;
        if glsl.is_some() == text.variant.plan.uses_native_f16() {
            return Err("GLSL, which has no 16-bit floats, and the plan's use of them do not fit".to_owned());
        }
        Ok(())
    });
    Outcome::of("naga: SPIR-V, MSL, HLSL, GLSL", "30", &results, start.elapsed())
}

/// Of so many texts one is also given to spirv-val without its last word.
const REFUSED_EVERY: usize = 50;

pub(crate) fn spirv_val(texts: &[Text], options: &Options) -> Outcome {
    const NAME: &str = "spirv-val";
    let program = match tools::program("spirv-val", "spirv-tools", options.install) {
        Ok(program) => program,
        Err(because) => {
            let variants = texts.iter().map(|text| text.labels.len()).sum();
            return Outcome::missing(NAME, variants, &because, true);
        }
    };
    let start = Instant::now();
    let bar = bar(NAME, texts.len());
    let results = in_parallel(texts, &bar, |place, text| {
        let module = Module::new(&text.variant.plan).map_err(|error| error.to_string())?;
        // What `layernorm emit` writes, and what wgpu gives a driver.
        let emitted = module.spirv(Checks::None).map_err(|error| error.to_string())?;
        validate(&program, &emitted)?;
        let words = module.spirv(Checks::Wgpu).map_err(|error| error.to_string())?;
        validate(&program, &words)?;
        // What passes everything proves nothing.
        if !place.is_multiple_of(REFUSED_EVERY) {
            return Ok(());
        }
        match validate(&program, &words[..words.len() - 1]) {
            Ok(()) => Err("spirv-val takes it without its last word too".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let version = tools::first_line(Command::new(&program).arg("--version"));
    let version = version.split_whitespace().nth(1).unwrap_or("").to_owned();
    Outcome::of(NAME, &version, &results, start.elapsed())
}

fn validate(program: &Path, words: &[u32]) -> Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let failed = |error: std::io::Error| format!("spirv-val: {error}");
    let mut child = Command::new(program)
        .args(["--target-env", "vulkan1.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&bytes).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
