//! `layernorm adapters`: what there is to run on.

use crate::compute;
use crate::failure::Failure;
use crate::output;
use crate::reports;
use clap::Args;
use layernorm_report::Adapter;
use wgpu_layernorm::{describe_adapter, wgpu};

/// List every adapter of every back end, real GPUs first, with what the kernels can use of each.
///
/// WGPU_BACKEND narrows the list (vulkan, metal, dx12, gl). Exit code 1 if there is no adapter.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm adapters --json")]
pub(crate) struct Adapters {
    /// Print a JSON array of objects instead of a table; sizes are in bytes
    #[arg(long)]
    json: bool,
}

/// All adapters, see [`wgpu_layernorm::adapters`].
pub(crate) fn present() -> Result<Vec<wgpu::Adapter>, Failure> {
    check_environment()?;
    Ok(pollster::block_on(wgpu_layernorm::adapters()))
}

/// A part of a name to look for. Every name contains an empty one, which is what a variable that is not set
/// leaves.
pub(crate) fn parse_part(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("is empty; leave the flag out".to_owned()) } else { Ok(text.to_owned()) }
}

/// Refuses what the environment says of adapters and nobody would act upon: wgpu passes over back ends that
/// it does not know, and every adapter has an empty name.
pub(crate) fn check_environment() -> Result<(), Failure> {
    let read = |variable: &str| match std::env::var(variable) {
        Ok(value) if value.trim().is_empty() => {
            Err(Failure::WrongCall(format!("{variable} is empty; give it a value, or unset it")))
        }
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::WrongCall(format!("{variable}: {error}"))),
    };
    let is_unknown = |name: &&str| wgpu::Backends::from_comma_list(name).is_empty();
    if let Some(value) = read("WGPU_BACKEND")?
        && let Some(unknown) = value.split(',').find(is_unknown)
    {
        return Err(Failure::WrongCall(format!(
            "WGPU_BACKEND is {value}: {unknown:?} is no back end, needs to be of vulkan, metal, dx12 and gl, \
             with commas between them"
        )));
    }
    read("WGPU_ADAPTER_NAME").map(drop)
}

/// The adapters that `--adapter` names: `all`, `auto`, or parts of their descriptions.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<wgpu::Adapter>, Failure> {
    let adapters = present()?;
    if adapters.is_empty() {
        return Err(none_found());
    }
    let descriptions: Vec<String> =
        adapters.iter().map(|adapter| describe_adapter(&adapter.get_info())).collect();
    let matches = |description: &str, name: &str| description.to_lowercase().contains(&name.to_lowercase());
    let mut is_chosen = vec![false; adapters.len()];
    for name in names {
        // As in the library, a name in the environment narrows what `auto` chooses from.
        let from_environment = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|_| name == "auto");
        let (flag, name) = match &from_environment {
            Some(wanted) => ("WGPU_ADAPTER_NAME", wanted),
            None => ("--adapter", name),
        };
        let is_auto = from_environment.is_some() || name == "auto";
        let mut found = false;
        for (chosen, description) in is_chosen.iter_mut().zip(&descriptions) {
            let fits = match name.as_str() {
                "all" | "auto" => true,
                name => matches(description, name),
            };
            if fits && !(is_auto && found) {
                *chosen = true;
                found = true;
            }
        }
        if !found {
            return Err(compute::no_match(flag, name, &descriptions));
        }
    }
    Ok(adapters
        .into_iter()
        .zip(is_chosen)
        .filter(|(_, chosen)| *chosen)
        .map(|(adapter, _)| adapter)
        .collect())
}

/// What to do about a machine without an adapter.
pub(crate) fn none_found() -> Failure {
    let backend = match std::env::var("WGPU_BACKEND") {
        Ok(backend) => format!(" (WGPU_BACKEND is {backend}; without it, other back ends are tried too)"),
        Err(_) => String::new(),
    };
    Failure::FailedRun(format!(
        "no adapter was found{backend}: install the GPU's Vulkan driver or, on Debian and Ubuntu, a software adapter \
         with `apt-get install libvulkan1 mesa-vulkan-drivers`"
    ))
}

pub(crate) fn run(args: &Adapters) -> Result<(), Failure> {
    let adapters: Vec<Adapter> = present()?.iter().map(reports::identity).collect();
    if args.json {
        output::print(&output::json(&adapters)?)?;
    } else if !adapters.is_empty() {
        print_table(&adapters)?;
    }
    if adapters.is_empty() { Err(none_found()) } else { Ok(()) }
}

fn print_table(adapters: &[Adapter]) -> Result<(), Failure> {
    let header = [
        "name",
        "back end",
        "type",
        "driver",
        "subgroup sizes",
        "f16",
        "invocations",
        "workgroup memory",
        "storage buffers",
        "largest binding",
    ];
    let mut table = output::table(&header, 4);
    for adapter in adapters {
        let subgroups = match adapter.subgroup_sizes {
            None => "none".to_owned(),
            Some([min, max]) if min == max => min.to_string(),
            Some([min, max]) => format!("{min} to {max}"),
        };
        table.add_row([
            adapter.name.clone(),
            adapter.backend.clone(),
            adapter.device_type.clone(),
            output::one_line(&format!("{} {}", adapter.driver, adapter.driver_info)),
            subgroups,
            if adapter.shader_f16 { "yes" } else { "no" }.to_owned(),
            adapter.max_invocations.to_string(),
            format!("{} KiB", adapter.max_workgroup_bytes >> 10),
            adapter.max_storage_buffers.to_string(),
            format!("{} MiB", adapter.max_binding_bytes >> 20),
        ]);
    }
    output::print(&format!("{table}\n"))
}
