//! Sums over a row by subgroups, apart from the kernels: with the subgroups that an adapter has, whatever sizes the plan was made
//! for, and as if its subgroups were not full.

use wgpu::util::DeviceExt as _;
use wgpu_layernorm::plan::{Caps, Forward, Plan, Reduction, SubgroupSizes};
use wgpu_layernorm::shader::{Dialect, assemble, variants};
use wgpu_layernorm::{Affine, Context, Problem, adapters, wgpu};

/// The widest row of a plan that the limits allow, with its reduction over `threads` threads.
fn plan(threads: u32, sizes: SubgroupSizes) -> Plan {
    let caps = Caps { subgroup: Some(sizes), ..Caps::webgpu_default() };
    let of = |cols| {
        let problem = Problem { cols, affine: Affine::None, ..Problem::default() };
        Plan::forward(&problem, Forward::default(), 8, &caps).unwrap()
    };
    (1..13).map(|log2| of(1 << log2)).find(|plan| plan.threads_per_row == threads).unwrap()
}

/// The sum of the row's thread numbers and of its threads, by each thread, from what stands above the kernel in a text.
fn sums(context: &Context, plan: &Plan, edit: impl Fn(String) -> String) -> Vec<f32> {
    let shader = assemble(plan, Dialect::Naga).unwrap();
    let (above, _) = shader.source.split_once("fn kernel(").unwrap();
    let source = edit(above.to_owned())
        + "fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
            let first = row_sum(invocation, vec2<f32>(f32(invocation.index), 1.0));
            let second = row_sum(invocation, first);
            results[2u * invocation.index] = first.x;
            results[2u * invocation.index + 1u] = second.y;
        }
        @group(0) @binding(100) var<storage, read_write> results: array<f32>;\n";
    let device = context.device();
    let results = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &vec![0; 8 * plan.workgroup_size() as usize],
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..wgpu::PipelineCompilationOptions::default()
        },
        cache: None,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 100, resource: results.as_entire_binding() }],
    });
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: results.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&results, 0, &staging, 0, results.size());
    context.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let bytes = staging.get_mapped_range(..).unwrap();
    bytemuck::pod_collect_to_vec(&bytes)
}

fn assert_sums(context: &Context, plan: &Plan, what: &str, edit: impl Fn(String) -> String) {
    let (threads, results) = (plan.threads_per_row, sums(context, plan, edit));
    for index in 0..plan.workgroup_size() {
        let first = index / threads * threads;
        let expected = [(first..first + threads).sum::<u32>() as f32, (threads * threads) as f32];
        let at = 2 * index as usize;
        assert_eq!(results[at..at + 2], expected, "{what}: thread {index} of {}", plan.label());
    }
}

#[test]
fn every_size_gives_the_sum_of_the_row() {
    let mut ran = 0;
    for adapter in pollster::block_on(adapters()) {
        if !adapter.features().contains(wgpu::Features::SUBGROUP) {
            continue;
        }
        let context = pollster::block_on(Context::open(&adapter)).unwrap();
        for sizes in [(4, 4), (4, 64), (8, 8), (8, 32), (16, 16), (32, 32), (64, 128)] {
            let sizes = SubgroupSizes { min: sizes.0, max: sizes.1 };
            for threads in [4, 8, 16, 32, 64, 128] {
                let plan = plan(threads, sizes);
                assert_sums(&context, &plan, "as it is", |text| text);
                if plan.reduction == Reduction::Adaptive {
                    let line =
                        "let are_full = invocation.subgroups * invocation.subgroup_size == WORKGROUP_SIZE;";
                    assert_sums(&context, &plan, "not full", |text| {
                        assert!(text.contains(line));
                        text.replace(line, "let are_full = false;")
                    });
                }
                ran += 1;
            }
        }
    }
    // GL alone has none: `cargo xtask test` has lavapipe.
    assert!(ran > 0, "no adapter with subgroup operations");
}

/// A thread's number comes from its subgroup wherever the reduction goes by subgroups: nothing is left to depend on how an API
/// numbers invocations. Where a workgroup is one subgroup there is one numbering that matters, of columns.
#[test]
fn no_text_takes_invocations_to_be_lanes_in_order() {
    let mut seen = 0;
    for variant in
        variants::covering(variants::Strength::Pairs, |variant| variant.plan.uses_subgroups()).unwrap()
    {
        if variant.plan.reduction == Reduction::Subgroup {
            continue;
        }
        let source = assemble(&variant.plan, Dialect::Naga).unwrap().source;
        assert!(!source.contains("local_invocation_index"), "{}", variant.plan.label());
        assert!(source.contains("@builtin(subgroup_id)"), "{}", variant.plan.label());
        seen += 1;
    }
    assert!(seen > 20, "{seen} variants");
}
