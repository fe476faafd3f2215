//! Plans for any problem on any adapter: legal or refused, every element covered exactly once, every limit kept. The
//! limits and the walks of the shaders are worked out here a second time, from the comments in `shaders/`.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Dispatch, Forward, Kernel, Operation, Plan, Reduction, Span, SubgroupSizes,
    Tensor,
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
            Ok(plan) => plans.push((plan, buffers as u32)),
            Err(error) => assert!(error.is_unsupported(), "{error}"),
        };
        keep(Plan::forward(problem, self.forward, width, caps), self.forward_buffers());
        keep(Plan::backward(problem, self.backward, width, caps), self.backward_buffers());
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

    fn backward_buffers(&self) -> usize {
        let Backward { dx, x_in_dx, dy_in_dx, .. } = self.backward;
        let inputs = [!x_in_dx, !dy_in_dx, self.problem.affine.has_gain(), true];
        count(&inputs) + count(&[dx.is_some(), self.has_parameter_gradients()])
    }

    fn reduce_buffers(&self) -> usize {
        1 + count(&[self.backward.dgain.is_some(), self.backward.dbias.is_some()])
    }
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
    let workgroups = prop::sample::select(vec![65_535, 65_535, 65_535, 7, u32::MAX]);
    let binding_bytes = prop_oneof![
        prop::sample::select(vec![128 << 20, 256 << 20, (1 << 31) - 1, 1 << 32, u64::MAX]),
        256..=(64 << 20_u64),
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
        }
    }

    #[test]
    fn only_a_limit_refuses_a_plan(mut case in cases(1..=1 << 20_u32)) {
        case.caps.max_storage_buffers = case.caps.max_storage_buffers.max(8);
        case.caps.max_invocations = case.caps.max_invocations.max(256);
        case.caps.max_binding_bytes = case.caps.max_binding_bytes.max(128 << 20);
        let wanted = if case.has_parameter_gradients() { 3 } else { 2 };
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
            prop_assert!(min == sizes.min && threads >= sizes.max && plan.rows_per_workgroup == 1);
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
    prop_assert!(plan.loop_trips_per_row() <= caps.max_loop_trips.into());
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
            let stores = stores(&plan, 0..plan.steps, 0, plan.cols as usize);
            prop_assert!(stores.iter().all(|stores| *stores == 1), "{:?} stores {:?}", plan, stores);
        }
    }

    #[test]
    fn every_column_of_wide_rows_is_stored_once(case in cases(8193..=Problem::MAX_COLS)) {
        for (plan, _) in case.plans() {
            let step_cols = plan.step_cols();
            prop_assert_eq!(plan.steps, plan.cols.div_ceil(step_cols));
            // One step more than columns() is made for need not be asked for: the first and the last two tell.
            for step in [0, plan.steps.saturating_sub(2), plan.steps - 1] {
                let from = step * step_cols;
                let length = step_cols.min(plan.cols - from);
                let stores = stores(&plan, step..step + 1, from, length as usize);
                prop_assert!(stores.iter().all(|stores| *stores == 1), "{:?} step {} stores {:?}", plan, step, stores);
            }
        }
    }
}
