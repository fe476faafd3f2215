//! Rungs that are not the ladder's: refused, or as good as its own.

use super::config;
use super::dispatches::rows_are_covered;
use super::limits::limits_are_kept;
use super::problems::{Case, calls, f32_of, subgroups_of_32};
use proptest::prelude::*;
use wgpu_layernorm::plan::{AdapterKind, Caps, Forward, Kernel, Operation, Plan, Reduction, Rung};
/// Rungs that nobody would write, and among them some that a kernel could run.
fn rungs() -> impl Strategy<Value = Rung> {
    let kernel = prop::sample::select(&Kernel::ALL[..]);
    let number =
        || prop_oneof![4 => (0..=12_u32).prop_map(|log2| 1 << log2), 1 => any::<u32>(), 1 => 0..=9_u32];
    let few = || prop_oneof![3 => Just(1), 2 => prop::sample::select(vec![2, 4, 8]), 1 => number()];
    let reduction = prop_oneof![
        Just(Reduction::Thread),
        Just(Reduction::Lanes),
        Just(Reduction::Adaptive),
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
            // Split rows have no other rungs.
            if own.kernel == Kernel::ForwardSplitApply {
                let candidates = Plan::candidates(problem, operation, *vector_width, caps).unwrap();
                prop_assert_eq!(candidates, vec![own.rung()]);
                continue;
            }
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
