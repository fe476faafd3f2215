//! Mesa's drivers as compilers of GPUs that are not there: AMD's by null hardware, which RADV has of its own,
//! others' by a library that answers for the kernel's driver ([`crate::shims`]).

use crate::baseline::baseline;
use crate::compiled::{self, Compiled, Form, ReadAccesses};
use crate::driver::Driver;
use crate::outcome::Outcome;
use crate::table::{Row, Table};
use crate::work::{For, Text};
use crate::{Options, Result, bar, servers, shims, tools};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use wgpu_layernorm::plan::{Caps, Plan};
use wgpu_layernorm::translate::Checks;

/// A vendor whose compiler is a driver of Mesa's.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// By which a process is told whose compiler it holds.
    pub(crate) name: &'static str,
    /// As the lines of the result begin.
    pub(crate) driver: &'static str,
    /// GPUs, by the driver's names.
    pub(crate) families: &'static [&'static str],
    /// What an adapter of a family tells wgpu.
    pub(crate) caps: fn(&str) -> Caps,
    /// What has the driver find a GPU of a family.
    pub(crate) variable: &'static str,
    pub(crate) source: Source,
    /// The texts that it is for.
    pub(crate) whose: For,
    /// Statistics that are 0 where all is in registers: neither spilled nor an array in memory.
    pub(crate) spills: &'static [&'static str],
    pub(crate) spilled: Spilled,
    /// Lanes of a subgroup, at least.
    pub(crate) least_lanes: u32,
    /// Reads the widths of accesses.
    pub(crate) accesses: ReadAccesses,
    /// The families on which a plan's vectors have to be accessed as wide as they are.
    pub(crate) wide: &'static [&'static str],
    pub(crate) table: Table,
}

/// What a plan that spills registers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spilled {
    /// A failure.
    Fails,
    /// Counted in the line's last column, and of the table's plans recorded there: more is a failure.
    /// docs/vendors.md says why there are any.
    IsCounted,
}

