//! Sums over a row by subgroups, apart from the kernels and in whole ones: with the subgroups that an adapter
//! has, whatever sizes the plan was made for, as if its subgroups were not full, and as if the API numbered
//! subgroups and lanes otherwise.

mod support;

use support::{buffer, mixed_values, recorded, run_bytes};
use wgpu_layernorm::plan::{
    AdapterKind, Caps, Forward, Numbers, Place, Plan, Reduction, Span, SubgroupSizes,
};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::shader::{Dialect, assemble, variants};
use wgpu_layernorm::wgpu::util::DeviceExt as _;
use wgpu_layernorm::{Affine, Context, Dtype, ForwardInputs, Problem, Rows, RowsMut, adapters, wgpu};

/// The widest row of a plan that the limits allow, with its reduction over `threads` threads.
fn plan(threads: u32, sizes: SubgroupSizes) -> Plan {
    let caps = Caps { subgroup: Some(sizes), ..Caps::webgpu_default() };
    let of = |cols| {
        let problem = Problem { cols, affine: Affine::None, ..Problem::default() };
        Plan::forward(&problem, Forward::default(), 8, &caps).unwrap()
    };
    (1..13).map(|log2| of(1 << log2)).find(|plan| plan.threads_per_row == threads).unwrap()
}

/// As if subgroups had twice the lanes that they have, half of which are not there: numbers by subgroup and
/// lane then have gaps.
fn half_full(text: &str) -> String {
    let text = replaced(text, "@builtin(subgroup_size) subgroup_size:", "@builtin(subgroup_size) lanes:");
    let first = "let are_full = subgroups * subgroup_size == WORKGROUP_SIZE;";
    replaced(&text, first, &format!("let subgroup_size = 2u * lanes;\n{first}"))
}

/// Runs the text with these buffers at their bindings.
fn run(context: &Context, source: String, bound: &[(u32, &wgpu::Buffer)], workgroups: [u32; 2]) {
    let device = context.device();
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
    let entries: Vec<_> = bound
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding: *binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    context.queue().submit([recorded(context, |pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(workgroups[0], workgroups[1], 1);
    })]);
}

fn read(context: &Context, buffer: &wgpu::Buffer) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&run_bytes(context, &[], &[buffer])[0])
}

/// The sum of the row's thread numbers and of its threads, by each thread, from what stands above the kernel
/// in a text.
fn sums(context: &Context, plan: &Plan, text: &str) -> Vec<f32> {
    let (above, _) = text.split_once("fn kernel(").unwrap();
    let source = above.to_owned()
        + "fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
            let first = row_sum(invocation, vec2<f32>(f32(invocation.index), 1.0));
            let second = row_sum(invocation, first);
            results[2u * invocation.index] = first.x;
            results[2u * invocation.index + 1u] = second.y;
        }
        @group(0) @binding(100) var<storage, read_write> results: array<f32>;\n";
    let results = buffer(context, &vec![0.0; 2 * plan.workgroup_size() as usize]);
    run(context, source, &[(100, &results)], [1, 1]);
    read(context, &results)
}

/// What [`sums`] has to be.
fn expected_sums(plan: &Plan) -> Vec<f32> {
    let threads = plan.threads_per_row;
    let of_thread = |index: u32| {
        let first = index / threads * threads;
        [(first..first + threads).sum::<u32>() as f32, (threads * threads) as f32]
    };
    (0..plan.workgroup_size()).flat_map(of_thread).collect()
}

fn text(plan: &Plan, dialect: Dialect) -> String {
    assemble(plan, dialect).unwrap().source
}

/// The text with another one in a place that it has.
#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in {text}");
    text.replace(from, to)
}

/// Other numbers of subgroups and of lanes, each once, as nothing promises which they are. Lanes are numbered
/// backwards, by which a lane's partners at a distance that is a power of two stay what they are; a part of a
/// subgroup keeps its numbers.
const NUMBERINGS: [[&str; 2]; 3] = [
    ["subgroups - 1u - api_subgroup", "api_lane"],
    ["(api_subgroup + 1u) % subgroups", "api_lane"],
    [
        "subgroups - 1u - api_subgroup",
        "select(api_lane, subgroup_size - 1u - api_lane, subgroups * subgroup_size == WORKGROUP_SIZE)",
    ],
];

