//! Plans with equal text keys have equal texts: that is what lets them share a pipeline.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Kernel, Plan, Pooled, SubgroupSizes, Tensor,
};
use wgpu_layernorm::shader::{Dialect, assemble};
use wgpu_layernorm::{Activation, Affine, Channels, Dtype, Gradient, Normalization, Problem};

fn adapters() -> [Caps; 3] {
    let subgroup = Some(SubgroupSizes { min: 32, max: 32 });
    let gpu = Caps { subgroup, shader_f16: true, max_storage_buffers: 16, ..Caps::webgpu_default() };
    let subgroup = Some(SubgroupSizes { min: 8, max: 8 });
    let software = Caps { kind: AdapterKind::Software, subgroup, shader_f16: false, ..gpu };
    // Other limits make other walks of the same kernels.
    [gpu, Caps { max_binding_bytes: 1 << 20, ..gpu }, software]
}

fn problems() -> Vec<Problem> {
    let mut problems = Vec::new();
    for cols in [7, 384, 4096, 20_000, 32_768, 40_000, 65_536] {
        for dtype in [Dtype::F32, Dtype::F16] {
            for parameter_dtype in [dtype, Dtype::F32] {
                for normalization in [Normalization::Layer, Normalization::Rms, Normalization::L2] {
                    for affine in [Affine::None, Affine::Gain, Affine::GainBias] {
                        let problem = Problem { cols, dtype, parameter_dtype, ..Problem::default() };
                        problems.push(Problem { normalization, affine, ..problem });
                        if cols >= 20_000 && dtype == parameter_dtype {
                            let counts = [4, 8].into_iter().filter(|count| cols % count == 0);
                            let channels = counts.map(|count| Channels::new(count, 1, cols / count));
                            problems.extend(channels.map(|channels| Problem {
                                channels: Some(channels),
                                normalization,
                                affine,
                                ..problem
                            }));
                        }
                    }
                }
            }
        }
    }
    // Some of them of samples that have a gate each, with gain and bias of each or of all.
    let of_columns = problems.iter().filter(|problem| problem.channels.is_none() && problem.cols <= 40_000);
    let of_samples: Vec<Problem> = of_columns
        .step_by(19)
        .flat_map(|problem| {
            [Channels::of_samples(3, problem.cols), Channels::of_gates(2, problem.cols)]
                .map(|channels| Problem { channels: Some(channels), ..*problem })
        })
        .collect();
    problems.extend(of_samples);
    // Some of them with an activation.
    let of_layer = problems.iter().filter(|problem| problem.normalization == Normalization::Layer);
    let activated: Vec<Problem> =
        of_layer.map(|problem| Problem { activation: Activation::Silu, ..*problem }).collect();
    problems.extend(activated);
    problems
}

/// A third of what can become of dx, dgain and dbias, every pair of them among it. Which third, its kind of
/// problem decides and not its columns: plans that differ in columns alone may share a text.
fn gradients_of(problem: &Problem) -> impl Iterator<Item = [Option<Gradient>; 3]> {
    let all = [None, Some(Gradient::Overwrite), Some(Gradient::Accumulate)];
    let kind = problem.affine as usize + problem.normalization as usize;
    (0..9).map(move |of_parameters| {
        let (dgain, dbias) = (of_parameters / 3, of_parameters % 3);
        [(kind + dgain + dbias) % 3, dgain, dbias].map(|which| all[which])
    })
}

fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for caps in adapters() {
        for problem in &problems() {
            for vector_width in [1, 8] {
                let is_of_samples = problem.channels.is_some_and(|channels| channels.spatial == 1);
                let is_gated = is_of_samples && !problem.activation.is_some();
                if is_gated {
                    gated(&mut plans, problem, vector_width, &caps);
                }
                for statistics in [false, true] {
                    let x_in = statistics.then_some(Tensor::Y);
                    let forward = Forward { statistics, x_in, ..Forward::default() };
                    plans.extend(Plan::forward(problem, forward, vector_width, &caps));
                    plans.extend(
                        Plan::forward_split(problem, forward, vector_width, &caps).into_iter().flatten(),
                    );
                }
                for [dx, dgain, dbias] in gradients_of(problem) {
                    // Some of them from y.
                    let from_y = dx == Some(Gradient::Overwrite)
                        && dgain == dx
                        && dbias != Some(Gradient::Accumulate)
                        && !problem.activation.is_some();
                    let backward = Backward { dx, dgain, dbias, from_y, ..Backward::default() };
                    plans.extend(Plan::backward(problem, backward, vector_width, &caps));
                    let split = Plan::backward_split(problem, backward, vector_width, &caps);
                    plans.extend(split.into_iter().flatten());
                    if problem.channels.is_some_and(|channels| channels.per_row() > 1) {
                        plans.extend(Plan::channel_sums(problem, backward, vector_width, &caps));
                    }
                    if backward.has_parameters() {
                        plans.extend(Plan::reduce_parameters(problem, backward, vector_width, &caps));
                    }
                }
            }
        }
    }
    // Some of them with inputs that lie in the buffers of outputs.
    let some: Vec<Plan> = plans.iter().copied().step_by(7).collect();
    plans.extend(some.iter().flat_map(|plan| Pooled::ALL.map(|pooled| plan.with_pooled(pooled))));
    plans
}

