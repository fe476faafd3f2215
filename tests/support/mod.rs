//! What tests of calls over buffers share.
#![allow(dead_code, reason = "each test takes what it needs")]

use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Context, Element, Prepared, adapters, describe_adapter, required_features, required_limits,
};

pub(crate) fn context() -> Context {
    Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter")
}

/// Another device of the same adapter, with other limits than all it has.
pub(crate) fn context_with(change: impl FnOnce(&mut wgpu::Limits)) -> Context {
    let description = context().description();
    let adapter = pollster::block_on(adapters())
        .into_iter()
        .find(|adapter| describe_adapter(&adapter.get_info()) == description)
        .unwrap();
    let (mut required_limits, required_features) = (required_limits(&adapter), required_features(&adapter));
    change(&mut required_limits);
    let descriptor =
        wgpu::DeviceDescriptor { required_limits, required_features, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Context::from_device(device, queue)
}

/// Numbers of which no two sums in different order are likely to be the same.
pub(crate) fn values(seed: u32, count: usize) -> Vec<f32> {
    let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 4e6 - 2.0;
    (0..u32::try_from(count).unwrap()).map(value).collect()
}

/// Numbers between -2 and 2, of which no two seeds have the same one after the other.
pub(crate) fn mixed_values(seed: u32, count: usize) -> Vec<f32> {
    (0..u32::try_from(count).unwrap())
        .map(|i| {
            let mixed = i.wrapping_mul(2_654_435_761).wrapping_add(seed).wrapping_mul(0x85eb_ca6b);
            ((mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35) >> 8) as f32 / 4_194_304.0 - 2.0
        })
        .collect()
}

pub(crate) fn buffer(context: &Context, values: &[f32]) -> wgpu::Buffer {
    buffer_of_bytes(context, bytemuck::cast_slice(values))
}

pub(crate) fn buffer_of_bytes(context: &Context, contents: &[u8]) -> wgpu::Buffer {
    context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    })
}

pub(crate) fn write(context: &Context, buffer: &wgpu::Buffer, values: &[f32]) {
    context.queue().write_buffer(buffer, 0, bytemuck::cast_slice(values));
}

/// A command buffer of one pass.
pub(crate) fn recorded(
    context: &Context,
    record: impl FnOnce(&mut wgpu::ComputePass<'_>),
) -> wgpu::CommandBuffer {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    encoder.finish()
}

/// The bits of buffers, after the calls.
pub(crate) fn run(context: &Context, calls: &[&Prepared], outputs: &[&wgpu::Buffer]) -> Vec<Vec<u32>> {
    run_bytes(context, calls, outputs).iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect()
}

pub(crate) fn run_bytes(context: &Context, calls: &[&Prepared], outputs: &[&wgpu::Buffer]) -> Vec<Vec<u8>> {
    pollster::block_on(context.run(calls, outputs)).unwrap()
}

/// That each is within a share of the largest of what is expected, or of 1.
pub(crate) fn assert_close(what: &str, got: &[f64], expected: &[f64], share: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let most = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let is_close = (got - expected).abs() <= share * most;
        assert!(is_close, "{what} at {i}: {got} is not {expected}");
    }
}

pub(crate) fn wide<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}