fn renumbered(text: &str, [subgroup, lane]: [&str; 2]) -> String {
    let text = replaced(text, "@builtin(subgroup_id) subgroup:", "@builtin(subgroup_id) api_subgroup:");
    let builtin = "@builtin(subgroup_invocation_id)";
    let text = replaced(&text, &format!("{builtin} lane:"), &format!("{builtin} api_lane:"));
    let first = "let are_full = subgroups * subgroup_size == WORKGROUP_SIZE;";
    replaced(&text, first, &format!("let subgroup = {subgroup};\nlet lane = {lane};\n{first}"))
}

/// The adapters that have subgroup operations, opened. GL alone has none: `cargo xtask test` has lavapipe.
fn contexts() -> Vec<Context> {
    let has_subgroups = |adapter: &wgpu::Adapter| adapter.features().contains(wgpu::Features::SUBGROUP);
    let adapters = pollster::block_on(adapters()).into_iter().filter(has_subgroups);
    let contexts: Vec<_> =
        adapters.map(|adapter| pollster::block_on(Context::open(&adapter)).unwrap()).collect();
    assert!(!contexts.is_empty(), "no adapter with subgroup operations");
    contexts
}

/// Plans for any sizes, right and wrong ones, with each number of threads a row.
fn plans() -> impl Iterator<Item = Plan> {
    let sizes = [(4, 4), (4, 64), (8, 8), (8, 32), (16, 16), (32, 32), (64, 128)];
    sizes.into_iter().flat_map(|(min, max)| {
        [4, 8, 16, 32, 64, 128].map(|threads| plan(threads, SubgroupSizes { min, max }))
    })
}

#[test]
fn every_size_gives_the_sum_of_the_row() {
    for context in contexts() {
        for plan in plans() {
            let (text, label) = (text(&plan, Dialect::Naga), plan.label());
            assert_eq!(sums(&context, &plan, &text), expected_sums(&plan), "as it is: {label}");
            if plan.reduction == Reduction::Adaptive {
                let line =
                    "let are_full = invocation.subgroups * invocation.subgroup_size == WORKGROUP_SIZE;";
                let not_full = replaced(&text, line, "let are_full = false;");
                assert_eq!(sums(&context, &plan, &not_full), expected_sums(&plan), "not full: {label}");
            }
            if matches!(plan.reduction, Reduction::Adaptive | Reduction::Subgroups(_)) {
                let half_full = half_full(&text);
                assert_eq!(sums(&context, &plan, &half_full), expected_sums(&plan), "half full: {label}");
            }
        }
    }
}

#[test]
fn any_numbering_of_subgroups_and_lanes_gives_the_sum_of_the_row() {
    for context in contexts() {
        for plan in plans() {
            for numbering in NUMBERINGS {
                let text = renumbered(&text(&plan, Dialect::Naga), numbering);
                let label = plan.label();
                assert_eq!(sums(&context, &plan, &text), expected_sums(&plan), "{numbering:?}: {label}");
            }
        }
    }
}

/// What texts for browsers count on, and what comes of it where it does not hold: see docs/vendors.md.
/// Invocations are dealt to subgroups here like cards.
#[test]
fn browser_texts_need_invocations_to_be_lanes_in_order() {
    for context in contexts() {
        let plan = plan(64, SubgroupSizes { min: 4, max: 64 });
        let text = replaced(&text(&plan, Dialect::Browser), "enable subgroups;", "");
        assert_eq!(sums(&context, &plan, &text), expected_sums(&plan), "in order: {}", plan.label());
        let builtin = "@builtin(local_invocation_index)";
        let dealt = replaced(&text, &format!("{builtin} index:"), &format!("{builtin} api_index:"));
        let first = "let subgroups = (WORKGROUP_SIZE + subgroup_size - 1u) / subgroup_size;";
        let index = "let index = api_index % subgroup_size * subgroups + api_index / subgroup_size;";
        let dealt = replaced(&dealt, first, &format!("{first}\n{index}"));
        assert_ne!(sums(&context, &plan, &dealt), expected_sums(&plan), "dealt: {}", plan.label());
    }
}

