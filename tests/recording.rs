//! Recording a prepared call allocates no more than the same wgpu calls written by hand.
#![cfg(feature = "gpu")]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use wgpu_layernorm::{AdapterChoice, Context, ForwardBuffers, Problem, wgpu};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDINGS: usize = 100;

/// Allocations while `record` records into a pass of its own, with none before it.
fn allocations(context: &Context, mut record: impl FnMut(&mut wgpu::ComputePass<'_>)) -> usize {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let region = Region::new(ALLOCATOR);
    for _ in 0..RECORDINGS {
        record(&mut pass);
    }
    let change = region.change();
    change.allocations + change.reallocations
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

    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
             @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { y[id.x] = 1.0; }"
                .into(),
        ),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: y.as_entire_binding() }],
    });
    let by_hand = |pass: &mut wgpu::ComputePass<'_>| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(64, 1, 1);
    };

    // The first pass of each kind may fill caches of wgpu's own.
    allocations(&context, by_hand);
    allocations(&context, |pass| prepared.record(pass));
    let hand = allocations(&context, by_hand);
    let ours = allocations(&context, |pass| prepared.record(pass));
    assert!(ours <= hand, "{RECORDINGS} recordings make {ours} allocations, by hand {hand}");
}
