//! AMD's compiler: Mesa's RADV on null hardware, which compiles for any family without a device.

use crate::compiled::{self, Compiled, Form, Widths};
use crate::driver::Driver;
use crate::outcome::Outcome;
use crate::work::Text;
use crate::{Options, Result, bar, servers, tools};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use wgpu_layernorm::plan::{AdapterKind, Backward, Caps, Forward, Kernel, Operation, Plan, SubgroupSizes};
use wgpu_layernorm::{Affine, Dtype, Gradient, Normalization, Problem};

/// GCN 5, RDNA 1, 2 and 3, by RADV's names.
pub(crate) const FAMILIES: [&str; 4] = ["vega10", "navi10", "navi21", "gfx1100"];

/// The baseline, beside the tests.
const TABLE: &str = "tests/vendors/amd.csv";
const TABLE_NAME: &str = "RADV, against the table";
const HEADER: &str = "family,variant,vgprs,lds_bytes,waves_per_simd,instructions,code_bytes,loads,stores";

/// What may change without a new baseline: a granule of registers, and a twentieth of the instructions.
const VGPR_MARGIN: f64 = 8.0;
const INSTRUCTION_MARGIN: f64 = 1.05;

/// All texts for GPUs on each family, and the chosen plans of the table.
pub(crate) fn amd(texts: &[Text], options: &Options) -> Vec<Outcome> {
    let name = |family: &str| format!("RADV {family}");
    let manifest = match tools::mesa_driver("radeon", options.install) {
        Ok(manifest) => manifest,
        Err(because) => {
            let variants = texts.iter().map(|text| text.labels.len()).sum();
            return FAMILIES
                .iter()
                .map(|family| Outcome::missing(&name(family), variants, &because, true))
                .collect();
        }
    };
    // A new baseline needs the table's plans alone.
    let texts = if options.accept { &[] } else { texts };
    let version = driver_version(&manifest);
    let mut outcomes = Vec::new();
    let mut found = Vec::new();
    for family in FAMILIES {
        let start = Instant::now();
        let chosen = if options.case.is_empty() { baseline(family) } else { Vec::new() };
        let bar = bar(&name(family), texts.len() + chosen.len());
        // The table's plans first, then the texts.
        let question = |number: usize| {
            Ok(match number.checked_sub(chosen.len()) {
                None => format!("baseline {number}"),
                Some(number) => format!("variant {}", texts[number].label()),
            })
        };
        let command = || worker(&manifest, family);
        let count = chosen.len() + texts.len();
        let mut answers = servers::ask(&command, count, &question, &bar).into_iter();
        bar.finish_and_clear();
        let rows: Vec<_> = chosen.iter().zip(answers.by_ref()).collect();
        let results: Vec<_> = texts
            .iter()
            .zip(answers)
            .map(|(text, answer)| {
                (text, read(answer).and_then(|compiled| judge(&text.variant.plan, &compiled)))
            })
            .collect();
        let mut outcome = Outcome::of(&name(family), &version, &results, start.elapsed());
        for (plan, answer) in rows {
            match read(answer).and_then(|compiled| row(family, plan, &compiled)) {
                Ok(row) => found.push(row),
                Err(message) => outcome.fail(&plan.label(), message),
            }
        }
        outcomes.push(outcome);
    }
    if !options.case.is_empty() {
        outcomes.push(Outcome::missing(TABLE_NAME, 0, "its plans are not chosen by --case", false));
    } else if !found.is_empty() {
        let failed = outcomes.iter().map(|outcome| outcome.failed).sum();
        outcomes.push(table(&found, failed, &version, options.accept));
    }
    outcomes
}

/// The process that compiles for a family: this program, as [`serve`].
fn worker(manifest: &Path, family: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("vendors")));
    command
        .args(["worker", "amd", "--family", family])
        .env("RADV_FORCE_FAMILY", family)
        .env("VK_ICD_FILENAMES", manifest)
        .env_remove("VK_DRIVER_FILES")
        // Statistics of what is really compiled, today.
        .env("MESA_SHADER_CACHE_DISABLE", "1");
    command
}

