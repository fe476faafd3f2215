//! What the tests of the host API share: a device that counts what it would report, buffers and numbers.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::{Context, adapters, describe_adapter, required_features, required_limits, wgpu};

/// A device, and how often wgpu reported an error on it that nobody had asked for.
pub(crate) struct Gpu {
    pub(crate) context: Context,
    unreported: Arc<AtomicUsize>,
}

/// The adapter that `WGPU_ADAPTER_NAME` names, else the one that [`adapters`] has first. None is a failure.
pub(crate) fn adapter() -> wgpu::Adapter {
    let name = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default().to_lowercase();
    let is_named = |adapter: &wgpu::Adapter| describe_adapter(&adapter.get_info()).to_lowercase().contains(&name);
    pollster::block_on(adapters())
        .into_iter()
        .find(is_named)
        .expect("the tests need an adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu")
}

impl Gpu {
    pub(crate) fn open() -> Self {
        Self::with_limits(&adapter(), |_| ())
    }

    /// A device of `adapter` with other limits than all that the adapter has.
    pub(crate) fn with_limits(adapter: &wgpu::Adapter, change: impl FnOnce(&mut wgpu::Limits)) -> Self {
        let mut limits = required_limits(adapter);
        change(&mut limits);
        let descriptor = wgpu::DeviceDescriptor {
            required_features: required_features(adapter),
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
        Self::counting(Context::from_device(device, queue))
    }

    fn counting(context: Context) -> Self {
        let unreported = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&unreported);
        context.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            counter.fetch_add(1, Ordering::Relaxed);
            eprintln!("reported by wgpu: {error}");
        }));
        Self { context, unreported }
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        self.context.device()
    }

    /// How many errors have gone to the device's handler.
    pub(crate) fn reported_errors(&self) -> usize {
        self.unreported.load(Ordering::Relaxed)
    }

    /// A buffer of `bytes` bytes that shaders may use and that can be downloaded.
    pub(crate) fn empty(&self, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer_for(bytes, usage)
    }

    pub(crate) fn buffer_for(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    pub(crate) fn upload(&self, values: &[f32]) -> wgpu::Buffer {
        let buffer = self.empty(size_of_val(values) as u64);
        self.context.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    pub(crate) fn download(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let downloads = pollster::block_on(self.context.run(&[], &[buffer])).expect("download");
        bytemuck::pod_collect_to_vec(&downloads[0])
    }
}

/// Numbers from -1 to 1 that look random and are the same in every run.
pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        // xorshift32 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    };
    (0..count).map(|_| next() as f32).collect()
}

/// The largest difference from what is expected, as a part of the largest expected value.
pub(crate) fn relative_error(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(expected).map(|(got, expected)| (f64::from(*got) - expected).abs());
    worst.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst }) / largest
}

/// What float32 arithmetic may be off by in [`relative_error`] on the small tensors here; the numeric contract proper is
/// checked by the conformance test.
pub(crate) const CLOSE: f64 = 1e-6;
