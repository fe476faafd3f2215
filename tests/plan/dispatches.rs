//! Every row is in one dispatch and one place, and every partial sum is added up once.

use super::config;
use super::problems::{Call, Case, STATISTICS, calls};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wgpu_layernorm::Gradient;
use wgpu_layernorm::plan::{Caps, Dispatch, Kernel, Plan, Reduction};
/// What a dispatch does to its rows and to the partial sums, by the loops of the bodies in `shaders/`, in
/// their 32-bit arithmetic: an overflow there is one here, and fails the test.
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
    let slot_rows = plan.slot_rows(dispatch.rows.into());
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
        let first_row = first_slot * slot_rows;
        let end = (first_row + rows_per_workgroup * slot_rows).min(dispatch.rows);
        assert_eq!(first_row < end, first_slot < slots, "workgroup {workgroup} and {slots} slots");
        let mut walked_rows = 0;
        let mut first_block = first_row;
        while first_block < end {
            for slot in 0..rows_per_workgroup {
                let first_row = first_block + slot * block;
                for row in first_row..first_row + block {
                    if row < end {
                        walk.rows[row as usize] += 1;
                    }
                }
            }
            walked_rows += u64::from(block);
            first_block += rows_per_workgroup * block;
        }
        walk.most_rows = walk.most_rows.max(walked_rows);
        if plan.parameter_gradients() > 0 && walked_rows > 0 {
            if plan.combine_slots {
                walk.partial_rows.push(first_slot / rows_per_workgroup);
            } else {
                walk.partial_rows.extend(first_slot..first_slot + rows_per_workgroup);
            }
        }
    }
    walk
}