pub(crate) fn serve(family: &str, plans: &HashMap<String, Plan>) -> Result<()> {
    let driver = Driver::open()?;
    let chosen = baseline(family);
    servers::serve(|question| {
        let plan = match question.split_once(' ') {
            Some(("baseline", number)) => number.parse().ok().and_then(|number: usize| chosen.get(number)),
            Some(("variant", label)) => plans.get(label),
            _ => None,
        };
        let compiled = plan
            .ok_or_else(|| format!("no such question: {question}"))
            .and_then(|plan| compiled::compile(&driver, plan, accesses));
        serde_json::to_string(&compiled).unwrap_or_default()
    })
}

fn read(answer: Result<String>) -> Result<Compiled> {
    serde_json::from_str::<Result<Compiled>>(&answer?)
        .map_err(|error| format!("an answer that is none: {error}"))?
}

/// The version of the package, from the driver's own words in a file name being too much to ask.
fn driver_version(manifest: &Path) -> String {
    let package =
        Command::new("dpkg-query").args(["-f", "${Version}\n", "-W", "mesa-vulkan-drivers"]).output();
    match package {
        Ok(output) if output.status.success() => {
            format!("Mesa {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => manifest.display().to_string(),
    }
}

fn only_form(compiled: &Compiled) -> Result<&Form> {
    match compiled.executables.as_slice() {
        [form] => Ok(form),
        forms => Err(format!("{} forms of one compute shader", forms.len())),
    }
}

/// No spills, no scratch, and no access narrower than the plan promises.
fn judge(plan: &Plan, compiled: &Compiled) -> Result<()> {
    let form = only_form(compiled)?;
    for name in ["Spilled VGPRs", "Spilled SGPRs", "Scratch size"] {
        let value = form.statistic(name)?;
        if value > 0.0 {
            return Err(format!("{name}: {value}, with {} VGPRs", form.statistic("VGPRs")?));
        }
    }
    let Some(bits) = compiled::promised_bits(plan)? else { return Ok(()) };
    let (narrow_loads, narrow_stores) = narrow_accesses(plan);
    for (what, widths, allowed) in
        [("loads", &form.loads, narrow_loads), ("stores", &form.stores, narrow_stores)]
    {
        if widths.is_empty() {
            return Err(format!("no global {what} in the assembly"));
        }
        let narrow = compiled::narrower(widths, bits);
        if narrow > allowed {
            return Err(format!(
                "{narrow} global {what} narrower than {bits} bits, where {allowed} are expected: {}",
                shown(widths)
            ));
        }
    }
    Ok(())
}

/// Loads and stores that a text makes of less than a vector: the row's first column, which its values are shifted by, mean
/// and rstd (of each row of a block: its loop is unrolled), and of a chunk's moments or sums what is used of the four.
fn narrow_accesses(plan: &Plan) -> (u32, u32) {
    let (loads, stores) = match plan.operation {
        Operation::Forward(forward) => (1 + u32::from(forward.residual), 2 * u32::from(forward.statistics)),
        Operation::Backward(_) => (2 * plan.block_rows, 0),
        Operation::ReduceParameters(_) => (0, 0),
    };
    let of_chunks = match plan.kernel {
        // The first chunk's mean and two walks over all chunks, at scale 1 and again scaled.
        Kernel::ForwardSplitApply => 6,
        Kernel::BackwardSplitApply => 1,
        _ => 0,
    };
    (loads + of_chunks, stores)
}

/// `24x128 1x32`: 24 of 128 bits, one of 32.
fn shown(widths: &Widths) -> String {
    let mut text = String::new();
    for (bits, count) in widths.iter().rev() {
        let _ = write!(text, "{}{count}x{bits}", if text.is_empty() { "" } else { " " });
    }
    text
}

/// What [`shown`] shows.
fn read_widths(text: &str) -> Result<Widths> {
    let read = |entry: &str| {
        let (count, bits) = entry.split_once('x')?;
        Some((bits.parse().ok()?, count.parse().ok()?))
    };
    text.split_whitespace()
        .map(|entry| {
            read(entry).ok_or_else(|| format!("needs counts and widths such as 24x128, has {entry:?}"))
        })
        .collect()
}

/// The vector memory instructions of RADV's disassembly.
fn accesses(texts: &[(String, String)]) -> Result<(Widths, Widths)> {
    let assembly = texts
        .iter()
        .find_map(|(name, text)| (name == "Assembly").then_some(text))
        .ok_or("the driver gives no assembly")?;
    // A part of it would lack accesses, and so faults.
    if !assembly.lines().any(|line| line.trim_start().starts_with("s_endpgm")) {
        return Err("the driver's assembly has no end".to_owned());
    }
    let (mut loads, mut stores) = (Widths::new(), Widths::new());
    for line in assembly.lines() {
        let Some(instruction) = line.split_whitespace().next() else { continue };
        for prefix in ["buffer_", "global_", "flat_"] {
            let Some(access) = instruction.strip_prefix(prefix) else { continue };
            let (into, width) = if let Some(width) = access.strip_prefix("load_") {
                (&mut loads, width)
            } else if let Some(width) = access.strip_prefix("store_") {
                (&mut stores, width)
            } else {
                // Atomics, which store a 16-bit value beside its neighbour, and cache control.
                continue;
            };
            let bits = bits_of(width).ok_or_else(|| format!("an access of unknown width: {instruction}"))?;
            *into.entry(bits).or_default() += 1;
        }
    }
    Ok((loads, stores))
}

/// The bits of an access, by the end of its instruction's name: GCN's and RDNA's, then RDNA 3's words.
fn bits_of(width: &str) -> Option<u32> {
    Some(match width {
        "dwordx4" | "b128" | "format_xyzw" => 128,
        "dwordx3" | "b96" | "format_xyz" => 96,
        "dwordx2" | "b64" | "format_xy" => 64,
        "dword" | "b32" | "format_x" => 32,
        "ushort" | "sshort" | "short" | "short_d16" | "short_d16_hi" | "u16" | "i16" | "b16" | "d16_b16"
        | "d16_hi_b16" => 16,
        "ubyte" | "sbyte" | "byte" | "u8" | "i8" | "b8" => 8,
        _ => return None,
    })
}

/// What an adapter of a family tells wgpu.
fn caps(family: &str) -> Caps {
    let min = if family == "vega10" { 64 } else { 32 };
    Caps {
        kind: AdapterKind::Gpu,
        subgroup: Some(SubgroupSizes { min, max: 64 }),
        full_subgroups: true,
        shader_f16: true,
        unrolls_loops: true,
        max_invocations: 1024,
        max_workgroup_bytes: 65_536,
        max_storage_buffers: 64,
        max_binding_bytes: u64::from(u32::MAX),
        storage_alignment: 16,
        ..Caps::webgpu_default()
    }
}

/// The plans of the table: what models run, at the widths where the ladder changes, natively and in browsers without
/// subgroups.
fn baseline(family: &str) -> Vec<Plan> {
    let mut seen = HashSet::new();
    let in_browsers = Caps { unrolls_loops: true, ..Caps::webgpu_default() };
    let all = plans(&caps(family)).into_iter().chain(plans(&in_browsers));
    // Some need no subgroups either way.
    all.filter(|plan| seen.insert(plan.label())).collect()
}

/// The width that is also split among workgroups.
const WIDEST: u32 = 131_072;

fn plans(caps: &Caps) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let mut add = |plan: std::result::Result<Plan, wgpu_layernorm::Error>| {
        if let Ok(plan) = plan
            && !plans.contains(&plan)
        {
            plans.push(plan);
        }
    };
    let all = Backward {
        dx: Some(Gradient::Overwrite),
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Overwrite),
        ..Backward::default()
    };
    let statistics = Forward { statistics: true, ..Forward::default() };
    for cols in [64, 384, 1024, 2048, 4096, 8192, 16_384, WIDEST] {
        for dtype in Dtype::ALL {
            let problem = Problem { cols, dtype, parameter_dtype: dtype, ..Problem::default() };
            add(Plan::forward(&problem, statistics, 8, caps));
            add(Plan::backward(&problem, all, 8, caps));
            add(Plan::reduce_parameters(&problem, all, 8, caps));
            if cols == WIDEST {
                for split in [
                    Plan::forward_split(&problem, statistics, 8, caps),
                    Plan::backward_split(&problem, all, 8, caps),
                ] {
                    split.into_iter().flatten().for_each(|plan| add(Ok(plan)));
                }
            }
        }
        let rms = Problem {
            cols,
            dtype: Dtype::F16,
            parameter_dtype: Dtype::F16,
            normalization: Normalization::Rms,
            affine: Affine::Gain,
            ..Problem::default()
        };
        add(Plan::forward(&rms, Forward { residual: true, ..Forward::default() }, 8, caps));
        add(Plan::backward(&rms, Backward { dx: Some(Gradient::Overwrite), ..Backward::default() }, 8, caps));
    }
    plans
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    family: String,
    variant: String,
    numbers: [f64; 5],
    loads: Widths,
    stores: Widths,
}

