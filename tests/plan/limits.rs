//! Every plan keeps the limits of its adapter, and stores each column of a row once.

use super::config;
use super::problems::{Case, cases, cols};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wgpu_layernorm::Problem;
use wgpu_layernorm::plan::{AdapterKind, Kernel, Operation, Plan, Reduction};
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
        // What backward reads again for an activation, its split rows have a ninth for, and codes beside all
        // else. A gate has what it multiplies beside it, and backward its gradient too.
        let has_codes = case.forward.codes.is_some();
        let of_gate = [case.forward.gate, case.backward.dbranch, case.backward.dgate.is_some()];
        let most_buffers = match of_gate.contains(&true) {
            true => 10,
            false => if case.reads_bias_again() || has_codes { 9 } else { 8 },
        };
        case.caps.max_storage_buffers = case.caps.max_storage_buffers.max(most_buffers);
        case.caps.max_invocations = case.caps.max_invocations.max(256);
        case.caps.max_binding_bytes = case.caps.max_binding_bytes.max(128 << 20);
        let wanted = if case.has_parameter_gradients() { 7 } else { 6 };
        // Rows whose y is written in codes are not split, nor those of backward from y or with dgate.
        let is_whole = case.backward.from_y || case.backward.dgate.is_some();
        let split = 2 * usize::from(has_codes) + 2 * usize::from(is_whole);
        prop_assert_eq!(case.plans().len(), wanted - split);
    }
}

pub(crate) fn limits_are_kept(plan: &Plan, buffers: u32, case: &Case) -> TestCaseResult {
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
            prop_assert!(caps.full_subgroups);
            0
        }
        Reduction::Adaptive => {
            prop_assert!(caps.subgroup.is_some());
            2 * sums_bytes * invocations
        }
        Reduction::Subgroup => {
            let sizes = caps.subgroup.unwrap();
            prop_assert!(sizes.min == threads && sizes.max == threads && plan.rows_per_workgroup == 1);
            0
        }
        Reduction::Subgroups(min) => {
            let sizes = caps.subgroup.unwrap();
            prop_assert!(min <= sizes.min && threads >= sizes.max && plan.rows_per_workgroup == 1);
            prop_assert!(caps.full_subgroups || min <= 4, "a driver may have smaller ones than it says");
            2 * sums_bytes * threads / min
        }
        Reduction::Workgroup => sums_bytes * invocations,
        other => panic!("{other:?} has no bytes here"),
    };
    let leaves_partials = plan.kernel == Kernel::BackwardCached
        && plan.parameter_gradients() > 0
        && caps.kind == AdapterKind::Gpu
        // A row that is one channel leaves its sums, whatever the slots.
        && plan.channels.is_none_or(|channels| channels.per_row() > 1);
    let is_reduce = plan.kernel == Kernel::BackwardReduceParameters;
    prop_assert_eq!(plan.combine_slots, (leaves_partials || is_reduce) && plan.rows_per_workgroup > 1);
    let workgroup_bytes = workgroup_bytes + if plan.combine_slots { 16 * invocations } else { 0 };
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
    prop_assert!(!plan.uses_int64() || caps.shader_int64 && caps.kind == AdapterKind::Software);
    let most_bytes = if plan.uses_int64() { 32 } else { 16 };
    prop_assert!(plan.vector_width <= case.vector_width.min(most_bytes / dtype.size()));
    prop_assert_eq!(plan.cols % plan.vector_width, 0, "an access would cross the row's end");
    prop_assert_eq!(plan.cols, case.problem.cols);
    let is_split = plan.partial_cols > 0 || plan.kernel == Kernel::ForwardSplitApply;
    prop_assert!(is_split || plan.chunks == 1);
    prop_assert!(plan.loop_trips_per_row() <= caps.max_loop_trips.into());
    let is_streamed = matches!(plan.kernel, Kernel::ForwardStreamed | Kernel::BackwardStreamed);
    let has_blocks = is_streamed || plan.kernel == Kernel::BackwardSplitSums;
    prop_assert!(has_blocks || plan.block_rows == 1, "{:?} knows no blocks", plan.kernel);
    prop_assert!(!(is_streamed && plan.hold_parameters), "{:?} holds no parameters", plan.kernel);
    Ok(())
}

/// What the ladder promises beyond limits.
fn budgets_are_kept(plan: &Plan, case: &Case) -> TestCaseResult {
    let caps = &case.caps;
    if let Reduction::Subgroups(min) = plan.reduction {
        let known = if caps.full_subgroups { caps.subgroup.unwrap().min } else { 4 };
        prop_assert_eq!(min, known, "more workgroup memory than it takes");
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
        let (most_threads, threads_are_few) =
            (1 << caps.max_invocations.ilog2(), plan.threads_per_row <= 256);
        let most = match plan.operation {
            Operation::Forward(_) if plan.cols > 32 * most_threads.min(256) && threads_are_few => 64,
            Operation::Forward(_) => 32,
            _ if case.has_parameter_gradients() => 16,
            _ => 32,
        };
        prop_assert!(plan.values_per_thread() <= most, "{} values in registers", plan.values_per_thread());
    }
    Ok(())
}

/// The columns that a thread accesses in a step, in its order: by the drawing in `shaders/common/row.wgsl`,
/// accesses of CONTIGUOUS columns each, those of neighboring threads side by side.
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