/// y of a whole kernel, its text edited.
fn normalized(context: &Context, problem: &Problem, plan: &Plan, text: String, x: &[f32]) -> Vec<f32> {
    let cols = problem.cols as usize;
    let span = Span { stride: cols as u64, cols: problem.cols, ..Span::default() };
    let dispatches = plan.dispatches((x.len() / cols) as u64, &[span], &context.caps()).unwrap();
    assert_eq!(dispatches.len(), 1);
    let place = Place { row_stride: problem.cols, column_stride: 1, ..Place::default() };
    let uniform = context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &plan.uniform(
            &dispatches[0],
            &vec![place; plan.tensors().len()],
            &Numbers::new(problem.eps),
        ),
        usage: wgpu::BufferUsages::UNIFORM,
    });
    let (x, y) = (buffer(context, x), buffer(context, &vec![f32::NAN; x.len()]));
    let shader = assemble(plan, Dialect::Naga).unwrap();
    let [of_x, of_y] = [0, 1].map(|place| shader.bindings[place].binding);
    run(context, text, &[(shader.uniform, &uniform), (of_x, &x), (of_y, &y)], dispatches[0].workgroups);
    read(context, &y)
}

/// Forward, whole, by each reduction over subgroups.
#[test]
fn any_numbering_of_subgroups_and_lanes_gives_the_reference() {
    const ROWS: usize = 37;
    for context in contexts() {
        let real = context.caps().subgroup.unwrap();
        let mut seen = Vec::new();
        for (subgroup, full_subgroups) in [(real, true), (SubgroupSizes { min: 4, max: 64 }, false)] {
            let caps =
                Caps { kind: AdapterKind::Gpu, subgroup: Some(subgroup), full_subgroups, ..context.caps() };
            for cols in (3..13).map(|log2| 1 << log2) {
                let problem = Problem { cols, affine: Affine::None, ..Problem::default() };
                let plan = Plan::forward(&problem, Forward::default(), 4, &caps).unwrap();
                if !plan.uses_subgroups() || seen.contains(&plan.reduction) {
                    continue;
                }
                seen.push(plan.reduction);
                let x = mixed_values(1, ROWS * cols as usize);
                let mut expected = vec![0.0_f64; x.len()];
                let rows = Rows { data: &x[..], stride: cols as usize };
                let outputs = ForwardOutputs::new(RowsMut { data: &mut expected, stride: cols as usize });
                let inputs = ForwardInputs::<f32, f32>::new(ROWS, rows);
                reference::forward(&problem, &inputs, outputs).unwrap();
                let text = text(&plan, Dialect::Naga);
                let mut texts =
                    NUMBERINGS.map(|numbering| (numbering, renumbered(&text, numbering))).to_vec();
                if plan.reduction != Reduction::Lanes {
                    texts.push((["half of the lanes"; 2], half_full(&text)));
                }
                for (numbering, text) in texts {
                    let y = normalized(&context, &problem, &plan, text, &x);
                    let error = y.iter().zip(&expected).map(|(y, expected)| (f64::from(*y) - expected).abs());
                    // All rows are alike; NaN, the largest of all, is what was not written.
                    let error = error.max_by(f64::total_cmp).unwrap();
                    let largest = expected.iter().copied().fold(0.0, f64::max);
                    let most = 4.0 * Dtype::F32.unit_roundoff() * largest;
                    assert!(error <= most, "{numbering:?}: off by {error}: {}", plan.label());
                }
            }
        }
        let has = |what: fn(&Reduction) -> bool| seen.iter().any(what);
        assert!(has(|reduction| *reduction == Reduction::Lanes), "{seen:?}");
        assert!(has(|reduction| *reduction == Reduction::Adaptive), "{seen:?}");
        assert!(has(|reduction| matches!(reduction, Reduction::Subgroups(_))), "{seen:?}");
    }
}

/// A thread's number comes from its subgroup wherever the reduction goes by subgroups that are full: nothing
/// is left to depend on how an API numbers invocations. Where a workgroup is one subgroup there is one
/// numbering that matters, of columns.
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
        let index = "let index = select(invocation_index, subgroup * subgroup_size + lane, are_full);";
        assert!(source.contains(index), "{}", variant.plan.label());
        assert_eq!(source.matches("invocation_index").count(), 3, "{}", variant.plan.label());
        seen += 1;
    }
    assert!(seen > 20, "{seen} variants");
}
