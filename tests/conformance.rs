//! The cases of `verify` on every adapter, in up to seven modes: with all that the adapter has; where it has
//! subgroup operations or 16-bit floats, without them; with rows split; and on software adapters with the
//! plans of a GPU, rows split and not; and where there are subgroups, under a false report of their sizes.
//! The cases are one covering array for all software adapters, and one for each other adapter. The mode is a
//! factor of it, and so is what the adapter's plan is: what is covered does not shrink with the adapter's
//! features. A test for each, named after adapter, mode and case. No adapter is a failure.
//!
//! `LAYERNORM_CONFORMANCE`: `every_level` takes an array of each level in each mode and by each kernel,
//! `every_case` all cases in each mode.

mod faults;

use faults::FAULTS;
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use verify::{Case, Strength};
use wgpu_layernorm::plan::{AdapterKind, Caps, RowSplit, SubgroupSizes};
use wgpu_layernorm::{Context, Error, adapters, describe_adapter, required_features, verify, wgpu};

/// A way to open an adapter.
type Mode = (&'static str, RowSplit, Result<Context, Error>);

struct Device {
    /// The adapter, as the names of tests have it.
    adapter: String,
    mode: &'static str,
    row_split: RowSplit,
    context: Arc<Context>,
    /// All devices of a GL adapter share one GL context, and wgpu panics where a thread waits for it for a
    /// second.
    turn: Option<Arc<Mutex<()>>>,
}

fn main() {
    let arguments = Arguments::from_args();
    let which = std::env::var("LAYERNORM_CONFORMANCE").ok();
    let cases_on = match which.as_deref() {
        None => |devices: &[Device]| verify::cases_in(&modes_of(devices), Strength::Pairs),
        Some("every_level") => |devices: &[Device]| verify::cases_in(&modes_of(devices), Strength::Levels),
        Some("every_case") => every_case_on,
        Some(other) => {
            eprintln!("LAYERNORM_CONFORMANCE is {other:?}, needs to be every_level or every_case");
            std::process::exit(2);
        }
    };
    let mut by_device = Vec::new();
    // One array for the software adapters, and one for each of the others.
    let mut arrays = vec![Vec::new()];
    for adapter in pollster::block_on(adapters()) {
        let info = adapter.get_info();
        let turn = (info.backend == wgpu::Backend::Gl).then(|| Arc::new(Mutex::new(())));
        let name = describe_adapter(&info).replace(' ', "_");
        let mut opened = Vec::new();
        for (mode, row_split, context) in modes(&adapter) {
            let (adapter, turn) = (name.clone(), turn.clone());
            match context.map(|context| Arc::new(context.with_row_split(row_split))) {
                Ok(context) => opened.push(Device { adapter, mode, row_split, context, turn }),
                Err(error) => {
                    by_device.push(vec![Trial::test(format!("{name}/{mode}"), move || Err(error.into()))]);
                }
            }
        }
        match info.device_type {
            wgpu::DeviceType::Cpu => arrays[0].extend(opened),
            _ => arrays.push(opened),
        }
    }
    for devices in arrays {
        let mut cases = vec![Vec::new(); devices.len()];
        for (place, case) in cases_on(&devices) {
            cases[place].push(case);
        }
        let runs: Vec<_> = devices.into_iter().zip(cases).collect();
        for of_adapter in runs.chunk_by(|(one, _), (next, _)| one.adapter == next.adapter) {
            by_device.push(vec![known_faults_name_tests(of_adapter)]);
        }
        by_device.extend(runs.into_iter().map(|(device, cases)| trials_on(&device, cases)));
    }
    if by_device.is_empty() {
        let message = "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu";
        by_device.push(vec![Trial::test("an_adapter_is_present", move || Err(message.into()))]);
    }
    libtest_mimic::run(&arguments, spread(by_device)).exit();
}

/// The ways to open an adapter, and the rows that are split there.
fn modes(adapter: &wgpu::Adapter) -> Vec<Mode> {
    let open = || pollster::block_on(Context::open(adapter));
    let mut modes = vec![("full", RowSplit::Never, open())];
    if !required_features(adapter).is_empty() {
        modes.push(("plain", RowSplit::Never, pollster::block_on(Context::open_plain(adapter))));
    }
    modes.push(("split", RowSplit::Wide, open()));
    let with_ladder = || open().map(|context| context.with_ladder(AdapterKind::Gpu));
    if adapter.get_info().device_type == wgpu::DeviceType::Cpu {
        modes.push(("gpu", RowSplit::Never, with_ladder()));
        modes.push(("split-gpu", RowSplit::Wide, with_ladder()));
    }
    if adapter.features().contains(wgpu::Features::SUBGROUP) {
        // Sizes that are not known, and twice those that there are.
        let twice = adapter.get_info().subgroup_max_size * 2;
        for (mode, min, max) in [("uncertain", 4, 64), ("misreported", twice, twice)] {
            let sizes = SubgroupSizes { min, max };
            let context = with_ladder().map(|context| context.with_subgroup_sizes(sizes));
            modes.push((mode, RowSplit::Never, context));
        }
    }
    modes
}

/// What plans are made from.
fn modes_of(devices: &[Device]) -> Vec<(Caps, RowSplit)> {
    devices.iter().map(|device| (device.context.caps(), device.row_split)).collect()
}

fn every_case_on(devices: &[Device]) -> Vec<(usize, Case)> {
    (0..devices.len()).flat_map(|place| verify::cases().into_iter().map(move |case| (place, case))).collect()
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

fn trials_on(device: &Device, cases: Vec<Case>) -> Vec<Trial> {
    let Device { mode, .. } = *device;
    let trial = |case: Case| {
        let (context, turn) = (Arc::clone(&device.context), device.turn.clone());
        Trial::test(format!("{}/{mode}/{}", device.adapter, case.name()), move || {
            let _turn = turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            check(&context, mode, &case)
        })
    };
    cases.into_iter().map(trial).collect()
}

/// Of an adapter's devices.
fn known_faults_name_tests(runs: &[(Device, Vec<Case>)]) -> Trial {
    let names = runs
        .iter()
        .flat_map(|(device, cases)| cases.iter().map(|case| fault_name(device.mode, case)))
        .collect::<Vec<_>>();
    let Device { adapter, context, .. } = &runs[0].0;
    let description = context.description();
    Trial::test(format!("{adapter}/known_faults_name_tests"), move || {
        faults::check_names(FAULTS, "conformance/", &description, &names).map_err(Failed::from)
    })
}

fn fault_name(mode: &str, case: &Case) -> String {
    format!("conformance/{mode}/{}", case.name())
}

/// What is said of the smallest case that shows a failure, for the first ones: it takes minutes.
fn smallest(context: &Context, case: &Case) -> String {
    static LEFT: AtomicUsize = AtomicUsize::new(3);
    let take_one = |left: usize| left.checked_sub(1);
    if LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_err() {
        return String::new();
    }
    match pollster::block_on(verify::smallest(context, case)) {
        Ok(Some((case, outcome))) => {
            format!("\nThe smallest case that shows it: {}: {}", case.name(), outcome.failures.join("; "))
        }
        Ok(None) => "\nNo smaller case shows it".to_owned(),
        Err(error) => format!("\nLooking for a smaller case: {error}"),
    }
}

fn check(context: &Context, mode: &str, case: &Case) -> Result<(), Failed> {
    let outcome = pollster::block_on(verify::run(context, case))?;
    let kernel = outcome.kernel.name();
    let message = outcome.failures.join("; ");
    // A known fault excuses a digit, not a wrong result.
    let beyond = outcome.errors.iter().filter(|error| error.units > error.allowed);
    let is_excusable = beyond.clone().count() == outcome.failures.len()
        && beyond.clone().all(|error| error.units <= 2.0 * error.allowed);
    if !outcome.failures.is_empty() && !is_excusable {
        return Err(format!("{kernel}: {message}{}", smallest(context, case)).into());
    }
    let result = if outcome.failures.is_empty() { Ok(()) } else { Err(message) };
    faults::judge(FAULTS, &context.description(), kernel, &fault_name(mode, case), result)
        .map_err(|message| format!("{kernel}: {message}").into())
}
