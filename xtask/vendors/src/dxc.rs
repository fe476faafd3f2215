//! DXC, the compiler of D3D12: HLSL to DXIL, with its validator.

mod library;

use crate::outcome::Outcome;
use crate::work::Text;
use crate::{Options, Result, bar, servers, tools};
use library::Library;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use wgpu_layernorm::plan::Plan;
use wgpu_layernorm::translate::{Checks, HLSL_SHADER_MODEL, Module};

const NAME: &str = "DXC: HLSL to DXIL";

/// Of so many texts one is compiled as `layernorm emit` writes it, too. It is what wgpu gives a driver
/// without the checks.
const EMITTED_EVERY: usize = 7;

/// How a question says which.
const CHECKED: &str = "checked";
const BOTH: &str = "both";

pub(crate) fn dxc(texts: &[Text], options: &Options) -> Outcome {
    let library = match tools::dxc(options.install) {
        Ok(library) => library,
        Err(because) => {
            let variants = texts.iter().map(|text| text.labels.len()).sum();
            return Outcome::missing(NAME, variants, &because, true);
        }
    };
    let start = Instant::now();
    let bar = bar(NAME, texts.len());
    let command = || worker(&library, options);
    let question = |number: usize| {
        let text = &texts[number];
        let checks = if text.number.is_multiple_of(EMITTED_EVERY) { BOTH } else { CHECKED };
        Ok(format!("{checks} {}", text.label()))
    };
    let answers = servers::ask(&command, texts.len(), &question, &bar);
    bar.finish_and_clear();
    let read = |answer: Result<String>| {
        serde_json::from_str::<Result<()>>(&answer?)
            .map_err(|error| format!("an answer that is none: {error}"))?
    };
    let results: Vec<_> = texts.iter().zip(answers).map(|(text, answer)| (text, read(answer))).collect();
    Outcome::of(NAME, &format!("cs_{HLSL_SHADER_MODEL}"), &results, start.elapsed())
}

fn worker(library: &Path, options: &Options) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vendors")));
    command.args(["worker", "dxc", "--library"]).arg(library).args(options.of_worker());
    command
}

pub(crate) fn serve(library: &Path, plans: &HashMap<String, Plan>) -> Result<()> {
    let library = Library::open(library)?;
    // What passes everything proves nothing: a name that nobody has declared, and more shared memory than
    // there is, which the validator alone counts (`-Vd` leaves it out).
    let undeclared = "RWByteAddressBuffer data; [numthreads(1, 1, 1)] void main() { data.Store(0, nobody); }";
    let too_large = "RWByteAddressBuffer data; groupshared uint much[9000]; [numthreads(64, 1, 1)] \
                     void main(uint i : SV_GroupIndex) { much[i] = data.Load(i); GroupMemoryBarrierWithGroupSync(); \
                     data.Store(0, much[data.Load(0)]); }";
    let profile = format!("cs_{HLSL_SHADER_MODEL}");
    let takes = |text, more: &[&str]| {
        library.compile(text, &[&["-E", "main", "-T", &profile], more].concat()).is_ok()
    };
    if takes(undeclared, &[]) {
        return Err("DXC takes a name that nobody has declared".to_owned());
    }
    if takes(too_large, &[]) || !takes(too_large, &["-Vd"]) {
        return Err(
            "DXC's validator does not refuse 36,000 bytes of shared memory, or is not what does".to_owned()
        );
    }
    servers::serve(|question| {
        let asked = question.split_once(' ').and_then(|(checks, label)| Some((checks, plans.get(label)?)));
        let result = match asked {
            Some((CHECKED, plan)) => compile(&library, plan, Checks::Wgpu),
            Some((BOTH, plan)) => {
                compile(&library, plan, Checks::Wgpu).and_then(|()| compile(&library, plan, Checks::None))
            }
            _ => Err(format!("no such question: {question}")),
        };
        serde_json::to_string(&result).unwrap_or_default()
    })
}

fn compile(library: &Library, plan: &Plan, checks: Checks) -> Result<()> {
    let module = Module::new(plan).map_err(|error| error.to_string())?;
    let hlsl = module.hlsl(checks).map_err(|error| error.to_string())?;
    let profile = format!("cs_{HLSL_SHADER_MODEL}");
    // As wgpu calls it, but for `-Vd`, which would turn its validator off.
    let mut arguments = vec!["-E", &hlsl.entry_point, "-T", &profile, "-HV", "2018"];
    if plan.uses_native_f16() {
        arguments.push("-enable-16bit-types");
    }
    library.compile(&hlsl.source, &arguments)
}