/// Plans of a gated sum, and of its gradients.
fn gated(plans: &mut Vec<Plan>, problem: &Problem, vector_width: u32, caps: &Caps) {
    let forward = Forward { residual: true, gate: true, ..Forward::default() };
    plans.extend(Plan::forward(problem, forward, vector_width, caps));
    plans.extend(Plan::forward_split(problem, forward, vector_width, caps).into_iter().flatten());
    let overwrite = Some(Gradient::Overwrite);
    for (dgate, dgain) in [(None, None), (overwrite, None), (Some(Gradient::Accumulate), overwrite)] {
        let dgain = dgain.filter(|_| problem.affine.has_gain());
        let backward = Backward { dx: overwrite, dbranch: true, dgate, dgain, ..Backward::default() };
        plans.extend(Plan::backward(problem, backward, vector_width, caps));
        plans.extend(Plan::backward_split(problem, backward, vector_width, caps).into_iter().flatten());
        if backward.has_parameters() {
            plans.extend(Plan::reduce_parameters(problem, backward, vector_width, caps));
            plans.extend(Plan::reduce_shared(problem, backward, vector_width, caps).ok().flatten());
        }
    }
}

/// A hash of the text after its first line, the label: the texts of all plans would take gigabytes.
fn text(plan: &Plan) -> u64 {
    let source = assemble(plan, Dialect::Naga).unwrap().source;
    let mut hasher = DefaultHasher::new();
    source.split_once('\n').unwrap().1.hash(&mut hasher);
    hasher.finish()
}

/// Those of plans, in their order, made on all cores: one takes a third of a millisecond.
fn texts<'p>(plans: &'p [Plan]) -> Vec<u64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let part = |plans: &'p [Plan]| scope.spawn(move || plans.iter().map(text).collect::<Vec<_>>());
        let parts: Vec<_> = plans.chunks(plans.len().div_ceil(threads).max(1)).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("every plan has a text")).collect()
    })
}

#[test]
fn plans_with_equal_keys_have_equal_texts() {
    let plans: HashSet<Plan> = plans().into_iter().collect();
    let mut of_key: HashMap<Plan, u64> = HashMap::new();
    let all: Vec<Plan> = plans.iter().copied().collect();
    for (plan, text) in all.iter().zip(texts(&all)) {
        let key = plan.text_key();
        assert_eq!(key.text_key(), key, "the key of a key is itself");
        let other = of_key.entry(key).or_insert(text);
        assert!(*other == text, "{} has another text than its key's other plans", plan.label());
    }
    // They are worth having: without them, each of these plans is a pipeline.
    assert!(plans.len() > 2 * of_key.len(), "{} plans, {} keys", plans.len(), of_key.len());
    let texts: HashSet<&u64> = of_key.values().collect();
    assert!(of_key.len() < 2 * texts.len(), "{} keys of {} texts", of_key.len(), texts.len());
}

#[test]
fn what_becomes_of_a_sum_over_rows_changes_its_last_kernel_alone() {
    let [caps, ..] = adapters();
    let problem = Problem { cols: 384, ..Problem::default() };
    let backward =
        |gradient| Backward { dgain: Some(gradient), dbias: Some(gradient), ..Backward::default() };
    let keys = |plan: &dyn Fn(Backward) -> Plan| {
        [Gradient::Overwrite, Gradient::Accumulate].map(|gradient| plan(backward(gradient)).text_key())
    };
    let [overwrite, accumulate] = keys(&|backward| Plan::backward(&problem, backward, 8, &caps).unwrap());
    assert_eq!(overwrite, accumulate);
    let [overwrite, accumulate] =
        keys(&|backward| Plan::reduce_parameters(&problem, backward, 8, &caps).unwrap());
    assert_ne!(overwrite, accumulate);
}

#[test]
fn wide_rows_of_all_widths_share_a_text() {
    let [caps, ..] = adapters();
    let key = |cols| {
        let problem = Problem { cols, ..Problem::default() };
        let plan = Plan::forward(&problem, Forward::default(), 4, &caps).unwrap();
        assert_eq!(plan.kernel, Kernel::ForwardStreamed, "{cols} columns are not held in registers");
        plan.text_key()
    };
    assert_eq!(key(32_768), key(65_536), "full steps");
    assert_eq!(key(40_004), key(50_000), "a last step with some of its columns");
    assert_ne!(key(32_768), key(40_004));
}
