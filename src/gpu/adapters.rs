//! The adapters that there are.

/// Which adapter to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The one that the environment variable `WGPU_ADAPTER_NAME` names, else a real GPU, else a software
    /// adapter.
    #[default]
    Auto,
    /// The first whose description (see [`describe_adapter`]) contains this text, in any case.
    Named(String),
}

/// One line that tells an adapter from others: name, back end, driver. Browsers tell neither name nor driver.
#[must_use]
pub fn describe_adapter(info: &wgpu::AdapterInfo) -> String {
    let name = if info.name.is_empty() { "unnamed adapter" } else { &info.name };
    let driver = if info.driver_info.is_empty() { &info.driver } else { &info.driver_info };
    let separator = if driver.is_empty() { "" } else { ", " };
    format!("{name} [{}{separator}{driver}]", info.backend)
}

/// All adapters of the back ends that `WGPU_BACKEND` names (default: all), real GPUs first. None where wgpu
/// was compiled without any back end.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    // wgpu panics then.
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.sort_by_key(|adapter| preference(&adapter.get_info()));
    adapters
}

/// Lower is better: hardware before software, the newer back ends before GL.
fn preference(info: &wgpu::AdapterInfo) -> (u8, bool) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, info.backend == wgpu::Backend::Gl)
}