fn row(family: &str, plan: &Plan, compiled: &Compiled) -> Result<Row> {
    judge(plan, compiled)?;
    let form = only_form(compiled)?;
    let names = ["VGPRs", "LDS size", "Subgroups per SIMD", "Instructions", "Code size"];
    let mut numbers = [0.0; 5];
    for (number, name) in numbers.iter_mut().zip(names) {
        *number = form.statistic(name)?;
    }
    Ok(Row {
        family: family.to_owned(),
        variant: plan.label(),
        numbers,
        loads: form.loads.clone(),
        stores: form.stores.clone(),
    })
}

impl Row {
    fn csv(&self) -> String {
        let numbers = self.numbers.map(|number| number.to_string()).join(",");
        let (loads, stores) = (shown(&self.loads), shown(&self.stores));
        format!("{},{},{numbers},{loads},{stores}", self.family, self.variant)
    }

    fn parse(line: &str) -> Result<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        let [family, variant, numbers @ .., loads, stores] = fields.as_slice() else {
            return Err(format!("a line with too few fields: {line}"));
        };
        let numbers: Vec<f64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
        let numbers = numbers.try_into().map_err(|_| format!("needs five numbers: {line}"))?;
        Ok(Self {
            family: (*family).to_owned(),
            variant: (*variant).to_owned(),
            numbers,
            loads: read_widths(loads)?,
            stores: read_widths(stores)?,
        })
    }

    /// What has become worse than in the baseline.
    fn regression(&self, baseline: &Self) -> Option<String> {
        let [vgprs, _, _, instructions, _] = self.numbers;
        let [old_vgprs, _, _, old_instructions, _] = baseline.numbers;
        if vgprs > old_vgprs + VGPR_MARGIN {
            return Some(format!("{vgprs} VGPRs, were {old_vgprs}"));
        }
        if instructions > old_instructions * INSTRUCTION_MARGIN {
            return Some(format!("{instructions} instructions, were {old_instructions}"));
        }
        [("loads", &self.loads, &baseline.loads), ("stores", &self.stores, &baseline.stores)]
            .into_iter()
            .find_map(|(what, widths, old)| {
                let narrowed =
                    |bits: &&u32| compiled::narrower(widths, **bits) > compiled::narrower(old, **bits);
                old.keys()
                    .find(narrowed)
                    .map(|_| format!("{what} are {}, were {}", shown(widths), shown(old)))
            })
    }
}

