//! Recording a prepared call allocates no more than the same wgpu calls written by hand, with rows that
//! change too.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use wgpu_layernorm::{AdapterChoice, Context, ForwardBuffers, Problem, wgpu};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDINGS: usize = 100;

/// Allocations while `record` records into a pass of its own, with none before it.
fn allocations(context: &Context, mut record: impl FnMut(&mut wgpu::ComputePass<'_>, usize)) -> usize {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let region = Region::new(ALLOCATOR);
    for recording in 0..RECORDINGS {
        record(&mut pass, recording);
    }
    let change = region.change();
    change.allocations + change.reallocations
}

/// A kernel that binds a uniform at a dynamic offset and four storage buffers, as forward with gain and bias
/// does.
const BY_HAND: &str = "
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < rows.x) { y[id.x] = x[id.x] * gain[id.x] + bias[id.x]; }
}";

fn by_hand(context: &Context, buffers: [&wgpu::Buffer; 4]) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
    let device = context.device();
    let uniform = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 512,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: false,
    });
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
        count: None,
    };
    let storage =
        (1..5).map(|binding| entry(binding, wgpu::BufferBindingType::Storage { read_only: binding < 4 }));
    let entries: Vec<_> =
        std::iter::once(entry(0, wgpu::BufferBindingType::Uniform)).chain(storage).collect();
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        })),
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(BY_HAND.into()),
        }),
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let slot = wgpu::BufferBinding { buffer: &uniform, offset: 0, size: wgpu::BufferSize::new(16) };
    let slot = wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(slot) };
    let storage = (1..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let entries: Vec<_> = std::iter::once(slot).chain(storage).collect();
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
    (pipeline, device.create_bind_group(&descriptor))
}

#[test]
fn recording_allocates_no_more_than_by_hand() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
    let device = context.device();
    let buffer = || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64 * 64 * 4,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let (x, y, gain, bias) = (buffer(), buffer(), buffer(), buffer());
    let norm = context.layer_norm(&Problem { cols: 64, ..Problem::default() }).unwrap();
    let buffers = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        ..ForwardBuffers::new(64, &x, &y)
    };
    let prepared = norm.prepare_forward(&buffers).unwrap();
    assert_eq!(prepared.dispatch_count(), 1);
    let (pipeline, bind_group) = by_hand(&context, [&x, &gain, &bias, &y]);
    let by_hand = |pass: &mut wgpu::ComputePass<'_>, _: usize| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[256]);
        pass.dispatch_workgroups(64, 1, 1);
    };
    let all = |pass: &mut wgpu::ComputePass<'_>, _: usize| prepared.record(pass);
    // 50 numbers of rows, and with them another order of them each time.
    let some = |pass: &mut wgpu::ComputePass<'_>, recording: usize| {
        prepared.record_rows(pass, (recording * 7 % 50) as u64).unwrap();
    };

    // The first pass of each kind may fill caches of wgpu's own, and meets the numbers of rows.
    allocations(&context, by_hand);
    allocations(&context, all);
    let first = allocations(&context, some);
    let hand = allocations(&context, by_hand);
    for (name, ours) in [("all rows", allocations(&context, all)), ("some", allocations(&context, some))] {
        assert!(ours <= hand, "{RECORDINGS} recordings of {name} make {ours} allocations, by hand {hand}");
    }
    assert!(first > hand, "{first} allocations when the numbers of rows are new: allocations are counted");
}
