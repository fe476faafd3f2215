//! Traffic counts every access, and a row has the same plan wherever a call begins.

use super::config;
use super::problems::{Call, Case, calls, cols, places};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wgpu_layernorm::plan::{Dispatch, Kernel, Plan, Span};
use wgpu_layernorm::{Dtype, Gradient};
proptest! {
    #![proptest_config(config(1024))]

    /// The threads of a row, and with them the order of its sums, are those of the plan, which knows no rows.
    /// What is left to show is that a row has the same plan wherever in its tensor a call begins.
    #[test]
    fn a_row_has_the_same_plan_whatever_row_a_call_begins_with(
        (offset, padding) in places(), cols in cols(), dtype in prop::sample::select(&Dtype::ALL[..]), first in 0..1000_u64
    ) {
        let span = Span { offset, stride: u64::from(cols) + padding, cols, element_bytes: dtype.size(), ..Span::default() };
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
    let reads_parameters = !plan.operation.name().starts_with("forward") || call.case.makes_y();
    let gain = times(problem.affine.has_gain() && reads_parameters, parameter);
    let bias = times(problem.affine.has_bias() && reads_parameters, parameter);
    let bias_again = times(call.case.reads_bias_again(), parameter);
    // The gain of each row, and its gradient, in float32.
    let of_rows = |count| times(count, 4 * call.rows);
    let row_gain = of_rows(forward.row_gain);
    let gate = |count| times(count, parameter);
    let gate_again = gate(forward.gate && forward.without_sum);
    let given = 2 * of_rows(forward.given_statistics);
    let running = 2 * of_rows(forward.running_statistics);
    let (y, sum) =
        (times(!forward.without_y, tensor), times(forward.residual && !forward.without_sum, tensor));
    // What the second of two walks reads.
    let again = tensor + times(forward.residual && forward.without_sum, tensor);
    let units = of_rows(forward.codes.is_some() && !forward.given_unit);
    let codes = times(forward.codes.is_some(), call.rows * cols.next_multiple_of(4)) + units;
    match plan.kernel {
        Kernel::ForwardCached | Kernel::ForwardStreamed => {
            let sum_of = times(forward.residual, tensor) + gate(forward.gate);
            let read = tensor + sum_of + gain + bias + row_gain + running;
            let written = y + sum + times(forward.statistics, statistics) + running + codes;
            prop_assert_eq!(traffic.written, written);
            if plan.kernel == Kernel::ForwardCached {
                prop_assert_eq!(traffic.read, read);
            } else {
                let walks = u64::from(call.case.makes_y()) + u64::from(units > 0);
                prop_assert_eq!(traffic.read, read + walks * again);
                prop_assert!(traffic.total() <= (1 + walks) * (read + written), "{:?}", traffic);
            }
        }
        Kernel::ForwardSplitStatistics => {
            let inputs = tensor + times(forward.residual, tensor) + gate(forward.gate);
            let left = 16 * u64::from(plan.row_partials()) * call.rows;
            prop_assert_eq!((traffic.read, traffic.written), (inputs, sum + left));
        }
        Kernel::ForwardSplitApply => {
            let merged = 16 * u64::from(plan.chunks * plan.row_partials()) * call.rows;
            let written = y + times(forward.statistics, statistics) + running;
            prop_assert_eq!(
                (traffic.read, traffic.written),
                (again + gate_again + gain + bias + row_gain + merged + given + running, written)
            );
        }
        Kernel::BackwardSplitSums => {
            let left = 16 * u64::from(plan.row_partials()) * call.rows;
            prop_assert_eq!(
                (traffic.read, traffic.written),
                (2 * tensor + gain + bias_again + statistics, left)
            );
        }
        Kernel::BackwardCached | Kernel::BackwardStreamed | Kernel::BackwardSplitApply => {
            let partial_row = u64::from(plan.parameter_gradients()) * 4 * cols;
            let left: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.partial_rows)).sum();
            let added_to = |dispatch: &Dispatch| dispatch.partial_rows.min(dispatch.earlier_partial_rows);
            let read_back: u64 = dispatches.iter().map(|dispatch| u64::from(added_to(dispatch))).sum();
            let accumulated = times(backward.dx == Some(Gradient::Accumulate), tensor);
            let dsum = times(backward.dsum, tensor);
            let row_gain = of_rows(backward.row_gain && backward.dx.is_some());
            let drow_gain = of_rows(backward.drow_gain.is_some());
            let added = of_rows(backward.drow_gain == Some(Gradient::Accumulate)) + row_gain;
            let parameters = gain + bias_again + gate(backward.dbranch);
            let branch = times(backward.dgate.is_some(), tensor);
            let of_rows = 2 * tensor + accumulated + dsum + branch + statistics + added;
            let read = of_rows + parameters + read_back * partial_row;
            let count = times(backward.clamped, 4);
            let gradients = times(backward.dx.is_some(), tensor) + times(backward.dbranch, tensor);
            let written = gradients + left * partial_row + drow_gain + count;
            if plan.kernel == Kernel::BackwardCached {
                let blocks: u64 = dispatches.iter().map(|dispatch| summed_blocks(plan, dispatch)).sum();
                let again = times(partial_row > 0, blocks.saturating_sub(left) * partial_row);
                prop_assert_eq!((traffic.read, traffic.written), (read + again, written + again));
            } else if plan.kernel == Kernel::BackwardSplitApply {
                let merged = 16 * u64::from(plan.chunks) * u64::from(plan.row_partials()) * call.rows;
                prop_assert_eq!((traffic.read, traffic.written), (read + merged, written));
            } else {
                // Each block of rows but a slot's first, idle threads' among them, reads and writes the
                // slot's sums again.
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
        other => panic!("{other:?} has no traffic here"),
    }
    Ok(())
}

/// The partial sums that the workgroups of `backward_cached` write (`shaders/sums/of_blocks.wgsl`): of a
/// short text whose threads have more than 8 vec4s, a sum of each slot for each of its blocks of 8 rows.
fn summed_blocks(plan: &Plan, dispatch: &Dispatch) -> u64 {
    if !plan.short || plan.steps * plan.vector_width.div_ceil(4) <= 8 {
        return dispatch.partial_rows.into();
    }
    let slots = u64::from(plan.rows_per_workgroup);
    let rows_of_workgroup = slots * u64::from(plan.slot_rows(dispatch.rows.into()));
    let mut blocks = 0;
    let mut first = 0;
    while first < u64::from(dispatch.rows) {
        let end = u64::from(dispatch.rows).min(first + rows_of_workgroup);
        blocks += slots * (end - first).div_ceil(8 * slots);
        first = end;
    }
    blocks
}
