//! What plans need to know of a device, as `CubeCL` tells it.

use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::device::WgpuBackend;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind, UIntKind};
use burn_cubecl::cubecl::prelude::Client;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use wgpu_layernorm::plan::{AdapterBackend, AdapterKind, AdapterNames, Caps, SubgroupSizes};

/// The name of the runtime that takes WGSL. With burn's feature `vulkan` it is `wgpu<spirv>`, on Metal
/// `wgpu<msl>`: neither takes a text of another language.
const WGSL: &str = "wgpu<wgsl>";

static CAPS: LazyLock<RwLock<HashMap<CubeDevice, Result<Caps, &'static str>>>> =
    LazyLock::new(RwLock::default);

/// The caps of a device, or the name of its runtime where that does not take WGSL.
pub(crate) fn of(device: &CubeDevice) -> Result<Caps, &'static str> {
    let caps = reported(device);
    #[cfg(test)]
    let caps = caps.map(|caps| tests::CHANGE.get().map_or(caps, |change| change(caps)));
    caps
}

fn reported(device: &CubeDevice) -> Result<Caps, &'static str> {
    if let Some(caps) = CAPS.read().unwrap_or_else(PoisonError::into_inner).get(device) {
        return *caps;
    }
    let client = device.client();
    let caps = if client.name() == WGSL { Ok(of_client(&client, device)) } else { Err(client.name()) };
    CAPS.write().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), caps);
    caps
}

fn of_client(client: &Client, device: &CubeDevice) -> Caps {
    let properties = client.properties();
    let hardware = &properties.hardware;
    let identity = &properties.identity;
    // A CPU, or a software rasterizer, is no card.
    let kind = if identity.physical.is_none() { AdapterKind::Software } else { AdapterKind::Gpu };
    let has = |element: ElemType| properties.supports_type(element);
    let alignment = u32::try_from(properties.memory.alignment).unwrap_or(256);
    let sizes = SubgroupSizes::new(hardware.plane_size_min, hardware.plane_size_max);
    let has_subgroups = !properties.features.plane.is_empty();
    let reported = Caps {
        kind,
        subgroup: sizes.filter(|_| has_subgroups),
        shader_f16: has(ElemType::Float(FloatKind::F16)),
        // Words of four times 64 bits start where bindings do.
        shader_int64: has(ElemType::UInt(UIntKind::U64)) && alignment.is_multiple_of(32),
        max_invocations: hardware.max_units_per_cube.min(hardware.max_cube_dim.0),
        max_workgroup_bytes: u32::try_from(hardware.max_shared_memory_size).unwrap_or(u32::MAX),
        // CubeCL has one less than the device, for its own numbers, which are a uniform here.
        max_storage_buffers: hardware.max_bindings,
        max_workgroups: hardware.max_cube_count.0,
        max_binding_bytes: properties.memory.max_page_size,
        storage_alignment: alignment,
        max_loop_trips: u32::MAX,
        ..Caps::webgpu_default()
    };
    let card = identity.physical.as_ref();
    let vendor = card.and_then(|card| card.vendor).map_or(0, |vendor| vendor.id());
    let is_vulkan = card.is_some_and(|card| card.pci_address.is_some());
    let backend = backend(device, is_vulkan);
    let subgroup = reported.subgroup.filter(|_| backend != AdapterBackend::Browser);
    // The driver is not told: one whose version matters is taken for an old one.
    let names = AdapterNames { backend, vendor, name: &identity.name, driver: "" };
    Caps { subgroup, ..reported }.corrected_for(&names)
}

/// The API behind wgpu: as it was asked for, or as `CubeCL` chooses it. It gives an address to Vulkan's cards
/// alone; of the others Direct3D 12 is the one of which the least is taken for granted.
fn backend(device: &CubeDevice, is_vulkan: bool) -> AdapterBackend {
    let asked = match device {
        CubeDevice::Wgpu(device) => device.backend,
        _ => WgpuBackend::Auto,
    };
    match asked {
        WgpuBackend::Vulkan => AdapterBackend::Vulkan,
        WgpuBackend::Metal => AdapterBackend::Metal,
        WgpuBackend::Dx12 => AdapterBackend::Dx12,
        WgpuBackend::Gl => AdapterBackend::Gl,
        WgpuBackend::WebGpu => AdapterBackend::Browser,
        _ if cfg!(target_family = "wasm") => AdapterBackend::Browser,
        _ if cfg!(target_vendor = "apple") => AdapterBackend::Metal,
        _ if is_vulkan => AdapterBackend::Vulkan,
        _ => AdapterBackend::Dx12,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Caps;
    use std::cell::Cell;

    type Change = fn(Caps) -> Caps;

    thread_local! {
        pub(super) static CHANGE: Cell<Option<Change>> = const { Cell::new(None) };
    }

    /// Runs something on this thread as if devices had other caps.
    pub(crate) fn with_caps(change: Change, run: impl FnOnce()) {
        CHANGE.set(Some(change));
        run();
        CHANGE.set(None);
    }
}