/// Holds what was found by a version of the driver against the table, or writes it anew, if no plan has `failed`.
fn table(found: &[Row], failed: usize, version: &str, accept: bool) -> Outcome {
    let path = Path::new(tools::ROOT).join(TABLE);
    let start = Instant::now();
    let mut outcome = Outcome::of(TABLE_NAME, TABLE, &[], start.elapsed());
    if accept && failed > 0 {
        outcome.fail(TABLE, format!("left as it was: {failed} of its plans have no figures"));
        return outcome;
    }
    if accept {
        let mut text = format!("# {version}\n{HEADER}\n");
        for row in found {
            let _ = writeln!(text, "{}", row.csv());
        }
        match crate::write_file(&path, &text) {
            Ok(()) => outcome.passed = found.len(),
            Err(message) => outcome.fail(TABLE, message),
        }
        outcome.tried = outcome.passed + outcome.failed;
        return outcome;
    }
    let baseline =
        std::fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|text| parse_table(&text));
    match baseline {
        Err(message) => outcome.fail(TABLE, format!("{message}; --accept writes it anew")),
        Ok((of, _)) if upstream(&of) != upstream(version) => {
            let because = format!("the table is of {of}, this is {version}");
            return Outcome::missing(TABLE_NAME, found.len(), &because, true);
        }
        Ok((_, baseline)) => {
            for (what, verdict) in compare(found, &baseline) {
                match verdict {
                    Ok(()) => {
                        outcome.tried += 1;
                        outcome.passed += 1;
                    }
                    Err(message) => {
                        outcome.fail(&what, format!("{message}; --accept takes it as the baseline"));
                    }
                }
            }
        }
    }
    outcome
}

