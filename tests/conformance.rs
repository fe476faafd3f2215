//! The cases of `verify` on every adapter, in up to seven modes: with all that the adapter has; where it has
//! subgroup operations or 16-bit floats, without them; with rows split; and on software adapters with the
//! plans of a GPU, rows split and not; and where there are subgroups, under a false report of their sizes.
//! The cases are one covering array, in which the mode and what the adapter's plan is are factors: what is
//! covered does not shrink with the adapter's features. A test for each, named after adapter, mode and case.
//! No adapter is a failure.

mod faults;

use faults::FAULTS;
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu_layernorm::plan::{AdapterKind, RowSplit, SubgroupSizes};
use wgpu_layernorm::{Context, adapters, describe_adapter, required_features, verify, wgpu};

fn main() {
    let arguments = Arguments::from_args();
    // What `cargo xtask test --full` sets.
    let every_case = std::env::var_os("LAYERNORM_CONFORMANCE").is_some_and(|which| which == "every_case");
    let mut by_device = Vec::new();
    for adapter in pollster::block_on(adapters()) {
        let open = || pollster::block_on(Context::open(&adapter));
        let mut modes = vec![("full", RowSplit::Never, open())];
        if !required_features(&adapter).is_empty() {
            modes.push(("plain", RowSplit::Never, pollster::block_on(Context::open_plain(&adapter))));
        }
        modes.push(("split", RowSplit::Wide, open()));
        if adapter.get_info().device_type == wgpu::DeviceType::Cpu {
            let with_ladder = || open().map(|context| context.with_ladder(AdapterKind::Gpu));
            modes.push(("gpu", RowSplit::Never, with_ladder()));
            modes.push(("split-gpu", RowSplit::Wide, with_ladder()));
        }
        // Sizes that are not known, and twice those that there are.
        let sizes = [("uncertain", Some(4), Some(64)), ("misreported", None, None)];
        for (mode, min, max) in
            sizes.into_iter().filter(|_| adapter.features().contains(wgpu::Features::SUBGROUP))
        {
            let info = adapter.get_info();
            let twice = info.subgroup_max_size * 2;
            let sizes = SubgroupSizes { min: min.unwrap_or(twice), max: max.unwrap_or(twice) };
            let context =
                open().map(|context| context.with_ladder(AdapterKind::Gpu).with_subgroup_sizes(sizes));
            modes.push((mode, RowSplit::Never, context));
        }
        let is_gl = adapter.get_info().backend == wgpu::Backend::Gl;
        // All devices of a GL adapter share one GL context, and wgpu panics where a thread waits for it for a
        // second.
        let turn = is_gl.then(|| Arc::new(Mutex::new(())));
        let description = describe_adapter(&adapter.get_info());
        let prefix = |mode: &str| format!("{}/{mode}", description.replace(' ', "_"));
        let mut names = Vec::new();
        let mut opened = Vec::new();
        for (mode, row_split, context) in modes {
            match context {
                Ok(context) => opened.push((mode, row_split, Arc::new(context.with_row_split(row_split)))),
                Err(error) => by_device.push(vec![Trial::test(prefix(mode), move || Err(error.into()))]),
            }
        }
        let plans_from: Vec<_> =
            opened.iter().map(|(_, row_split, context)| (context.caps(), *row_split)).collect();
        let cases = if every_case { every_case_in(plans_from.len()) } else { verify::cases_in(&plans_from) };
        for (place, (mode, _, context)) in opened.iter().enumerate() {
            let cases: Vec<_> =
                cases.iter().filter(|(taken, _)| *taken == place).map(|(_, case)| *case).collect();
            names.extend(cases.iter().map(|case| fault_name(mode, case)));
            by_device.push(trials_on(&prefix(mode), mode, cases, context, turn.as_ref()));
        }
        by_device.push(vec![Trial::test(
            format!("{}/known_faults_name_tests", description.replace(' ', "_")),
            move || faults::check_names(FAULTS, "conformance/", &description, &names).map_err(Failed::from),
        )]);
    }
    if by_device.is_empty() {
        let message = "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu";
        by_device.push(vec![Trial::test("an_adapter_is_present", move || Err(message.into()))]);
    }
    libtest_mimic::run(&arguments, spread(by_device)).exit();
}

fn every_case_in(modes: usize) -> Vec<(usize, verify::Case)> {
    (0..modes).flat_map(|mode| verify::cases().into_iter().map(move |case| (mode, case))).collect()
}

/// The devices' trials among each other, each device's all over the whole. A software adapter compiles on the
/// one thread of a device's queue, and GL adapters take one trial at a time: threads with trials of one
/// device wait for each other.
fn spread(by_device: Vec<Vec<Trial>>) -> Vec<Trial> {
    const WHOLE: usize = 1 << 20;
    let placed = by_device.into_iter().flat_map(|trials| {
        let count = trials.len();
        trials.into_iter().enumerate().map(move |(i, trial)| (i * WHOLE / count, trial))
    });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, trial)| trial).collect()
}

fn trials_on(
    prefix: &str,
    mode: &'static str,
    cases: Vec<verify::Case>,
    context: &Arc<Context>,
    turn: Option<&Arc<Mutex<()>>>,
) -> Vec<Trial> {
    let trial = |case: verify::Case| {
        let (context, turn) = (Arc::clone(context), turn.map(Arc::clone));
        Trial::test(format!("{prefix}/{}", case.name()), move || {
            let _turn = turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            check(&context, mode, &case)
        })
    };
    cases.into_iter().map(trial).collect()
}

fn fault_name(mode: &str, case: &verify::Case) -> String {
    format!("conformance/{mode}/{}", case.name())
}

fn check(context: &Context, mode: &str, case: &verify::Case) -> Result<(), Failed> {
    let outcome = pollster::block_on(verify::run(context, case))?;
    let kernel = outcome.kernel.name();
    let message = outcome.failures.join("; ");
    // A known fault excuses a digit, not a wrong result.
    let beyond = outcome.errors.iter().filter(|error| error.units > error.allowed);
    let is_excusable = beyond.clone().count() == outcome.failures.len()
        && beyond.clone().all(|error| error.units <= 2.0 * error.allowed);
    if !outcome.failures.is_empty() && !is_excusable {
        return Err(format!("{kernel}: {message}").into());
    }
    let result = if outcome.failures.is_empty() { Ok(()) } else { Err(message) };
    faults::judge(FAULTS, &context.description(), kernel, &fault_name(mode, case), result)
        .map_err(|message| format!("{kernel}: {message}").into())
}
