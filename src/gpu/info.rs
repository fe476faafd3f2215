//! Which adapter a device is of.

/// [`wgpu::Device::adapter_info`] where the browser has it. Safari 26.0 has none, and what is not there has
/// no fields: wgpu then ends with an exception of JavaScript's that no Rust code can catch. Such a device is
/// of an unnamed GPU.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "looked for first")]
pub fn adapter_info_of_device(device: &wgpu::Device) -> wgpu::AdapterInfo {
    if devices_have_info() { device.adapter_info() } else { unnamed() }
}

#[cfg(not(target_arch = "wasm32"))]
const fn devices_have_info() -> bool {
    true
}

/// Whether the browser's class of devices has the property. Hosts that do not show the class are believed to.
#[cfg(target_arch = "wasm32")]
fn devices_have_info() -> bool {
    use js_sys::Reflect;
    Reflect::get(&js_sys::global(), &"GPUDevice".into())
        .and_then(|class| Reflect::get(&class, &"prototype".into()))
        .and_then(|prototype| Reflect::has(&prototype, &"adapterInfo".into()))
        .unwrap_or(true)
}

fn unnamed() -> wgpu::AdapterInfo {
    wgpu::AdapterInfo {
        name: String::new(),
        vendor: 0,
        device: 0,
        device_type: wgpu::DeviceType::Other,
        device_pci_bus_id: String::new(),
        driver: String::new(),
        driver_info: String::new(),
        backend: wgpu::Backend::BrowserWebGpu,
        subgroup_min_size: 0,
        subgroup_max_size: 0,
        transient_saves_memory: None,
        limit_bucket: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{describe_adapter, tuned_adapter};

    #[test]
    fn a_device_without_info_is_of_an_unnamed_gpu() {
        assert_eq!(describe_adapter(&unnamed()), "unnamed adapter [webgpu]");
        // Tuning leaves out adapters without a name.
        assert_eq!(tuned_adapter(&unnamed()).name, "");
    }
}
