//! Intel's compiler: Mesa's ANV behind a library that answers for the kernel driver of a GPU that is not there.

use crate::compiled::{self, Compiled, Widths};
use crate::driver::Driver;
use crate::outcome::Outcome;
use crate::work::Text;
use crate::{Options, Result, bar, servers, tools};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use wgpu_layernorm::plan::Plan;

/// Gen 12 integrated, and the first discrete ones, by Mesa's names.
const PLATFORMS: [&str; 2] = ["tgl", "dg2"];

/// Where the library is; docs/vendors.md says how to build it.
const SHIM: &str = "LAYERNORM_INTEL_SHIM";

/// A subgroup of 8 lanes leaves half of the machine idle, but a plan of 16 vec4 a thread may need it.
const LEAST_LANES: u32 = 8;

pub(crate) fn intel(texts: &[Text], options: &Options) -> Vec<Outcome> {
    let name = |platform: &str| format!("ANV {platform}");
    let tools = match std::env::var_os(SHIM).map(PathBuf::from) {
        None => Err(format!("optional: {SHIM} is not set, see docs/vendors.md")),
        Some(shim) if !shim.is_file() => Err(format!("{SHIM} is {}, which is no file", shim.display())),
        Some(shim) => tools::mesa_driver("intel", options.install).map(|manifest| (shim, manifest)),
    };
    let (shim, manifest) = match tools {
        Ok(tools) => tools,
        Err(because) => {
            let variants = texts.iter().map(|text| text.labels.len()).sum();
            // Who has set the variable wants the check.
            let wanted = std::env::var_os(SHIM).is_some();
            return PLATFORMS
                .iter()
                .map(|platform| Outcome::missing(&name(platform), variants, &because, wanted))
                .collect();
        }
    };
    PLATFORMS
        .iter()
        .map(|platform| {
            let start = Instant::now();
            let bar = bar(&name(platform), texts.len());
            let command = || worker(&shim, &manifest, platform);
            let question = |number: usize| Ok(texts[number].label().to_owned());
            let answers = servers::ask(&command, texts.len(), &question, &bar);
            bar.finish_and_clear();
            let mut widths = BTreeMap::new();
            let results: Vec<_> = texts
                .iter()
                .zip(answers)
                .map(|(text, answer)| {
                    let result = read(answer).and_then(|compiled| judge(&compiled).map(|()| compiled));
                    for form in result.iter().flat_map(|compiled| &compiled.executables) {
                        *widths.entry(form.subgroup_size).or_insert(0) += text.labels.len();
                    }
                    (text, result.map(|_| ()))
                })
                .collect();
            Outcome::of(&name(platform), &shown(&widths), &results, start.elapsed())
        })
        .collect()
}

/// The widths that the driver chose, and for how many variants: `SIMD16 900, SIMD32 30`.
fn shown(widths: &BTreeMap<u32, usize>) -> String {
    let widths: Vec<String> = widths.iter().map(|(lanes, count)| format!("SIMD{lanes} {count}")).collect();
    widths.join(", ")
}

fn worker(shim: &Path, manifest: &Path, platform: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vendors")));
    command
        .args(["worker", "intel"])
        .env("LD_PRELOAD", shim)
        .env("INTEL_STUB_GPU_PLATFORM", platform)
        .env("VK_ICD_FILENAMES", manifest)
        .env_remove("VK_DRIVER_FILES")
        .env("MESA_SHADER_CACHE_DISABLE", "1");
    command
}

pub(crate) fn serve(plans: &HashMap<String, Plan>) -> Result<()> {
    let driver = Driver::open()?;
    servers::serve(|question| {
        let plan = plans.get(question).ok_or_else(|| format!("no such question: {question}"));
        let compiled =
            plan.and_then(|plan| compiled::compile(&driver, plan, |_| Ok((Widths::new(), Widths::new()))));
        serde_json::to_string(&compiled).unwrap_or_default()
    })
}

fn read(answer: Result<String>) -> Result<Compiled> {
    serde_json::from_str::<Result<Compiled>>(&answer?)
        .map_err(|error| format!("an answer that is none: {error}"))?
}

/// No spills, in whichever width the driver chose.
fn judge(compiled: &Compiled) -> Result<()> {
    if compiled.executables.is_empty() {
        return Err("the driver compiled nothing".to_owned());
    }
    for form in &compiled.executables {
        for name in ["Spill count", "Fill count"] {
            let value = form.statistic(name)?;
            if value > 0.0 {
                return Err(format!("{name}: {value} in SIMD{}", form.subgroup_size));
            }
        }
        if form.subgroup_size < LEAST_LANES {
            return Err(format!("SIMD{}, narrower than {LEAST_LANES}", form.subgroup_size));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::Form;

    #[test]
    fn widths_are_counted() {
        assert_eq!(shown(&BTreeMap::from([(8, 2), (16, 900)])), "SIMD8 2, SIMD16 900");
        assert_eq!(shown(&BTreeMap::new()), "");
    }

    #[test]
    fn spills_fail() {
        let form = |spills: f64| Form {
            subgroup_size: 16,
            statistics: [("Spill count".to_owned(), spills), ("Fill count".to_owned(), 0.0)].into(),
            loads: Widths::new(),
            stores: Widths::new(),
        };
        assert_eq!(judge(&Compiled { executables: vec![form(0.0)] }), Ok(()));
        assert!(
            judge(&Compiled { executables: vec![form(0.0), form(3.0)] }).unwrap_err().contains("3 in SIMD16")
        );
        assert!(judge(&Compiled { executables: Vec::new() }).is_err());
    }
}