/// Where a driver is from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The installed one, of this name, which needs no GPU.
    Installed(&'static str),
    /// The installed one, of this name, behind a library that was built.
    Behind(&'static str, &'static shims::Shim),
    /// Both were built.
    Built(&'static shims::Shim),
}

/// All of them, in the order of the result's lines.
pub(crate) const VENDORS: [&Vendor; 4] =
    [&crate::amd::AMD, &crate::intel::INTEL, &crate::adreno::ADRENO, &crate::nvk::NVK];

/// A driver that was found.
struct Found {
    manifest: PathBuf,
    shim: Option<PathBuf>,
    version: String,
}

impl Source {
    fn find(&self, install: bool) -> Result<Found> {
        match self {
            Self::Installed(name) => {
                let manifest = tools::mesa_driver(name, install)?;
                Ok(Found { version: tools::mesa_version(&manifest), manifest, shim: None })
            }
            Self::Behind(name, shim) => {
                let manifest = tools::mesa_driver(name, install)?;
                let version = tools::mesa_version(&manifest);
                let shim = shim.find(tools::mesa_number(&version)?)?.shim;
                Ok(Found { manifest, shim: Some(shim), version })
            }
            Self::Built(shim) => {
                tools::vulkan_loader(install)?;
                let number = shim.version(None)?;
                let built = shim.find(&number)?;
                let version = format!("Mesa {number}");
                let manifest = built.manifest.ok_or("the library was built without its driver")?;
                Ok(Found { manifest, shim: Some(built.shim), version })
            }
        }
    }
}

impl Vendor {
    /// The texts on each family, and the chosen plans of the table.
    pub(crate) fn check(&self, texts: &[Text], options: &Options) -> Vec<Outcome> {
        let name = |family: &str| format!("{} {family}", self.driver);
        let found = match self.source.find(options.install) {
            Ok(found) => found,
            Err(because) => {
                let variants = texts.iter().map(|text| text.labels.len()).sum();
                let missing = |family: &&str| Outcome::missing(&name(family), variants, &because, true);
                return self.families.iter().map(missing).collect();
            }
        };
        // A new baseline needs the table's plans alone.
        let texts = if options.accept { &[] } else { texts };
        let mut outcomes = Vec::new();
        let (mut rows, mut rows_spilling) = (Vec::new(), 0);
        for family in self.families {
            let start = Instant::now();
            let chosen = if options.case.is_empty() { baseline(&(self.caps)(family)) } else { Vec::new() };
            let bar = bar(&name(family), texts.len() + chosen.len());
            // The table's plans first, then the texts.
            let question = |number: usize| {
                Ok(match number.checked_sub(chosen.len()) {
                    None => format!("baseline {number}"),
                    Some(number) => format!("variant {}", texts[number].label()),
                })
            };
            let command = || self.worker(&found, family, options);
            let count = chosen.len() + texts.len();
            let mut answers = servers::ask(&command, count, &question, &bar).into_iter();
            bar.finish_and_clear();
            let mut lanes = BTreeMap::new();
            let mut spilling = 0;
            let of_table: Vec<_> = chosen.iter().zip(answers.by_ref()).collect();
            let results: Vec<_> = texts
                .iter()
                .zip(answers)
                .map(|(text, answer)| {
                    let result = read(answer).and_then(|compiled| {
                        let form = self.judge(family, &text.variant.plan, &compiled)?;
                        spilling += usize::from(self.spill(form)?.is_some()) * text.labels.len();
                        *lanes.entry(form.subgroup_size).or_insert(0) += text.labels.len();
                        Ok(())
                    });
                    (text, result)
                })
                .collect();
            let version = match shown(&lanes) {
                lanes if lanes.is_empty() => found.version.clone(),
                lanes => format!("{}: {lanes}", found.version),
            };
            let mut outcome = Outcome::of(&name(family), &version, &results, start.elapsed());
            outcome.because = spills_of(spilling, outcome.passed);
            for (plan, answer) in of_table {
                match read(answer).and_then(|compiled| self.row(family, plan, &compiled)) {
                    Ok((row, spills)) => {
                        rows.push(row);
                        rows_spilling += usize::from(spills);
                    }
                    Err(message) => outcome.fail(&plan.label(), message),
                }
            }
            outcomes.push(outcome);
        }
        let table = &self.table;
        if !options.case.is_empty() {
            outcomes.push(Outcome::missing(table.name, 0, "its plans are not chosen by --case", false));
        } else if !rows.is_empty() {
            let failed = outcomes.iter().map(|outcome| outcome.failed).sum();
            let mut outcome = table.hold(&rows, failed, &found.version, options.accept);
            if outcome.because.is_empty() {
                outcome.because = spills_of(rows_spilling, rows.len());
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// The process that compiles for a family: this program, as [`serve`](Self::serve).
    fn worker(&self, found: &Found, family: &str, options: &Options) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vendors")));
        command
            .args(["worker", self.name, "--family", family])
            .args(options.of_worker())
            .env(self.variable, family)
            .env("VK_ICD_FILENAMES", &found.manifest)
            .env_remove("VK_DRIVER_FILES")
            // Statistics of what is really compiled, today.
            .env("MESA_SHADER_CACHE_DISABLE", "1");
        // NVK of that time wants this said.
        command.env("NVK_I_WANT_A_BROKEN_VULKAN_DRIVER", "1");
        if let Some(shim) = &found.shim {
            command.env("LD_PRELOAD", shim);
        }
        command
    }

    /// Answers with what the driver makes of plans. `plans` makes the product first, which takes seconds: a
    /// process that is asked for the table's alone does not wait for it.
    pub(crate) fn serve(
        &self,
        family: &str,
        plans: &dyn Fn(For) -> Result<HashMap<String, Plan>>,
    ) -> Result<()> {
        let driver = Driver::open()?;
        let caps = (self.caps)(family);
        let chosen = baseline(&caps);
        let variants = OnceCell::new();
        let find = |question: &str| {
            let plan = match question.split_once(' ') {
                Some(("baseline", number)) => {
                    number.parse().ok().and_then(|number: usize| chosen.get(number))
                }
                Some(("variant", label)) => {
                    let variants = variants.get_or_init(|| plans(self.whose));
                    variants.as_ref().map_err(String::clone)?.get(label)
                }
                _ => None,
            };
            plan.ok_or_else(|| format!("no such question: {question}"))
        };
        servers::serve(|question| {
            let compiled = find(question).and_then(|plan| {
                // Loops are left to a compiler that does not see through wgpu's bounds by hosts alone that
                // add none.
                let checks = if plan.unroll || caps.unrolls_loops { Checks::Wgpu } else { Checks::None };
                compiled::compile(&driver, plan, checks, self.accesses)
            });
            serde_json::to_string(&compiled).unwrap_or_default()
        })
    }

    /// No spills, no narrow subgroups, and where that is asked for no access narrower than the plan promises.
    fn judge<'a>(&self, family: &str, plan: &Plan, compiled: &'a Compiled) -> Result<&'a Form> {
        let form = only_form(compiled)?;
        if let Some(message) = self.spill(form)?
            && self.spilled == Spilled::Fails
        {
            return Err(message);
        }
        if form.subgroup_size < self.least_lanes {
            return Err(format!("{} lanes a subgroup, fewer than {}", form.subgroup_size, self.least_lanes));
        }
        if self.wide.contains(&family) {
            compiled::keeps_promise(plan, form)?;
        }
        Ok(form)
    }

    /// What is spilled, if anything is.
    fn spill(&self, form: &Form) -> Result<Option<String>> {
        let mut message = None;
        for name in self.spills {
            let value = form.statistic(name)?;
            if value > 0.0 && message.is_none() {
                message = Some(format!("{name}: {value}, with {} lanes a subgroup", form.subgroup_size));
            }
        }
        Ok(message)
    }

    /// The table's line, and whether the plan spills.
    fn row(&self, family: &str, plan: &Plan, compiled: &Compiled) -> Result<(Row, bool)> {
        let form = self.judge(family, plan, compiled)?;
        Ok((self.table.row(family, &plan.label(), form)?, self.spill(form)?.is_some()))
    }
}

/// For the result's last column.
fn spills_of(spilling: usize, of: usize) -> String {
    if spilling == 0 { String::new() } else { format!("{spilling} of {of} spill, see docs/vendors.md") }
}

fn read(answer: Result<String>) -> Result<Compiled> {
    serde_json::from_str::<Result<Compiled>>(&answer?)
        .map_err(|error| format!("an answer that is none: {error}"))?
}

fn only_form(compiled: &Compiled) -> Result<&Form> {
    match compiled.executables.as_slice() {
        [form] => Ok(form),
        forms => Err(format!("{} forms of one compute shader", forms.len())),
    }
}

/// The lanes that the driver chose for a subgroup, and for how many variants: `16 lanes 900, 32 lanes 30`.
fn shown(lanes: &BTreeMap<u32, usize>) -> String {
    let lanes: Vec<String> = lanes.iter().map(|(lanes, count)| format!("{lanes} lanes {count}")).collect();
    lanes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::amd::AMD;
    use crate::compiled::Widths;
    use wgpu_layernorm::Problem;
    use wgpu_layernorm::plan::Forward;

    #[test]
    fn lanes_are_counted() {
        assert_eq!(shown(&BTreeMap::from([(8, 2), (16, 900)])), "8 lanes 2, 16 lanes 900");
        assert_eq!(shown(&BTreeMap::new()), "");
    }

    fn form(statistics: &[(&str, f64)], loads: Widths, stores: Widths) -> Compiled {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        for name in ["Spilled VGPRs", "Spilled SGPRs", "Scratch size", "VGPRs"] {
            all.insert(name.to_owned(), 0.0);
        }
        all.extend(statistics.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        Compiled { executables: vec![Form { subgroup_size: 64, statistics: all, loads, stores }] }
    }

    #[test]
    fn spills_scratch_and_narrow_accesses_fail() {
        let problem = Problem { cols: 1024, ..Problem::default() };
        let statistics = Forward { statistics: true, ..Forward::default() };
        let plan = Plan::forward(&problem, statistics, 8, &(AMD.caps)("navi21")).unwrap();
        let (wide, one) = (Widths::from([(128, 24), (32, 1)]), Widths::from([(128, 8), (64, 1)]));
        let judge = |plan: &Plan, compiled: &Compiled| AMD.judge("navi21", plan, compiled).map(|_| ());
        assert_eq!(judge(&plan, &form(&[], wide.clone(), one.clone())), Ok(()));
        for name in ["Spilled VGPRs", "Spilled SGPRs", "Scratch size"] {
            let message = judge(&plan, &form(&[(name, 4.0)], wide.clone(), one.clone())).unwrap_err();
            assert!(message.contains(name), "{message}");
        }
        let narrow = Widths::from([(128, 23), (32, 2)]);
        assert!(
            judge(&plan, &form(&[], narrow, one.clone())).unwrap_err().contains("2 global loads narrower")
        );
        let narrow = Widths::from([(128, 5), (32, 3)]);
        assert!(
            judge(&plan, &form(&[], wide.clone(), narrow)).unwrap_err().contains("3 global stores narrower")
        );
        let mut silent = form(&[], wide, one);
        silent.executables[0].statistics.remove("Scratch size");
        assert!(judge(&plan, &silent).unwrap_err().contains("Scratch size"), "a driver that tells less");
    }

    #[test]
    fn spills_that_are_counted_do_not_fail() {
        let problem = Problem { cols: 1024, ..Problem::default() };
        let plan = Plan::forward(&problem, Forward::default(), 8, &(AMD.caps)("navi21")).unwrap();
        let compiled = form(&[("Spilled VGPRs", 4.0)], Widths::from([(128, 24)]), Widths::from([(128, 8)]));
        let counted = Vendor { spilled: Spilled::IsCounted, ..AMD };
        let form = counted.judge("navi21", &plan, &compiled).unwrap();
        assert!(counted.spill(form).unwrap().unwrap().contains("Spilled VGPRs: 4"));
        assert!(AMD.judge("navi21", &plan, &compiled).is_err());
        assert_eq!((spills_of(0, 7), spills_of(3, 7).contains("3 of 7")), (String::new(), true));
    }

    #[test]
    fn narrow_subgroups_and_other_than_one_form_fail() {
        let problem = Problem { cols: 1024, ..Problem::default() };
        let plan = Plan::forward(&problem, Forward::default(), 8, &(AMD.caps)("navi21")).unwrap();
        let mut compiled = form(&[], Widths::from([(128, 24)]), Widths::from([(128, 8)]));
        compiled.executables[0].subgroup_size = 16;
        assert!(
            AMD.judge("navi21", &plan, &compiled).unwrap_err().contains("16 lanes a subgroup, fewer than 32")
        );
        compiled.executables.clear();
        assert!(AMD.judge("navi21", &plan, &compiled).unwrap_err().contains("0 forms"));
    }
}
