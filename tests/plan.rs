//! Plans for any problem on any adapter: legal or refused, every element covered exactly once, every limit kept. The
//! limits and the walks of the shaders are worked out here a second time, from the comments in `shaders/`.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Dispatch, Forward, Kernel, Operation, Plan, Reduction, RowSplit, Rung, Span,
    SubgroupSizes, Tensor,
};
use wgpu_layernorm::{Affine, Dtype, Gradient, Normalization, Problem};

fn config(cases: u32) -> ProptestConfig {
    // Failures are to be turned into named tests, not kept in a file beside this one.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A problem with every option of a call, on an adapter.
#[derive(Clone, Debug)]
struct Case {
    problem: Problem,
    vector_width: u32,
    forward: Forward,
    backward: Backward,
    caps: Caps,
}

impl Case {
    /// The plans of the case that the adapter can run, each with the storage buffers that its options call for.
    fn plans(&self) -> Vec<(Plan, u32)> {
        let mut plans = Vec::new();
        let (problem, width, caps) = (&self.problem, self.vector_width, &self.caps);
        let mut keep = |plan: Result<Plan, wgpu_layernorm::Error>, buffers: usize| match plan {
            Ok(plan) => plans.push((plan, u32::try_from(buffers).unwrap())),
            Err(error) => assert!(error.is_unsupported(), "{error}"),
        };
        keep(Plan::forward(problem, self.forward, width, caps), self.forward_buffers());
        keep(Plan::backward(problem, self.backward, width, caps), self.backward_buffers());
        if let Some([statistics, apply]) = allowed(Plan::forward_split(problem, self.forward, width, caps)) {
            let [of_statistics, of_apply] = self.forward_split_buffers();
            keep(Ok(statistics), of_statistics);
            keep(Ok(apply), of_apply);
        }
        if let Some([sums, apply]) = allowed(Plan::backward_split(problem, self.backward, width, caps)) {
            keep(Ok(sums), 4 + count(&[self.problem.affine.has_gain()]));
            keep(Ok(apply), self.backward_buffers() + 1);
        }
        if self.has_parameter_gradients() {
            keep(Plan::reduce_parameters(problem, self.backward, width, caps), self.reduce_buffers());
        }
        plans
    }

    fn has_parameter_gradients(&self) -> bool {
        self.backward.dgain.is_some() || self.backward.dbias.is_some()
    }

    fn forward_buffers(&self) -> usize {
        let Forward { residual, statistics, x_in, residual_in } = self.forward;
        let affine = self.problem.affine;
        let inputs =
            [x_in.is_none(), residual && residual_in.is_none(), affine.has_gain(), affine.has_bias()];
        count(&inputs) + count(&[true, residual, statistics])
    }

    /// Those of the kernels in turn, with the partial moments of rows. The second reads x, or the sum, where the first
    /// has left it.
    fn forward_split_buffers(&self) -> [usize; 2] {
        let Forward { residual, statistics, x_in, residual_in } = self.forward;
        let affine = self.problem.affine;
        let own = |input| input != Some(Tensor::Sum);
        let first = [own(x_in), residual && own(residual_in), residual, true];
        let in_y = !residual && x_in == Some(Tensor::Y);
        let second = [!in_y, affine.has_gain(), affine.has_bias(), true, statistics, true];
        [count(&first), count(&second)]
    }

    fn backward_buffers(&self) -> usize {
        let Backward { dx, x_in_dx, dy_in_dx, .. } = self.backward;
        let inputs = [!x_in_dx, !dy_in_dx, self.problem.affine.has_gain(), true];
        count(&inputs) + count(&[dx.is_some(), self.has_parameter_gradients()])
    }

    fn reduce_buffers(&self) -> usize {
        1 + count(&[self.backward.dgain.is_some(), self.backward.dbias.is_some()])
    }
}

fn allowed<P>(plans: Result<P, wgpu_layernorm::Error>) -> Option<P> {
    plans.inspect_err(|error| assert!(error.is_unsupported(), "{error}")).ok()
}

fn count(present: &[bool]) -> usize {
    present.iter().filter(|present| **present).count()
}

/// 1 to 2^24, as many narrow as wide, and often beside a power of two or a multiple of 8.
fn cols() -> impl Strategy<Value = u32> {
    let of_magnitude =
        (0..24_u32, any::<u32>()).prop_map(|(log2, noise)| (1 << log2) | (noise % (1 << log2)));
    let edges = (0..=24_u32, -9..=9_i32).prop_map(|(log2, step)| (1_u32 << log2).saturating_add_signed(step));
    let fused = (1..=2048_u32).prop_map(|eighths| eighths * 8);
    prop_oneof![1..=300_u32, of_magnitude, edges, fused].prop_map(|cols| cols.clamp(1, Problem::MAX_COLS))
}

fn problems(cols: impl Strategy<Value = u32>) -> impl Strategy<Value = Problem> {
    let dtype = prop::sample::select(&Dtype::ALL[..]);
    let normalization = prop::sample::select(vec![Normalization::Layer, Normalization::Rms]);
    let affine = prop::sample::select(vec![Affine::None, Affine::Gain, Affine::GainBias]);
    (cols, dtype, any::<bool>(), normalization, affine).prop_map(
        |(cols, dtype, f32_parameters, normalization, affine)| Problem {
            cols,
            dtype,
            parameter_dtype: if f32_parameters { Dtype::F32 } else { dtype },
            normalization,
            affine,
            ..Problem::default()
        },
    )
}

/// All that WebGPU allows, and on the side of storage bindings less, so that calls are cut into dispatches.
fn caps() -> impl Strategy<Value = Caps> {
    let subgroup = prop::option::of((2..=7_u32, 2..=7_u32))
        .prop_map(|sizes| sizes.map(|(a, b)| SubgroupSizes { min: 1 << a.min(b), max: 1 << a.max(b) }));
    let kind = prop::sample::select(vec![AdapterKind::Gpu, AdapterKind::Software]);
    let invocations = prop_oneof![prop::sample::select(vec![128, 256, 512, 1024]), 128..=1024_u32];
    let workgroup_bytes = prop::sample::select(vec![16_384, 16_352, 32_768, 65_536]);
    let workgroups = prop::sample::select(vec![65_535, 65_535, 65_535, 1024, u32::MAX]);
    let binding_bytes = prop_oneof![
        prop::sample::select(vec![128 << 20, 256 << 20, (1 << 31) - 1, 1 << 32, u64::MAX]),
        256..=64_u64 << 20,
    ];
    let trips = prop::sample::select(vec![u32::MAX, Caps::LAVAPIPE_22_LOOP_TRIPS]);
    (
        (kind, subgroup, any::<bool>(), invocations, workgroup_bytes),
        (4..=32_u32, workgroups, binding_bytes, 5..=8_u32, trips),
    )
        .prop_map(
            |(
                (kind, subgroup, shader_f16, invocations, workgroup_bytes),
                (buffers, workgroups, binding, log2, trips),
            )| {
                Caps {
                    kind,
                    subgroup,
                    shader_f16,
                    max_invocations: invocations,
                    max_workgroup_bytes: workgroup_bytes,
                    max_storage_buffers: buffers,
                    max_workgroups: workgroups,
                    max_binding_bytes: binding,
                    storage_alignment: 1 << log2,
                    max_loop_trips: trips,
                }
            },
        )
}

fn forwards() -> impl Strategy<Value = Forward> {
    // Where x and the residual may lie: buffers of their own, y's or sum's, and not both in the same one.
    let places = prop::sample::select(vec![
        (None, None),
        (Some(Tensor::Y), None),
        (Some(Tensor::Sum), None),
        (None, Some(Tensor::Y)),
        (None, Some(Tensor::Sum)),
        (Some(Tensor::Y), Some(Tensor::Sum)),
        (Some(Tensor::Sum), Some(Tensor::Y)),
    ]);
    (any::<bool>(), any::<bool>(), places).prop_map(|(residual, statistics, (x_in, residual_in))| Forward {
        residual,
        statistics,
        x_in: x_in.filter(|place| residual || *place == Tensor::Y),
        residual_in: residual_in.filter(|_| residual),
    })
}

fn gradients() -> impl Strategy<Value = Option<Gradient>> {
    prop::sample::select(vec![None, Some(Gradient::Overwrite), Some(Gradient::Accumulate)])
}

fn backwards() -> impl Strategy<Value = Backward> {
    let in_place = prop::sample::select(vec![(false, false), (true, false), (false, true)]);
    (gradients(), gradients(), gradients(), in_place).prop_map(|(dx, dgain, dbias, (x_in_dx, dy_in_dx))| {
        let may_be_in_place = dx == Some(Gradient::Overwrite);
        Backward {
            dx,
            dgain,
            dbias,
            x_in_dx: x_in_dx && may_be_in_place,
            dy_in_dx: dy_in_dx && may_be_in_place,
        }
    })
}

fn cases(cols: impl Strategy<Value = u32>) -> impl Strategy<Value = Case> {
    let vector_width = prop::sample::select(vec![1, 2, 4, 8]);
    (problems(cols), vector_width, forwards(), backwards(), caps()).prop_map(
        |(problem, vector_width, forward, backward, caps)| {
            let mut backward = Backward {
                dgain: backward.dgain.filter(|_| problem.affine.has_gain()),
                dbias: backward.dbias.filter(|_| problem.affine.has_bias()),
                ..backward
            };
            if backward.dx.is_none() && backward.dgain.is_none() && backward.dbias.is_none() {
                backward.dx = Some(Gradient::Overwrite);
            }
            Case { problem, vector_width, forward, backward, caps }
        },
    )
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn a_plan_keeps_every_limit(case in cases(cols())) {
        for (plan, buffers) in case.plans() {
            limits_are_kept(&plan, buffers, &case)?;
            budgets_are_kept(&plan, &case)?;
        }
    }

    #[test]
    fn only_a_limit_refuses_a_plan(mut case in cases(1..=1_u32 << 20)) {
        case.caps.max_storage_buffers = case.caps.max_storage_buffers.max(8);
        case.caps.max_invocations = case.caps.max_invocations.max(256);
        case.caps.max_binding_bytes = case.caps.max_binding_bytes.max(128 << 20);
        let wanted = if case.has_parameter_gradients() { 7 } else { 6 };
        prop_assert_eq!(case.plans().len(), wanted);
    }
}

fn limits_are_kept(plan: &Plan, buffers: u32, case: &Case) -> TestCaseResult {
    let caps = &case.caps;
    prop_assert_eq!(plan.check(caps), Ok(()));
    let threads = plan.threads_per_row;
    let invocations = threads * plan.rows_per_workgroup;
    prop_assert!(threads.is_power_of_two() && invocations.is_power_of_two());
    prop_assert!(invocations <= caps.max_invocations, "{} invocations", invocations);
    prop_assert_eq!(plan.workgroup_size(), invocations);

    let sums_bytes = if matches!(plan.operation, Operation::Forward(_)) { 8 } else { 16 };
    let workgroup_bytes = match plan.reduction {
        Reduction::Thread => {
            prop_assert!(threads == 1 || plan.kernel == Kernel::BackwardReduceParameters);
            0
        }
        Reduction::Lanes => {
            prop_assert!(threads <= caps.subgroup.unwrap().min, "a row must not cross a subgroup's end");
            0
        }
        Reduction::Subgroup => {
            let sizes = caps.subgroup.unwrap();
            prop_assert!(sizes.min == threads && sizes.max == threads && plan.rows_per_workgroup == 1);
            0
        }
        Reduction::Subgroups(min) => {
            let sizes = caps.subgroup.unwrap();
            prop_assert!(min <= sizes.min && threads >= sizes.max && plan.rows_per_workgroup == 1);
            2 * sums_bytes * threads / min
        }
        Reduction::Workgroup => sums_bytes * invocations,
    };
    prop_assert!(workgroup_bytes <= caps.max_workgroup_bytes, "{} bytes", workgroup_bytes);
    prop_assert_eq!(plan.workgroup_bytes(), workgroup_bytes);

    prop_assert!(buffers <= caps.max_storage_buffers, "{} storage buffers", buffers);
    prop_assert_eq!(plan.tensors().len(), buffers as usize);
    prop_assert!(!plan.uses_native_f16() || caps.shader_f16);

    let dtype = if plan.kernel == Kernel::BackwardReduceParameters {
        case.problem.parameter_dtype
    } else {
        case.problem.dtype
    };
    prop_assert!(plan.vector_width <= case.vector_width.min(16 / dtype.size()));
    prop_assert_eq!(plan.cols % plan.vector_width, 0, "an access would cross the row's end");
    prop_assert_eq!(plan.cols, case.problem.cols);
    let is_split = plan.partial_cols > 0;
    prop_assert!(is_split || plan.chunks == 1);
    prop_assert!(plan.loop_trips_per_row() <= caps.max_loop_trips.into());
    let is_streamed = matches!(plan.kernel, Kernel::ForwardStreamed | Kernel::BackwardStreamed);
    prop_assert!(is_streamed || plan.block_rows == 1, "{:?} knows no blocks", plan.kernel);
    prop_assert!(!(is_streamed && plan.hold_parameters), "{:?} holds no parameters", plan.kernel);
    Ok(())
}

/// What the ladder promises beyond limits.
fn budgets_are_kept(plan: &Plan, case: &Case) -> TestCaseResult {
    let caps = &case.caps;
    if let Reduction::Subgroups(min) = plan.reduction {
        prop_assert_eq!(min, caps.subgroup.unwrap().min, "more workgroup memory than it takes");
    }
    if plan.partial_cols > 0 {
        let (chunk_cols, partials) = (plan.steps * plan.step_cols(), plan.row_partials());
        prop_assert!((plan.chunks - 1) * chunk_cols < plan.cols, "a chunk without a column");
        prop_assert!(u64::from(plan.chunks) * u64::from(chunk_cols) >= plan.cols.into());
        prop_assert!((partials - 1) * plan.partial_cols < plan.cols && partials <= 64.max(plan.cols / 4096));
        let leaves = matches!(plan.kernel, Kernel::ForwardSplitStatistics | Kernel::BackwardSplitSums);
        prop_assert!(!leaves || (plan.partial_cols, partials) == (chunk_cols, plan.chunks));
        if !leaves && caps.kind == AdapterKind::Gpu {
            prop_assert!(plan.values_per_thread() <= 16, "{} values in registers", plan.values_per_thread());
        }
    }
    let is_cached = matches!(plan.kernel, Kernel::ForwardCached | Kernel::BackwardCached);
    if is_cached && caps.kind == AdapterKind::Gpu {
        let most = match plan.operation {
            Operation::Forward(_) if plan.cols <= 8192 && caps.max_invocations < 256 => 64,
            Operation::Forward(_) => 32,
            _ if case.has_parameter_gradients() => 16,
            _ => 32,
        };
        prop_assert!(plan.values_per_thread() <= most, "{} values in registers", plan.values_per_thread());
    }
    Ok(())
}

/// The columns that a thread accesses in a step, in its order: by the drawing in `shaders/common/row.wgsl`, accesses
/// of CONTIGUOUS columns each, those of neighbouring threads side by side.
fn columns(plan: &Plan, step: u32, thread: u32) -> impl Iterator<Item = u32> {
    let (threads, contiguous) = (plan.threads_per_row, plan.vector_width);
    let values = if contiguous == 8 { 8 } else { 4 };
    let first = step * threads * values;
    (0..values).map(move |value| {
        let (access, within) = (value / contiguous, value % contiguous);
        first + (access * threads + thread) * contiguous + within
    })
}

/// How often a step of the row stores to each column.
fn stores(plan: &Plan, steps: std::ops::Range<u32>, columns_from: u32, length: usize) -> Vec<u8> {
    let mut stores = vec![0; length];
    for step in steps {
        for thread in 0..plan.threads_per_row {
            let columns: Vec<u32> = columns(plan, step, thread).collect();
            for access in columns.chunks(plan.vector_width as usize) {
                // The shader looks at the first column alone.
                if access[0] < plan.cols {
                    access.iter().for_each(|column| stores[(column - columns_from) as usize] += 1);
                }
            }
        }
    }
    stores
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn every_column_is_stored_once(case in cases(prop_oneof![cols().prop_map(|cols| cols % 8192 + 1), 1..=300_u32])) {
        for (plan, _) in case.plans() {
            let stores = stores(&plan, 0..plan.steps * plan.chunks, 0, plan.cols as usize);
            prop_assert!(stores.iter().all(|stores| *stores == 1), "{:?} stores {:?}", plan, stores);
        }
    }

    #[test]
    fn every_column_of_wide_rows_is_stored_once(case in cases(8193..=Problem::MAX_COLS)) {
        for (plan, _) in case.plans() {
            let step_cols = plan.step_cols();
            // All steps but the last are alike; those of a last chunk may lie beyond the row.
            let steps = plan.cols.div_ceil(step_cols);
            prop_assert!((steps..steps + plan.steps).contains(&(plan.steps * plan.chunks)));
            for step in [0, steps.saturating_sub(2), steps - 1] {
                let from = step * step_cols;
                let length = step_cols.min(plan.cols - from);
                let stores = stores(&plan, step..step + 1, from, length as usize);
                prop_assert!(stores.iter().all(|stores| *stores == 1), "{:?} step {} stores {:?}", plan, step, stores);
            }
        }
    }
}

/// A case with tensors somewhere in their buffers, and a number of rows.
#[derive(Clone, Debug)]
struct Call {
    case: Case,
    rows: u64,
    /// Four tensors of rows, a parameter and statistics.
    spans: Vec<Span>,
}

/// Which of the spans are the statistics, two float32 a row, accessed one by one.
const STATISTICS: usize = 5;

/// Offset and what the stride has beyond cols, mostly in multiples of 8 elements.
fn places() -> impl Strategy<Value = (u64, u64)> {
    let elements = || prop_oneof![Just(0), (0..64_u64).prop_map(|eighths| eighths * 8), 0..512_u64];
    (elements(), elements())
}

/// Rows, tensors anywhere, and a binding size that often holds but a few rows.
fn calls(rows: impl Strategy<Value = u64>) -> impl Strategy<Value = Call> {
    let few_rows = prop::option::of((1..=60_u64, 0..64_u64));
    (cases(cols()), rows, prop::collection::vec(places(), 6), few_rows).prop_map(
        |(mut case, mut rows, places, few_rows)| {
            let Problem { cols, dtype, parameter_dtype, .. } = case.problem;
            let row_tensor = |(offset, padding): (u64, u64)| Span {
                offset,
                stride: u64::from(cols) + padding,
                cols,
                element_bytes: dtype.size(),
            };
            let mut spans: Vec<Span> = places[..4].iter().copied().map(row_tensor).collect();
            let parameter =
                Span { offset: places[4].0, stride: 0, cols, element_bytes: parameter_dtype.size() };
            let width = |span: &Span| span.vector_width();
            case.vector_width = spans.iter().chain([&parameter]).map(width).min().unwrap();
            spans.extend([parameter, Span { offset: places[5].0, stride: 2, cols: 2, element_bytes: 4 }]);
            if let Some((rows_to_a_binding, odd_bytes)) = few_rows {
                let most = spans.iter().map(|span| (span.stride + 1) * u64::from(span.element_bytes)).max();
                case.caps.max_binding_bytes = rows_to_a_binding * most.unwrap() + 256 + odd_bytes;
                rows %= 2000;
            }
            Call { case, rows, spans }
        },
    )
}

/// What a dispatch does to its rows and to the partial sums, by the loops of the bodies in `shaders/`, in their 32-bit
/// arithmetic: an overflow there is one here, and fails the test.
#[derive(Debug, Default)]
struct Walk {
    /// How often each row is worked on and stored.
    rows: Vec<u8>,
    /// The partial sums that are left, in no order.
    partial_rows: Vec<u32>,
    /// The most rows that one invocation works on, those repeated by idle threads included.
    most_rows: u64,
}

fn walk(plan: &Plan, dispatch: &Dispatch) -> Walk {
    let mut walk = Walk { rows: vec![0; dispatch.rows as usize], ..Walk::default() };
    let slots = plan.slots(dispatch.rows.into());
    let rows_per_workgroup = plan.rows_per_workgroup;
    let block = plan.block_rows;
    let workgroups = dispatch.workgroups[1] * dispatch.workgroups[0];
    assert!(
        workgroups >= slots / rows_per_workgroup * plan.chunks,
        "{workgroups} workgroups for {slots} slots"
    );
    // All chunks walk the same rows: the first of each row stands for the others.
    for workgroup in (0..workgroups).step_by(plan.chunks as usize) {
        let first_slot = workgroup / plan.chunks * rows_per_workgroup;
        if first_slot >= slots {
            continue;
        }
        let mut walked_rows = 0;
        let mut first_block = first_slot;
        while first_block * block < dispatch.rows {
            for slot in 0..rows_per_workgroup {
                let first_row = (first_block + slot) * block;
                for row in first_row..first_row + block {
                    if row < dispatch.rows {
                        walk.rows[row as usize] += 1;
                    }
                }
            }
            walked_rows += u64::from(block);
            first_block += slots;
        }
        walk.most_rows = walk.most_rows.max(walked_rows);
        // The streamed kernel leaves its sums after each block, so without a block it would leave none.
        let is_held = plan.kernel != Kernel::BackwardStreamed;
        if plan.parameter_gradients() > 0 && (is_held || walked_rows > 0) {
            walk.partial_rows.extend(first_slot..first_slot + rows_per_workgroup);
        }
    }
    walk
}

/// Loop trips of the busiest invocation, if loops over the parts of an access are unrolled and no others.
fn loop_trips(plan: &Plan, rows: u64) -> u64 {
    let steps = u64::from(plan.steps);
    let reduction = match plan.reduction {
        Reduction::Workgroup if plan.kernel == Kernel::BackwardReduceParameters => {
            u64::from(plan.rows_per_workgroup.ilog2())
        }
        Reduction::Workgroup => u64::from(plan.threads_per_row.ilog2()),
        Reduction::Subgroups(min) => u64::from(plan.threads_per_row / min) - 1,
        Reduction::Thread | Reduction::Lanes | Reduction::Subgroup => 0,
    };
    let block = u64::from(plan.block_rows);
    let runs = (steps * u64::from(plan.parts())).div_ceil(8);
    let partials = u64::from(plan.row_partials().div_ceil(plan.threads_per_row));
    match plan.kernel {
        // Gain and bias are loaded in a loop of their own where they are held.
        Kernel::ForwardCached => rows * (1 + 5 * steps + 2 * reduction) + steps,
        // Two walks where squares overflow, each twice over each run of eight vec4s, and once over its components.
        Kernel::ForwardStreamed => {
            let row = 1 + 2 * (runs + 2 * steps) + 3 * reduction;
            rows.div_ceil(block) * (1 + block * (row + 1) + steps * (1 + block))
        }
        Kernel::BackwardCached => rows * (1 + 2 * steps + reduction) + 2 * steps,
        Kernel::BackwardStreamed => {
            rows.div_ceil(block) * (1 + block * (1 + steps + reduction) + steps * (1 + block))
        }
        Kernel::ForwardSplitStatistics => rows * (1 + 2 * (runs + 2 * steps) + 3 * reduction),
        // The partial moments twice where they overflow.
        Kernel::ForwardSplitApply => rows * (1 + 2 * partials + steps + 3 * reduction) + steps,
        Kernel::BackwardSplitSums => rows * (1 + runs + steps + reduction),
        Kernel::BackwardSplitApply => rows * (1 + partials + steps + reduction) + 2 * steps,
        Kernel::BackwardReduceParameters => rows + 4 * reduction,
    }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn every_row_is_in_one_dispatch_and_one_place(
        call in calls(prop_oneof![0..=70_u64, 0..=5000_u64, 60_000..=200_000_u64])
    ) {
        for (plan, _) in call.case.plans() {
            if plan.kernel == Kernel::BackwardReduceParameters {
                continue;
            }
            match plan.dispatches(call.rows, &call.spans, &call.case.caps) {
                Ok(dispatches) => rows_are_covered(&call, &plan, &dispatches)?,
                Err(error) => {
                    prop_assert!(error.is_unsupported(), "{}", error);
                    let most = call.case.caps.max_binding_bytes;
                    let one_row = call.spans.iter().map(|span| u64::from(span.cols * span.element_bytes)).max();
                    prop_assert!(one_row.unwrap() + 256 + 4 > most, "one row fits a binding, but {}", error);
                }
            }
        }
    }

    #[test]
    fn any_number_of_rows_is_cut_within_the_limits(call in calls((0..=44_u32, any::<u64>()).prop_map(|(log2, noise)| noise % (1 << log2)))) {
        let caps = Caps { max_workgroups: 65_535, ..call.case.caps };
        let row_bytes = call.spans.iter().map(|span| span.stride * u64::from(span.element_bytes)).max().unwrap();
        // Not more than some thousand dispatches: by windows, and where loops are limited by those.
        let by_trips = if caps.max_loop_trips == u32::MAX { u64::MAX } else { 1 << 20 };
        let rows = call.rows.min((caps.max_binding_bytes / row_bytes).saturating_mul(1000)).min((1 << 46) / row_bytes).min(by_trips);
        let call = Call { case: Case { caps, ..call.case.clone() }, rows, ..call };
        for (plan, _) in call.case.plans() {
            if plan.kernel != Kernel::BackwardReduceParameters
                && let Ok(dispatches) = plan.dispatches(rows, &call.spans, &caps)
            {
                limits_of_dispatches_are_kept(&call, &plan, &dispatches)?;
            }
        }
    }
}

fn limits_of_dispatches_are_kept(call: &Call, plan: &Plan, dispatches: &[Dispatch]) -> TestCaseResult {
    let caps = &call.case.caps;
    let mut first_row = 0;
    let mut present_partial_rows = 0;
    let mut most_partial_rows = 0;
    for dispatch in dispatches {
        prop_assert_eq!(dispatch.first_row, first_row);
        prop_assert!(dispatch.rows > 0);
        first_row += u64::from(dispatch.rows);
        let [x, y] = dispatch.workgroups;
        prop_assert!((1..=caps.max_workgroups).contains(&x) && (1..=caps.max_workgroups).contains(&y));
        // The shader numbers rows and slots in 32 bits, those of idle workgroups too.
        prop_assert!(u64::from(x) * u64::from(y) <= 1 << 32, "{} workgroups", u64::from(x) * u64::from(y));
        let last_slot =
            u64::from(x) * u64::from(y) / u64::from(plan.chunks) * u64::from(plan.rows_per_workgroup);
        prop_assert!(last_slot <= 1 << 32, "{} slots", last_slot);
        let slots = plan.slots(dispatch.rows.into());
        prop_assert!(last_slot >= u64::from(slots));

        let slot_rows = u64::from(dispatch.rows.div_ceil(slots)).next_multiple_of(plan.block_rows.into());
        let trips = slot_rows * plan.loop_trips_per_row();
        prop_assert!(trips <= caps.max_loop_trips.into(), "{} trips over {} rows", trips, slot_rows);

        prop_assert_eq!(dispatch.earlier_partial_rows, present_partial_rows);
        prop_assert_eq!(dispatch.partial_rows, if plan.parameter_gradients() > 0 { slots } else { 0 });
        present_partial_rows = present_partial_rows.max(dispatch.partial_rows);
        most_partial_rows = most_partial_rows.max(dispatch.partial_rows);

        for (i, span) in call.spans.iter().enumerate() {
            let (first, count) =
                if span.stride == 0 { (0, 1) } else { (dispatch.first_row, dispatch.rows.into()) };
            let (begin, length) = span.window(first, count, caps.storage_alignment);
            let element_bytes = u64::from(span.element_bytes);
            let byte = |row: u64, col: u64| (span.offset + row * span.stride + col) * element_bytes;
            prop_assert_eq!((begin % u64::from(caps.storage_alignment), length % 4), (0, 0));
            prop_assert!(length > 0 && length <= caps.max_binding_bytes, "a window of {} bytes", length);
            prop_assert!(begin <= byte(first, 0));
            let last_byte = byte(first + count - 1, span.cols.into());
            prop_assert!(begin + length >= last_byte);
            prop_assert!(begin + length <= last_byte.next_multiple_of(4), "beyond the end of the buffer");
            prop_assert!(length / element_bytes <= 1 << 32, "elements are numbered in 32 bits");
            if i != STATISTICS {
                let access_bytes = (u64::from(plan.vector_width) * element_bytes).min(16);
                prop_assert_eq!(
                    (byte(first, 0) - begin) % access_bytes,
                    0,
                    "rows start between two accesses"
                );
                prop_assert_eq!(
                    span.stride * element_bytes % access_bytes,
                    0,
                    "rows start between two accesses"
                );
            }
        }
    }
    prop_assert_eq!(first_row, call.rows);

    let scratch_bytes = plan.scratch_bytes(dispatches);
    let gradients = u64::from(plan.parameter_gradients());
    prop_assert_eq!(scratch_bytes, u64::from(most_partial_rows) * gradients * u64::from(plan.cols) * 4);
    prop_assert!(scratch_bytes <= caps.max_binding_bytes, "{} bytes of scratch", scratch_bytes);
    Ok(())
}

fn rows_are_covered(call: &Call, plan: &Plan, dispatches: &[Dispatch]) -> TestCaseResult {
    limits_of_dispatches_are_kept(call, plan, dispatches)?;
    let mut is_present: Vec<bool> = Vec::new();
    for dispatch in dispatches {
        let walk = walk(plan, dispatch);
        prop_assert!(walk.rows.iter().all(|visits| *visits == 1), "{:?} walks {:?}", dispatch, walk.rows);
        let trips = loop_trips(plan, walk.most_rows);
        prop_assert!(trips <= call.case.caps.max_loop_trips.into(), "{} trips in {:?}", trips, dispatch);

        let mut left = walk.partial_rows;
        left.sort_unstable();
        prop_assert!(left.iter().copied().eq(0..dispatch.partial_rows), "{:?} leaves {:?}", dispatch, left);
        is_present.resize(is_present.len().max(left.len()), false);
        for partial_row in left {
            let is_present = &mut is_present[partial_row as usize];
            prop_assert_eq!(
                partial_row < dispatch.earlier_partial_rows,
                *is_present,
                "added to what is there"
            );
            *is_present = true;
        }
    }
    if plan.parameter_gradients() > 0 {
        partial_rows_are_reduced(call, is_present.len())?;
    }
    Ok(())
}

/// Each of the partial sums goes to one slice of each workgroup, and each step of columns is one workgroup's.
fn partial_rows_are_reduced(call: &Call, partial_rows: usize) -> TestCaseResult {
    let Case { problem, backward, vector_width, caps, .. } = &call.case;
    let Ok(reduce) = Plan::reduce_parameters(problem, *backward, *vector_width, caps) else {
        return Ok(());
    };
    let dispatch = reduce.reduce_dispatch(u32::try_from(partial_rows).unwrap(), caps);
    let [x, y] = dispatch.workgroups;
    prop_assert!(x <= caps.max_workgroups && y <= caps.max_workgroups);
    prop_assert!(u64::from(x) * u64::from(y) >= u64::from(reduce.steps));
    prop_assert_eq!(dispatch.rows as usize, partial_rows);
    let mut sums = vec![0; partial_rows];
    for slice in 0..reduce.rows_per_workgroup {
        for partial_row in (slice..dispatch.rows).step_by(reduce.rows_per_workgroup as usize) {
            sums[partial_row as usize] += 1;
        }
    }
    prop_assert!(sums.iter().all(|sums| *sums == 1));
    let trips = loop_trips(&reduce, u64::from(dispatch.rows.div_ceil(reduce.rows_per_workgroup)));
    prop_assert!(trips <= caps.max_loop_trips.into(), "{} trips over {} partial sums", trips, partial_rows);
    Ok(())
}

/// Rungs that nobody would write, and among them some that a kernel could run.
fn rungs() -> impl Strategy<Value = Rung> {
    let kernel = prop::sample::select(&Kernel::ALL[..]);
    let number =
        || prop_oneof![4 => (0..=12_u32).prop_map(|log2| 1 << log2), 1 => any::<u32>(), 1 => 0..=9_u32];
    let few = || prop_oneof![3 => Just(1), 2 => prop::sample::select(vec![2, 4, 8]), 1 => number()];
    let reduction = prop_oneof![
        Just(Reduction::Thread),
        Just(Reduction::Lanes),
        Just(Reduction::Subgroup),
        number().prop_map(Reduction::Subgroups),
        Just(Reduction::Workgroup),
    ];
    (kernel, number(), few(), reduction, few(), any::<bool>(), number(), number()).prop_map(
        |(
            kernel,
            threads_per_row,
            rows_per_workgroup,
            reduction,
            block_rows,
            hold_parameters,
            least_slots,
            rows_per_slot,
        )| Rung {
            kernel,
            threads_per_row,
            rows_per_workgroup,
            reduction,
            block_rows,
            hold_parameters,
            least_slots,
            rows_per_slot,
        },
    )
}

proptest! {
    #![proptest_config(config(16_384))]

    #[test]
    fn any_rung_is_refused_or_keeps_every_limit(call in calls(0..=300_u64), rung in rungs()) {
        let Case { problem, vector_width, forward, backward, caps } = &call.case;
        for (operation, buffers) in [
            (Operation::Forward(*forward), call.case.forward_buffers()),
            (Operation::Backward(*backward), call.case.backward_buffers()),
            (Operation::ReduceParameters(*backward), call.case.reduce_buffers()),
        ] {
            if let Ok(plan) = Plan::with_rung(problem, operation, *vector_width, rung, caps) {
                limits_are_kept(&plan, u32::try_from(buffers).unwrap(), &call.case)?;
                if let Ok(dispatches) = plan.dispatches(call.rows, &call.spans, caps) {
                    rows_are_covered(&call, &plan, &dispatches)?;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn candidates_are_legal_and_differ(call in calls(0..=300_u64)) {
        let Case { problem, vector_width, forward, backward, caps } = &call.case;
        let (forward, backward) = (Operation::Forward(*forward), Operation::Backward(*backward));
        for (operation, own) in [
            (forward, Plan::forward(problem, call.case.forward, *vector_width, caps)),
            (backward, Plan::backward(problem, call.case.backward, *vector_width, caps)),
        ] {
            let Ok(own) = own else { continue };
            let candidates = Plan::candidates(problem, operation, *vector_width, caps).unwrap();
            let mut plans: Vec<Plan> = Vec::new();
            for rung in candidates {
                let plan = Plan::with_rung(problem, operation, *vector_width, rung, caps).unwrap();
                limits_are_kept(&plan, u32::try_from(plan.tensors().len()).unwrap(), &call.case)?;
                if let Ok(dispatches) = plan.dispatches(call.rows, &call.spans, caps) {
                    rows_are_covered(&call, &plan, &dispatches)?;
                }
                prop_assert!(!plans.contains(&plan), "{:?} comes twice", plan);
                plans.push(plan);
            }
            prop_assert_eq!(plans[0], own);
        }
    }
}

#[test]
fn a_wide_row_has_candidates_of_both_kernels() {
    for kind in [AdapterKind::Gpu, AdapterKind::Software] {
        let caps = Caps { kind, ..subgroups_of_32() };
        let operation = Operation::Forward(Forward::default());
        let candidates = Plan::candidates(&f32_of(1024), operation, 4, &caps).unwrap();
        for kernel in [Kernel::ForwardCached, Kernel::ForwardStreamed] {
            let count = candidates.iter().filter(|rung| rung.kernel == kernel).count();
            assert!(count > 2, "{count} of {kernel:?} on {kind:?}: {candidates:?}");
        }
    }
}

proptest! {
    #![proptest_config(config(1024))]

    /// The threads of a row, and with them the order of its sums, are those of the plan, which knows no rows. What is
    /// left to show is that a row has the same plan wherever in its tensor a call begins.
    #[test]
    fn a_row_has_the_same_plan_whatever_row_a_call_begins_with(
        (offset, padding) in places(), cols in cols(), dtype in prop::sample::select(&Dtype::ALL[..]), first in 0..1000_u64
    ) {
        let span = Span { offset, stride: u64::from(cols) + padding, cols, element_bytes: dtype.size() };
        let later = Span { offset: offset + first * span.stride, ..span };
        prop_assert_eq!(span.vector_width(), later.vector_width());
    }

    #[test]
    fn traffic_counts_every_access(call in calls(0..=5000_u64)) {
        for (plan, _) in call.case.plans() {
            if plan.kernel == Kernel::BackwardReduceParameters {
                continue;
            }
            if let Ok(dispatches) = plan.dispatches(call.rows, &call.spans, &call.case.caps) {
                traffic_is_counted(&call, &plan, &dispatches)?;
            }
        }
    }
}

fn traffic_is_counted(call: &Call, plan: &Plan, dispatches: &[Dispatch]) -> TestCaseResult {
    let Case { problem, forward, backward, .. } = &call.case;
    let traffic = plan.traffic(dispatches);
    let cols = u64::from(problem.cols);
    let tensor = call.rows * cols * u64::from(problem.dtype.size());
    let parameter = cols * u64::from(problem.parameter_dtype.size());
    let statistics = 8 * call.rows;
    let times = |count: bool, bytes: u64| if count { bytes } else { 0 };
    let gain = times(problem.affine.has_gain(), parameter);
    let bias = times(problem.affine.has_bias(), parameter);
    match plan.kernel {
        Kernel::ForwardCached | Kernel::ForwardStreamed => {
            let read = tensor + times(forward.residual, tensor) + gain + bias;
            let written = tensor + times(forward.residual, tensor) + times(forward.statistics, statistics);
            prop_assert_eq!(traffic.written, written);
            if plan.kernel == Kernel::ForwardCached {
                prop_assert_eq!(traffic.read, read);
            } else {
                prop_assert_eq!(traffic.read, read + tensor);
                prop_assert!(traffic.total() * 2 <= 3 * (read + written), "{:?}", traffic);
            }
        }
        Kernel::ForwardSplitStatistics => {
            let inputs = tensor + times(forward.residual, tensor);
            let left = 16 * u64::from(plan.row_partials()) * call.rows;
            prop_assert_eq!(
                (traffic.read, traffic.written),
                (inputs, times(forward.residual, tensor) + left)
            );
        }
        Kernel::ForwardSplitApply => {
            let merged = 16 * u64::from(plan.chunks * plan.row_partials()) * call.rows;
            let written = tensor + times(forward.statistics, statistics);
            prop_assert_eq!((traffic.read, traffic.written), (tensor + gain + bias + merged, written));
        }
        Kernel::BackwardSplitSums => {
            let left = 16 * u64::from(plan.row_partials()) * call.rows;
            prop_assert_eq!((traffic.read, traffic.written), (2 * tensor + gain + statistics, left));
        }
        Kernel::BackwardCached | Kernel::BackwardStreamed | Kernel::BackwardSplitApply => {
            let partial_row = u64::from(plan.parameter_gradients()) * 4 * cols;
            let left: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.partial_rows)).sum();
            let added_to = |dispatch: &Dispatch| dispatch.partial_rows.min(dispatch.earlier_partial_rows);
            let read_back: u64 = dispatches.iter().map(|dispatch| u64::from(added_to(dispatch))).sum();
            let accumulated = times(backward.dx == Some(Gradient::Accumulate), tensor);
            let read = 2 * tensor + accumulated + statistics + gain + read_back * partial_row;
            let written = times(backward.dx.is_some(), tensor) + left * partial_row;
            if plan.kernel == Kernel::BackwardCached {
                prop_assert_eq!((traffic.read, traffic.written), (read, written));
            } else if plan.kernel == Kernel::BackwardSplitApply {
                let merged = 16 * u64::from(plan.chunks) * u64::from(plan.row_partials()) * call.rows;
                prop_assert_eq!((traffic.read, traffic.written), (read + merged, written));
            } else {
                // Each block of rows but a slot's first, idle threads' among them, reads and writes the slot's sums again.
                let blocks: u64 = dispatches
                    .iter()
                    .map(|dispatch| dispatch.rows.div_ceil(plan.block_rows))
                    .map(|blocks| u64::from(blocks.next_multiple_of(plan.rows_per_workgroup)))
                    .sum();
                let again = times(partial_row > 0, (blocks - left) * partial_row);
                prop_assert_eq!(traffic.read, read + 2 * tensor + again);
                prop_assert_eq!(traffic.written, written + again);
            }
        }
        Kernel::BackwardReduceParameters => {}
    }
    Ok(())
}

/// An adapter with subgroups of 32, as NVIDIA's, beside WebGPU's default limits.
fn subgroups_of_32() -> Caps {
    Caps { subgroup: Some(SubgroupSizes { min: 32, max: 32 }), ..Caps::webgpu_default() }
}

const BOTH_PARAMETERS: Backward = Backward {
    dx: Some(Gradient::Overwrite),
    dgain: Some(Gradient::Overwrite),
    dbias: Some(Gradient::Overwrite),
    x_in_dx: false,
    dy_in_dx: false,
};

fn f32_of(cols: u32) -> Problem {
    Problem { cols, ..Problem::default() }
}

#[test]
fn forward_is_cached_to_8192_columns_with_one_read_and_one_write() {
    for caps in
        [Caps::webgpu_default(), subgroups_of_32(), Caps { max_invocations: 128, ..Caps::webgpu_default() }]
    {
        for cols in 1..=8192 {
            let plan = Plan::forward(&f32_of(cols), Forward::default(), 8, &caps).unwrap();
            assert_eq!(plan.kernel, Kernel::ForwardCached, "{cols} columns");
        }
        let plan = Plan::forward(&f32_of(8192), Forward::default(), 8, &caps).unwrap();
        let span = Span { offset: 0, stride: 8192, cols: 8192, element_bytes: 4 };
        let traffic = plan.traffic(&plan.dispatches(1000, &[span; 2], &caps).unwrap());
        assert_eq!((traffic.read, traffic.written), (1000 * 8192 * 4 + 2 * 8192 * 4, 1000 * 8192 * 4));
    }
}

#[test]
fn backward_is_cached_as_far_as_invocations_carry_it() {
    // Invocations, and the widest cached row with the parameters' gradients and without.
    for (max_invocations, with_parameters, dx_alone) in
        [(128, 2048, 4096), (256, 4096, 8192), (512, 8192, 16_384)]
    {
        let caps = Caps { max_invocations, ..Caps::webgpu_default() };
        let dx = Backward { dgain: None, dbias: None, ..BOTH_PARAMETERS };
        for (backward, most) in [(BOTH_PARAMETERS, with_parameters), (dx, dx_alone)] {
            for (cols, kernel) in [
                (1, Kernel::BackwardCached),
                (most - 1, Kernel::BackwardCached),
                (most, Kernel::BackwardCached),
                (most + 1, Kernel::BackwardStreamed),
            ] {
                let plan = Plan::backward(&f32_of(cols), backward, 8, &caps).unwrap();
                assert_eq!(
                    plan.kernel, kernel,
                    "{cols} columns, {max_invocations} invocations, {backward:?}"
                );
            }
        }
    }
}

/// The steps of the ladder: columns, and then threads a row, rows a workgroup, steps, reduction.
type Step = (u32, u32, u32, u32, Reduction);

fn assert_rungs(rungs: &[Step], plan: impl Fn(u32) -> Plan) {
    for (cols, threads, rows, steps, reduction) in rungs {
        let plan = plan(*cols);
        let has = (plan.threads_per_row, plan.rows_per_workgroup, plan.steps, plan.reduction);
        assert_eq!(has, (*threads, *rows, *steps, *reduction), "{cols} columns: {plan:?}");
    }
}

#[test]
fn the_forward_ladder_has_these_edges() {
    use Reduction::{Lanes, Subgroups, Thread, Workgroup};
    let without_subgroups = [
        (1, 1, 128, 1, Thread),
        (4, 1, 128, 1, Thread),
        (5, 2, 64, 1, Workgroup),
        (16, 4, 32, 1, Workgroup),
        (17, 8, 16, 1, Workgroup),
        (64, 8, 16, 2, Workgroup),
        (65, 16, 8, 2, Workgroup),
        (128, 16, 8, 2, Workgroup),
        (129, 32, 4, 2, Workgroup),
        (1024, 32, 4, 8, Workgroup),
        (1025, 64, 2, 5, Workgroup),
        (4096, 128, 1, 8, Workgroup),
        (4097, 256, 1, 5, Workgroup),
        (8192, 256, 1, 8, Workgroup),
        (8193, 256, 1, 9, Workgroup),
    ];
    assert_rungs(&without_subgroups, |cols| {
        Plan::forward(&f32_of(cols), Forward::default(), 8, &Caps::webgpu_default()).unwrap()
    });
    let with_subgroups = without_subgroups.map(|(cols, threads, rows, steps, _)| match threads {
        1 => (cols, threads, rows, steps, Thread),
        2..=32 => (cols, threads, rows, steps, Lanes),
        _ => (cols, threads, 1, steps, Subgroups(32)),
    });
    assert_rungs(&with_subgroups, |cols| {
        Plan::forward(&f32_of(cols), Forward::default(), 8, &subgroups_of_32()).unwrap()
    });
}

#[test]
fn the_backward_ladder_has_these_edges() {
    use Reduction::{Lanes, Subgroups, Thread};
    let rungs = [
        (4, 1, 128, 1, Thread),
        (64, 8, 16, 2, Lanes),
        (128, 16, 8, 2, Lanes),
        (512, 32, 4, 4, Lanes),
        (513, 64, 1, 3, Subgroups(32)),
        (4096, 256, 1, 4, Subgroups(32)),
        (4097, 256, 1, 5, Subgroups(32)),
    ];
    assert_rungs(&rungs, |cols| {
        Plan::backward(&f32_of(cols), BOTH_PARAMETERS, 8, &subgroups_of_32()).unwrap()
    });
}

#[test]
fn subgroups_of_uncertain_size_are_used_where_either_size_is_right() {
    let caps = Caps { subgroup: Some(SubgroupSizes { min: 16, max: 64 }), ..Caps::webgpu_default() };
    for (cols, reduction) in
        [(128, Reduction::Lanes), (1024, Reduction::Workgroup), (2048, Reduction::Subgroups(16))]
    {
        let plan = Plan::forward(&f32_of(cols), Forward::default(), 8, &caps).unwrap();
        assert_eq!(plan.reduction, reduction, "{cols} columns");
    }
}

/// Backward over more bytes than one binding holds: scratch must not grow with the number of dispatches.
#[test]
fn scratch_does_not_grow_with_the_dispatches() {
    let caps = Caps::webgpu_default();
    for (cols, rows) in [(8192, 32_768), (1 << 20, 256), (1 << 24, 16)] {
        let plan = Plan::backward(&f32_of(cols), BOTH_PARAMETERS, 8, &caps).unwrap();
        let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4 };
        let dispatches = plan.dispatches(rows, &[span], &caps).unwrap();
        assert!(dispatches.len() >= 8, "{cols} columns: {} dispatches", dispatches.len());
        let scratch_bytes = plan.scratch_bytes(&dispatches);
        assert!(scratch_bytes <= caps.max_binding_bytes, "{cols} columns: {scratch_bytes} bytes");
    }
}

/// A stride that no second row follows may be anything.
#[test]
fn the_stride_of_a_single_row_does_not_overflow() {
    let caps = Caps::webgpu_default();
    let plan = Plan::forward(&f32_of(64), Forward::default(), 8, &caps).unwrap();
    let span = Span { offset: 64, stride: u64::MAX, cols: 64, element_bytes: 4 };
    let dispatches = plan.dispatches(1, &[span], &caps).unwrap();
    assert_eq!(dispatches.len(), 1);
    assert_eq!(span.window(0, 1, 256), (256, 256));
    let unaligned = Span { offset: 3, ..span };
    assert_eq!(unaligned.window(0, 1, 256), (0, 12 + 256));
}

#[test]
fn a_row_that_no_binding_holds_is_refused_with_both_sizes() {
    let caps = Caps { max_binding_bytes: 1 << 20, ..Caps::webgpu_default() };
    let cols = (1 << 18) + 1;
    let plan = Plan::forward(&f32_of(cols), Forward::default(), 8, &caps).unwrap();
    let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4 };
    let error = plan.dispatches(3, &[span], &caps).unwrap_err();
    assert!(error.is_unsupported(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("1048576") && text.contains("1048580"), "{text}");
    assert_eq!(plan.dispatches(0, &[span], &caps), Ok(Vec::new()));
}

#[test]
fn every_limit_that_is_passed_is_named() {
    let caps = subgroups_of_32();
    let plan = Plan::backward(&f32_of(4096), BOTH_PARAMETERS, 8, &caps).unwrap();
    let half = Problem { dtype: Dtype::F16, parameter_dtype: Dtype::F16, ..f32_of(7) };
    let native = Plan::forward(&half, Forward::default(), 1, &Caps { shader_f16: true, ..caps }).unwrap();
    for (plan, caps, named, has, needs) in [
        (plan, Caps { max_invocations: 128, ..caps }, "invocations", "128", "256"),
        (plan, Caps { max_workgroup_bytes: 16, ..caps }, "workgroup memory", "16", "256"),
        (plan, Caps { max_storage_buffers: 5, ..caps }, "storage buffers", "5", "6"),
        (plan, Caps { max_loop_trips: 3, ..caps }, "loop trips", "3", "at least"),
        (plan, Caps { max_binding_bytes: 1 << 14, ..caps }, "binding", "16384", "at least 33554432"),
        (plan, Caps { subgroup: None, ..caps }, "subgroup", "none", "256 threads"),
        (
            plan,
            Caps { subgroup: Some(SubgroupSizes { min: 16, max: 32 }), ..caps },
            "subgroup",
            "16 to 32",
            "256 threads",
        ),
        (native, caps, "shader-f16", "missing", "needs"),
    ] {
        let error = plan.check(&caps).expect_err(named);
        assert!(error.is_unsupported(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(named) && text.contains(has) && text.contains(needs), "{named}: {text}");
    }
}

#[test]
fn few_rows_are_split_by_choice_alone() {
    for (caps, most) in
        [(subgroups_of_32(), 512), (Caps { kind: AdapterKind::Software, ..Caps::webgpu_default() }, 64)]
    {
        let plan = |cols| Plan::forward(&f32_of(cols), Forward::default(), 8, &caps).unwrap();
        let (wide, narrow) = (plan(131_072), plan(64));
        assert_eq!((wide.kernel, narrow.kernel), (Kernel::ForwardStreamed, Kernel::ForwardCached));
        for (split, plan, rows, wanted) in [
            (RowSplit::default(), &wide, 1, false),
            (RowSplit::FewRows, &wide, most, true),
            (RowSplit::FewRows, &wide, most + 1, false),
            (RowSplit::FewRows, &narrow, 1, false),
            (RowSplit::Always, &wide, most + 1, true),
            (RowSplit::Always, &narrow, 1, true),
        ] {
            assert_eq!(split.splits(rows, plan, &caps), wanted, "{split:?}, {rows} rows, {}", plan.label());
        }
    }
}

/// Eight rows of 131072 columns give every core of a large GPU something to do.
#[test]
fn split_rows_fill_the_adapter() {
    let caps = subgroups_of_32();
    let problem = f32_of(131_072);
    let [statistics, apply] = Plan::forward_split(&problem, Forward::default(), 8, &caps).unwrap();
    assert_eq!((statistics.chunks, statistics.row_partials(), apply.chunks), (16, 16, 32));
    let workgroups = |plan: &Plan| plan.dispatches(8, &[], &caps).unwrap()[0].workgroups;
    assert_eq!((workgroups(&statistics), workgroups(&apply)), ([128, 1], [256, 1]));
    let [sums, apply] = Plan::backward_split(&problem, BOTH_PARAMETERS, 8, &caps).unwrap();
    assert_eq!((workgroups(&sums), workgroups(&apply)), ([128, 1], [256, 1]));
}