/// A version without what a distribution adds to it.
fn upstream(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// The driver's version, and the rows.
fn parse_table(text: &str) -> Result<(String, Vec<Row>)> {
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("# "));
    let version = version.ok_or("the first line is not `# ` and the driver's version")?.to_owned();
    if lines.next() != Some(HEADER) {
        return Err(format!("the second line is not {HEADER}"));
    }
    Ok((version, lines.map(Row::parse).collect::<Result<_>>()?))
}

/// Each row with its verdict; rows that only one side has are wrong.
fn compare(found: &[Row], baseline: &[Row]) -> Vec<(String, Result<()>)> {
    let key = |row: &Row| (row.family.clone(), row.variant.clone());
    let mut old: BTreeMap<_, &Row> = baseline.iter().map(|row| (key(row), row)).collect();
    let mut verdicts: Vec<_> = found
        .iter()
        .map(|row| {
            let verdict = match old.remove(&key(row)) {
                None => Err("is not in the table".to_owned()),
                Some(old) => row.regression(old).map_or(Ok(()), Err),
            };
            (format!("{} {}", row.family, row.variant), verdict)
        })
        .collect();
    verdicts.extend(old.into_keys().map(|(family, variant)| {
        (format!("{family} {variant}"), Err("is in the table, but no plan any more".to_owned()))
    }));
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    const RDNA2: &str = "BB0:\n\ts_buffer_load_dwordx2 s[6:7], s[8:11], null   ; f4240184 fa000000\n\
        \tbuffer_load_dwordx4 v[4:7], v0, s[8:11], 0 offen\n\tbuffer_load_dwordx4 v[8:11], v1, s[8:11], 0 offen\n\
        \tbuffer_load_ushort v1, v0, s[8:11], 0 offen\n\tbuffer_store_dwordx4 v[0:3], v1, s[8:11], 0 offen glc\n\
        \tbuffer_atomic_cmpswap v[0:1], v2, s[8:11], 0 offen glc\n\tds_write_b128 v0, v[1:4]\n\ts_endpgm\n";
    const RDNA3: &str = "BB0:\n\tbuffer_load_b128 v[4:7], v0, s[8:11], 0 offen\n\tbuffer_load_d16_b16 v1, v0, s[8:11], 0 offen\n\
        \tbuffer_store_b64 v[0:1], v1, s[8:11], 0 offen\n\tbuffer_gl0_inv\n\ts_endpgm\n";

    fn text(assembly: &str) -> Vec<(String, String)> {
        vec![("ACO IR".to_owned(), String::new()), ("Assembly".to_owned(), assembly.to_owned())]
    }

    #[test]
    fn widths_are_read_from_the_assembly_of_both_generations() {
        let (loads, stores) = accesses(&text(RDNA2)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("2x128 1x16", "1x128"));
        let (loads, stores) = accesses(&text(RDNA3)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("1x128 1x16", "1x64"));
    }

    #[test]
    fn an_access_of_a_width_that_nobody_knows_is_an_error() {
        assert!(
            accesses(&text("\tbuffer_load_b256 v0\n\ts_endpgm\n")).unwrap_err().contains("buffer_load_b256")
        );
        assert!(accesses(&text("\tbuffer_load_b128 v0\n")).unwrap_err().contains("no end"));
        assert!(accesses(&[]).unwrap_err().contains("no assembly"));
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
        let plan = Plan::forward(&problem, statistics, 8, &caps("navi21")).unwrap();
        let (wide, one) = (Widths::from([(128, 24), (32, 1)]), Widths::from([(128, 8), (64, 1)]));
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

    fn sample(vgprs: f64, instructions: f64) -> Row {
        Row {
            family: "navi21".to_owned(),
            variant: "forward_cached/f32x4".to_owned(),
            numbers: [vgprs, 0.0, 16.0, instructions, 2000.0],
            loads: Widths::from([(128, 24), (32, 1)]),
            stores: Widths::new(),
        }
    }

    #[test]
    fn growth_beyond_the_margin_fails() {
        let old = [sample(48.0, 400.0)];
        let verdict = |row: Row| compare(&[row], &old).remove(0).1;
        assert_eq!(verdict(sample(56.0, 420.0)), Ok(()), "within the margin");
        assert_eq!(verdict(sample(40.0, 300.0)), Ok(()), "better");
        assert!(verdict(sample(64.0, 400.0)).unwrap_err().contains("64 VGPRs, were 48"));
        assert!(verdict(sample(48.0, 421.0)).unwrap_err().contains("421 instructions, were 400"));
    }

    #[test]
    fn accesses_that_have_become_narrower_fail() {
        let old = [sample(48.0, 400.0)];
        let verdict = |loads| compare(&[Row { loads, ..sample(48.0, 400.0) }], &old).remove(0).1;
        assert_eq!(verdict(Widths::from([(128, 30), (32, 1)])), Ok(()), "more, as wide");
        assert_eq!(verdict(Widths::from([(128, 25)])), Ok(()), "wider");
        for narrow in [Widths::from([(128, 23), (64, 2), (32, 1)]), Widths::from([(128, 24), (16, 1)])] {
            let message = verdict(narrow).unwrap_err();
            assert!(message.starts_with("loads are ") && message.ends_with("were 24x128 1x32"), "{message}");
        }
    }

    #[test]
    fn rows_that_one_side_lacks_fail() {
        let row = sample(48.0, 400.0);
        assert!(compare(std::slice::from_ref(&row), &[])[0].1.is_err());
        assert!(compare(&[], &[row])[0].1.is_err());
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rows = [sample(48.0, 400.0), sample(56.0, 1.0)];
        let text = format!("# Mesa 1.2-3\n{HEADER}\n{}\n{}\n", rows[0].csv(), rows[1].csv());
        assert_eq!(parse_table(&text).unwrap(), ("Mesa 1.2-3".to_owned(), rows.to_vec()));
        assert!(parse_table("something else\n").is_err());
        assert!(parse_table(&format!("{HEADER}\n")).is_err());
        for line in ["navi21,x,1,2,3", "navi21,x,1,2,3,4,5,6x,"] {
            assert!(parse_table(&format!("# Mesa 1.2\n{HEADER}\n{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_table_that_lacks_plans_is_not_written() {
        let path = Path::new(tools::ROOT).join(TABLE);
        let before = std::fs::read(&path).unwrap();
        let outcome = table(&[sample(48.0, 400.0)], 1, "Mesa 0.1-2", true);
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn another_version_of_the_driver_is_not_held_against_the_table() {
        let outcome = table(&[sample(48.0, 400.0)], 0, "Mesa 0.1-2", false);
        assert_eq!((outcome.passed, outcome.failed, outcome.not_run, outcome.incomplete), (0, 0, 1, true));
        assert_eq!((upstream("Mesa 22.3.6-1+deb12u1"), upstream("Mesa 25")), ("Mesa 22.3.6", "Mesa 25"));
    }

    #[test]
    fn the_table_has_every_kernel() {
        for family in FAMILIES {
            let plans = baseline(family);
            for kernel in Kernel::ALL {
                assert!(plans.iter().any(|plan| plan.kernel == kernel), "{} on {family}", kernel.name());
            }
        }
    }
}
