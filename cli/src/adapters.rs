//! `layernorm adapters`: what there is to run on.

use crate::failure::Failure;
use crate::output;
use clap::Args;
use serde::Serialize;
use wgpu_layernorm::wgpu;

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

/// What tells an adapter from others.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Identity {
    name: String,
    backend: String,
    device_type: String,
    driver: String,
    driver_info: String,
}

impl Identity {
    pub(crate) fn new(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            device_type: format!("{:?}", info.device_type),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
        }
    }
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    identity: Identity,
    /// `None` without subgroup operations.
    subgroup_sizes: Option<[u32; 2]>,
    shader_f16: bool,
    max_invocations: u32,
    max_workgroup_bytes: u32,
    max_storage_buffers: u32,
    max_binding_bytes: u64,
}

impl Report {
    fn new(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let (features, limits) = (adapter.features(), adapter.limits());
        Self {
            identity: Identity::new(&info),
            subgroup_sizes: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
        }
    }
}

/// All adapters, see [`wgpu_layernorm::adapters`].
pub(crate) fn present() -> Vec<wgpu::Adapter> {
    pollster::block_on(wgpu_layernorm::adapters())
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
    let reports: Vec<Report> = present().iter().map(Report::new).collect();
    if args.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|error| Failure::FailedRun(format!("the list cannot be written as JSON: {error}")))?;
        output::print(&format!("{json}\n"))?;
    } else if !reports.is_empty() {
        print_table(&reports)?;
    }
    if reports.is_empty() { Err(none_found()) } else { Ok(()) }
}

fn print_table(reports: &[Report]) -> Result<(), Failure> {
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
    for report in reports {
        let identity = &report.identity;
        let subgroups = match report.subgroup_sizes {
            None => "none".to_owned(),
            Some([min, max]) if min == max => min.to_string(),
            Some([min, max]) => format!("{min} to {max}"),
        };
        table.add_row([
            identity.name.clone(),
            identity.backend.clone(),
            identity.device_type.clone(),
            output::one_line(&format!("{} {}", identity.driver, identity.driver_info)),
            subgroups,
            if report.shader_f16 { "yes" } else { "no" }.to_owned(),
            report.max_invocations.to_string(),
            format!("{} KiB", report.max_workgroup_bytes >> 10),
            report.max_storage_buffers.to_string(),
            format!("{} MiB", report.max_binding_bytes >> 20),
        ]);
    }
    output::print(&format!("{table}\n"))
}