/// Loop trips of the busiest invocation, if loops over the parts of an access are unrolled and no others.
fn loop_trips(plan: &Plan, rows: u64) -> u64 {
    let steps = u64::from(plan.steps);
    let reduction = match plan.reduction {
        Reduction::Workgroup => u64::from(plan.threads_per_row.ilog2()),
        Reduction::Adaptive => u64::from(plan.threads_per_row),
        Reduction::Subgroups(min) => u64::from(plan.threads_per_row / min) - 1,
        Reduction::Thread | Reduction::Lanes | Reduction::Subgroup => 0,
        other => panic!("{other:?} has no trips here"),
    };
    let block = u64::from(plan.block_rows);
    let run = u64::from(plan.run_steps());
    let runs = steps.div_ceil(run);
    let partials = u64::from(plan.row_partials().div_ceil(plan.threads_per_row));
    // The tree over the slots of a workgroup, for dgain and for dbias.
    let slots = if plan.combine_slots { 2 * u64::from(plan.rows_per_workgroup.ilog2()) } else { 0 };
    match plan.kernel {
        // Gain and bias are loaded in a loop of their own where they are held.
        Kernel::ForwardCached => rows * (1 + 5 * steps + 2 * reduction) + steps,
        // Two walks where squares overflow, each twice over each run of eight vec4s, and once over its
        // components.
        Kernel::ForwardStreamed => {
            let row = 1 + 2 * (runs + 2 * steps) + 3 * reduction;
            rows.div_ceil(block) * (1 + block * (row + 1) + steps * (1 + block))
        }
        Kernel::BackwardCached => rows * (1 + 2 * steps + reduction) + steps * (2 + slots),
        // What serves a block, its rows and at last the update of the partial sums, each a loop over the
        // steps of a run.
        Kernel::BackwardStreamed => {
            let walk = runs * (1 + run + block * (1 + run));
            rows.div_ceil(block) * (1 + block * (3 + reduction) + walk + walk + runs * run)
        }
        Kernel::ForwardSplitStatistics => rows * (1 + 2 * (runs + 2 * steps) + 3 * reduction),
        // The partial moments twice where they overflow.
        Kernel::ForwardSplitApply => rows * (1 + 2 * partials + steps + 3 * reduction) + steps,
        Kernel::BackwardSplitSums => {
            rows.div_ceil(block) * (1 + block * (3 + reduction) + runs * (1 + run + block * (1 + run)))
        }
        Kernel::BackwardSplitApply => rows * (1 + partials + steps + reduction) + 2 * steps,
        // Batches of four, loaded in one loop and added up in another.
        Kernel::BackwardReduceParameters => rows.div_ceil(4) * (1 + 2 * 4) + slots,
        other => panic!("{other:?} has no trips here"),
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

    /// Scratch of a call that is prepared for some rows serves any that are fewer.
    #[test]
    fn fewer_rows_fit_the_scratch_of_more(call in calls(prop_oneof![0..=70_u64, 0..=5000_u64])) {
        let caps = &call.case.caps;
        for (plan, _) in call.case.plans() {
            if plan.parameter_gradients() == 0 || plan.kernel == Kernel::BackwardReduceParameters {
                continue;
            }
            // Of the rows of one dispatch: those of a call may be cut into more.
            let of_first = |rows: u64, what: fn(&Dispatch) -> u32| {
                plan.dispatches(rows, &[], caps).unwrap().first().map_or(0, what)
            };
            let left = |rows: u64| of_first(rows, |dispatch| dispatch.partial_rows);
            let most = plan.most_partial_rows(of_first(call.rows, |dispatch| dispatch.rows).into());
            let needs = (0..=call.rows).map(left).max().unwrap_or(0);
            prop_assert!(needs <= most, "{} partial sums of up to {} rows, not {}", needs, call.rows, most);
            // And not more than half is wasted, beside a workgroup's: slots have whole blocks of rows.
            let spare = if plan.combine_slots { 1 } else { plan.rows_per_workgroup };
            prop_assert!(most <= 2 * needs + spare, "{} partial sums where {} would do", most, needs);
            prop_assert!(plan.most_scratch_bytes(call.rows) <= caps.max_binding_bytes);
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
        let last_row = last_slot * u64::from(plan.slot_rows(dispatch.rows.into()));
        prop_assert!(last_row <= 1 << 32, "{} slots, up to row {}", last_slot, last_row);
        let slots = plan.slots(dispatch.rows.into());
        prop_assert!(last_slot >= u64::from(slots));

        let slot_rows = u64::from(plan.slot_rows(dispatch.rows.into()));
        let trips = slot_rows * plan.loop_trips_per_row();
        prop_assert!(trips <= caps.max_loop_trips.into(), "{} trips over {} rows", trips, slot_rows);

        prop_assert_eq!(dispatch.earlier_partial_rows, present_partial_rows);
        let partial_rows = if plan.combine_slots { slots / plan.rows_per_workgroup } else { slots };
        prop_assert_eq!(dispatch.partial_rows, if plan.parameter_gradients() > 0 { partial_rows } else { 0 });
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

pub(crate) fn rows_are_covered(call: &Call, plan: &Plan, dispatches: &[Dispatch]) -> TestCaseResult {
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
    // A slice loads four at a time, the last one again where there are fewer left.
    let mut loads = 0;
    for slice in 0..reduce.rows_per_workgroup {
        loads += (slice..dispatch.rows).step_by(4 * reduce.rows_per_workgroup as usize).count() * 4;
    }
    let gradients = [backward.dgain, backward.dbias, backward.dgate];
    let accumulated = gradients.iter().filter(|kind| **kind == Some(Gradient::Accumulate)).count();
    let parameter = u64::from(problem.cols) * u64::from(problem.parameter_dtype.size());
    let partial_row = u64::from(reduce.parameter_gradients()) * 4 * u64::from(problem.cols);
    prop_assert_eq!(
        reduce.traffic(&[dispatch]).read,
        loads as u64 * partial_row + accumulated as u64 * parameter
    );
    let trips = loop_trips(&reduce, u64::from(dispatch.rows.div_ceil(reduce.rows_per_workgroup)));
    prop_assert!(trips <= caps.max_loop_trips.into(), "{} trips over {} partial sums", trips, partial_rows);
    Ok(())
}
