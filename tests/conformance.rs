//! The cases of `verify` on every adapter, in up to five modes: all cases with all that the adapter has (on a software GL every third,
//! and all with adversarial data); where it has subgroup operations or 16-bit floats, every fifth without them; with rows split,
//! every fifth of more than 512 columns and all with adversarial data; and on software adapters every seventh with the plans
//! of a GPU, and every thirteenth of more than 512 columns with rows split too. A test for each, named after adapter, mode
//! and case. No adapter is a failure.

mod faults;

use faults::FAULTS;
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu_layernorm::plan::{AdapterKind, RowSplit};
use wgpu_layernorm::{Context, adapters, describe_adapter, required_features, verify, wgpu};

fn main() {
    let arguments = Arguments::from_args();
    let mut by_device = Vec::new();
    for adapter in pollster::block_on(adapters()) {
        let mut modes = vec![("full", pollster::block_on(Context::open(&adapter)))];
        if !required_features(&adapter).is_empty() {
            modes.push(("plain", pollster::block_on(Context::open_plain(&adapter))));
        }
        if adapter.get_info().device_type == wgpu::DeviceType::Cpu {
            let context = pollster::block_on(Context::open(&adapter));
            modes.push(("gpu", context.map(|context| context.with_ladder(AdapterKind::Gpu))));
            let context = pollster::block_on(Context::open(&adapter));
            let context = context.map(|context| context.with_ladder(AdapterKind::Gpu));
            modes.push(("split-gpu", context.map(|context| context.with_row_split(RowSplit::Always))));
        }
        let context = pollster::block_on(Context::open(&adapter));
        modes.push(("split", context.map(|context| context.with_row_split(RowSplit::Always))));
        let is_gl = adapter.get_info().backend == wgpu::Backend::Gl;
        // All devices of a GL adapter share one GL context, and wgpu panics where a thread waits for it for a second.
        let turn = is_gl.then(|| Arc::new(Mutex::new(())));
        let description = describe_adapter(&adapter.get_info());
        let mut names = Vec::new();
        for (mode, context) in modes {
            let prefix = format!("{}/{mode}", description.replace(' ', "_"));
            let is_software_gl = is_gl && adapter.get_info().device_type == wgpu::DeviceType::Cpu;
            let cases: Vec<_> = cases(mode, is_software_gl).collect();
            names.extend(cases.iter().map(|case| fault_name(mode, case)));
            match context {
                Ok(context) => {
                    by_device.push(trials_on(&prefix, mode, cases, &Arc::new(context), turn.as_ref()));
                }
                Err(error) => by_device.push(vec![Trial::test(prefix, move || Err(error.into()))]),
            }
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

/// The devices' trials among each other, each device's all over the whole. A software adapter compiles on the one thread of a
/// device's queue, and GL adapters take one trial at a time: threads with trials of one device wait for each other.
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

fn cases(mode: &str, is_software_gl: bool) -> impl Iterator<Item = verify::Case> {
    // Odd, as the cases of a shape are forward and backward in turn. What takes the time is compiling, on llvmpipe's GL 2.5
    // times that of lavapipe (without Mesa's cache), with the same LLVM.
    let (every, least_cols) = match mode {
        "plain" => (5, 1),
        "gpu" => (7, 1),
        "split" => (5, 513),
        "split-gpu" => (13, 513),
        _ if is_software_gl => (3, 1),
        _ => (1, 1),
    };
    let takes_adversarial = matches!(mode, "full" | "split");
    let fits = move |case: &verify::Case| case.problem().cols >= least_cols;
    // Cases with data that has broken other kernels share their texts.
    let is_taken = move |(i, case): &(usize, verify::Case)| {
        i.is_multiple_of(every) || takes_adversarial && case.data != verify::Data::Normal
    };
    verify::cases().into_iter().filter(fits).enumerate().filter(is_taken).map(|(_, case)| case)
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
