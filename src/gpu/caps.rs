//! [`Caps`] read from a device, and what to ask an adapter for.

use super::adapter_info_of_device;
use crate::plan::quirks::{self, AdapterNames, Backend};
use crate::plan::{AdapterKind, Caps, RegisterBudget, SubgroupSizes, TunedAdapter};

/// The features that the kernels gain from, as far as the adapter has them: subgroup operations and 16-bit
/// floats, and on a software adapter 64-bit integers. None is required.
#[must_use]
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let gains = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16;
    let on_a_cpu = match adapter.get_info().device_type {
        wgpu::DeviceType::Cpu => wgpu::Features::SHADER_INT64,
        _ => wgpu::Features::empty(),
    };
    adapter.features() & (gains | on_a_cpu)
}

/// The limits to open a device with so that the kernels can use all that the adapter has. WebGPU's default
/// limits work too, with fewer options at once and longer rows streamed.
#[must_use]
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    adapter.limits()
}

/// What plans need to know of a device. A device has the features and limits that it was opened with, so an
/// adapter's subgroups or 16-bit floats count only if they were asked for (see [`required_features`]).
#[must_use]
pub fn caps_of_device(device: &wgpu::Device) -> Caps {
    let info = adapter_info_of_device(device);
    let features = device.features();
    let limits = device.limits();
    // An adapter that names sizes outside WebGPU's range, or in the wrong order, is not to be trusted with
    // any.
    let sizes = SubgroupSizes::new(info.subgroup_min_size, info.subgroup_max_size);
    let shader_int64 = features.contains(wgpu::Features::SHADER_INT64);
    let is_software = info.device_type == wgpu::DeviceType::Cpu;
    let reported = Caps {
        kind: if is_software { AdapterKind::Software } else { AdapterKind::Gpu },
        subgroup: sizes.filter(|_| features.contains(wgpu::Features::SUBGROUP)),
        shader_f16: features.contains(wgpu::Features::SHADER_F16),
        full_subgroups: false,
        shader_int64,
        unrolls_loops: false,
        short_texts: false,
        registers: RegisterBudget::MOST,
        max_invocations: limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x),
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        // Rows that start on words of four times 64 bits do so in their bindings too.
        storage_alignment: match limits.min_storage_buffer_offset_alignment {
            least if shader_int64 => least.max(32),
            least => least,
        },
        max_loop_trips: u32::MAX,
    };
    let backend = match info.backend {
        wgpu::Backend::Metal => Backend::Metal,
        wgpu::Backend::Dx12 => Backend::Dx12,
        wgpu::Backend::Gl => Backend::Gl,
        wgpu::Backend::BrowserWebGpu => Backend::Browser,
        _ => Backend::Vulkan,
    };
    let driver = format!("{}, {}", info.driver, info.driver_info);
    quirks::apply(reported, &AdapterNames { backend, vendor: info.vendor, name: &info.name, driver: &driver })
}

/// The adapter as [`Tuning`](crate::plan::Tuning) knows it.
#[must_use]
pub fn tuned_adapter(info: &wgpu::AdapterInfo) -> TunedAdapter {
    let parts: Vec<&str> = [info.driver.as_str(), info.driver_info.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    TunedAdapter { name: info.name.clone(), backend: info.backend.to_string(), driver: parts.join(", ") }
}
