//! Numbers that no adapter, tensor or plan can have: an error, and never a panic, a loop without end or a
//! wide access.

use super::config;
use super::limits::limits_are_kept;
use super::problems::{Case, cases, cols, f32_of, registers, subgroups_of_32};
use proptest::prelude::*;
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Kernel, Operation, Plan, Reduction, RegisterBudget, Rung, Span,
    Storage, Storages, SubgroupSizes, TunedAdapter, Tuning,
};
use wgpu_layernorm::shader::{Dialect, assemble};
use wgpu_layernorm::{Channels, Error, Gradient, Problem};

/// Small, beside a power of two, or anything.
fn number() -> impl Strategy<Value = u32> {
    let edges = (0..=32_u32, -1..=1_i64)
        .prop_map(|(log2, step)| u32::try_from((1_i64 << log2) + step).unwrap_or(u32::MAX));
    prop_oneof![0..=9_u32, edges, any::<u32>()]
}

fn long_number() -> impl Strategy<Value = u64> {
    prop_oneof![number().prop_map(u64::from), any::<u64>(), (0..=9_u64).prop_map(|less| u64::MAX - less)]
}

/// Every constructor of plans, in one list.
fn all_plans(case: &Case) -> Vec<Result<Plan, Error>> {
    let Case { problem, vector_width: width, forward, backward, caps } = case;
    let mut plans = vec![
        Plan::forward(problem, *forward, *width, caps),
        Plan::backward(problem, *backward, *width, caps),
        Plan::reduce_parameters(problem, *backward, *width, caps),
    ];
    let mut add = |split: Result<[Plan; 2], Error>| match split {
        Ok(both) => plans.extend(both.map(Ok)),
        Err(error) => plans.push(Err(error)),
    };
    add(Plan::forward_split(problem, *forward, *width, caps));
    add(Plan::backward_split(problem, *backward, *width, caps));
    let rung = Rung {
        kernel: Kernel::ForwardStreamed,
        threads_per_row: 1,
        rows_per_workgroup: 1,
        reduction: Reduction::Thread,
        block_rows: 1,
        hold_parameters: false,
        least_slots: 1,
        rows_per_slot: 1,
    };
    // Groups of as many channels as there are columns: two, if there can be so many.
    let groups = if problem.cols > Problem::MAX_COLS / 2 { 1 } else { 2 };
    let channels = Channels::new(problem.cols.saturating_mul(groups), groups, 1);
    let of_channels = Problem { channels: Some(channels), ..*problem };
    // A gate is not that of rows of one column each.
    let has_gates = problem.cols > 1;
    let of_forward = Forward { gate: forward.gate && has_gates, ..*forward };
    // Gains are counted where they are those of columns.
    let of_backward = Backward {
        clamped: false,
        dsum: backward.dsum && (has_gates || backward.dx.is_some()),
        dbranch: backward.dbranch && has_gates,
        dgate: backward.dgate.filter(|_| has_gates),
        ..*backward
    };
    plans.push(Plan::forward(&of_channels, of_forward, *width, caps));
    plans.push(Plan::backward(&of_channels, of_backward, *width, caps));
    let sums = Backward { dgain: Some(Gradient::Overwrite), clamped: false, ..*backward };
    // Sums of their own are those of channels with several columns.
    if problem.cols > 2 && problem.cols.is_multiple_of(2) {
        let channels = Some(Channels::new(problem.cols / 2, 1, 2));
        plans.push(Plan::channel_sums(&Problem { channels, ..*problem }, sums, *width, caps));
    }
    plans.push(Plan::reduce_parameters(&of_channels, *backward, *width, caps));
    // Of given statistics a plan has no other rungs.
    let operation = Operation::Forward(Forward { given_statistics: false, ..*forward });
    plans.push(Plan::with_rung(problem, operation, *width, rung, caps));
    let adapter =
        TunedAdapter { name: "one".to_owned(), backend: "vulkan".to_owned(), driver: String::new() };
    plans.push(Tuning::default().plan(&adapter, problem, operation, *width, caps));
    let candidates = Plan::candidates(problem, operation, *width, caps);
    plans.push(candidates.and_then(|_| Plan::forward(problem, *forward, *width, caps)));
    plans
}

fn a_case(caps: Caps, vector_width: u32) -> Case {
    Case {
        problem: f32_of(64),
        vector_width,
        forward: Forward::default(),
        backward: Backward::default(),
        caps,
    }
}

#[test]
fn caps_that_no_device_has_are_refused_by_every_constructor() {
    let good = subgroups_of_32();
    let sizes = |min, max| Caps { subgroup: Some(SubgroupSizes { min, max }), ..good };
    let plan = Plan::forward(&f32_of(64), Forward::default(), 4, &good).unwrap();
    for (caps, says) in [
        (sizes(0, 0), "subgroup is 0..0, needs to be two powers of two from 4 to 128, the smaller first"),
        (sizes(0, 32), "subgroup is 0..32"),
        (sizes(32, 8), "subgroup is 32..8"),
        (sizes(6, 8), "subgroup is 6..8"),
        (sizes(4, 256), "subgroup is 4..256"),
        (Caps { max_invocations: 0, ..good }, "max_invocations is 0, needs to be 1 or more"),
        (Caps { max_workgroups: 0, ..good }, "max_workgroups is 0, needs to be 1 or more"),
        (Caps { storage_alignment: 0, ..good }, "storage_alignment is 0, needs to be a power of two from 4"),
        (Caps { storage_alignment: 2, ..good }, "storage_alignment is 2"),
        (Caps { storage_alignment: 48, ..good }, "storage_alignment is 48"),
    ] {
        let mut errors: Vec<Error> =
            all_plans(&a_case(caps, 4)).into_iter().map(|plan| plan.expect_err(says)).collect();
        errors.extend([
            caps.validate().unwrap_err(),
            plan.check(&caps).unwrap_err(),
            plan.dispatches(1, &[], &caps).unwrap_err(),
        ]);
        for error in errors {
            assert!(error.is_invalid() && error.to_string().starts_with(says), "{error}: {says}");
        }
    }
    assert_eq!(SubgroupSizes::new(8, 32), Some(SubgroupSizes { min: 8, max: 32 }));
    for (min, max) in [(0, 32), (2, 8), (8, 4), (8, 24), (64, 256)] {
        assert_eq!(SubgroupSizes::new(min, max), None);
    }
}

/// 0 would be the widest that the row allows, whatever its place: every number divides 0.
#[test]
fn widths_that_are_none_are_refused_by_every_constructor() {
    for width in [0, 3, 5, 6, 7, 9, 32, u32::MAX] {
        for plan in all_plans(&a_case(subgroups_of_32(), width)) {
            let error = plan.expect_err("a width").to_string();
            assert_eq!(error, format!("vector_width is {width}, needs to be 1, 2, 4, 8 or 16"));
        }
    }
}

/// Of a ladder, or what none has.
fn any_registers() -> impl Strategy<Value = RegisterBudget> {
    let wrong = (number(), number(), number()).prop_map(|(forward_vec4, backward_vec4, block_rows)| {
        RegisterBudget { forward_vec4, backward_vec4, block_rows, ..RegisterBudget::MOST }
    });
    prop_oneof![3 => registers(), 1 => wrong]
}

/// A device may have any limit; 0 of what the kernels take is unsupported.
fn any_caps() -> impl Strategy<Value = Caps> {
    let kind = prop::sample::select(vec![AdapterKind::Gpu, AdapterKind::Software]);
    let sizes = prop::option::of((number(), number()));
    let subgroup = prop_oneof![
        sizes.prop_map(|sizes| sizes.map(|(min, max)| SubgroupSizes { min, max })),
        Just(SubgroupSizes::new(8, 8)),
        Just(SubgroupSizes::new(4, 64)),
    ];
    let alignment = prop_oneof![3 => (2..=31_u32).prop_map(|log2| 1 << log2), 1 => number()];
    (
        (kind, subgroup, any::<[bool; 5]>(), any_registers(), number(), number()),
        (number(), number(), long_number(), alignment, number()),
    )
        .prop_map(
            |(
                (
                    kind,
                    subgroup,
                    [full_subgroups, shader_f16, shader_int64, unrolls_loops, short_texts],
                    registers,
                    max_invocations,
                    max_workgroup_bytes,
                ),
                (max_storage_buffers, max_workgroups, max_binding_bytes, storage_alignment, max_loop_trips),
            )| Caps {
                kind,
                subgroup,
                full_subgroups,
                shader_f16,
                shader_int64,
                unrolls_loops,
                short_texts,
                registers,
                max_invocations,
                max_workgroup_bytes,
                max_storage_buffers,
                max_workgroups,
                max_binding_bytes,
                storage_alignment,
                max_loop_trips,
            },
        )
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let bytes = prop_oneof![3 => prop::sample::select(vec![2, 4]), 1 => number()];
    let column_stride = prop_oneof![3 => Just(1), 1 => long_number()];
    let outer = prop_oneof![3 => Just((0, 0)), 1 => (long_number(), long_number())];
    let outer_columns = prop_oneof![3 => Just((0, 0)), 1 => (number(), long_number())];
    let span = (long_number(), long_number(), number(), bytes, column_stride, outer, outer_columns).prop_map(
        |(offset, stride, cols, element_bytes, column_stride, outer, outer_columns)| Span {
            offset,
            stride,
            cols,
            element_bytes,
            column_stride,
            inner_rows: outer.0,
            outer_stride: outer.1,
            inner_columns: outer_columns.0,
            outer_column_stride: outer_columns.1,
        },
    );
    prop::collection::vec(span, 0..3)
}

/// Some fields of a plan changed to anything.
fn disturbed(mut plan: Plan, changes: &[(u8, u32)]) -> Plan {
    for &(field, value) in changes {
        match field {
            0 => plan.cols = value,
            1 => plan.vector_width = value,
            2 => plan.threads_per_row = value,
            3 => plan.rows_per_workgroup = value,
            4 => plan.steps = value,
            5 => plan.chunks = value,
            6 => plan.partial_cols = value,
            7 => plan.block_rows = value,
            8 => plan.least_slots = value,
            9 => plan.rows_per_slot = value,
            10 => plan.max_partial_rows = value,
            11 => plan.reduction = Reduction::Subgroups(value),
            12 => plan.combine_slots = !plan.combine_slots,
            13 => plan.storages = Storages::all(Storage::NativeF16),
            14 => plan.channels = Some(Channels::new(value, value % 7, plan.cols)),
            _ => plan.kernel = Kernel::ALL[value as usize % Kernel::ALL.len()],
        }
    }
    plan
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn any_caps_are_refused_or_kept(mut case in cases(cols()), caps in any_caps()) {
        case.caps = caps;
        for plan in all_plans(&case) {
            match plan {
                // Of channels, these have other widths than the problem's.
                Ok(plan) if plan.kernel == Kernel::BackwardChannelSums || plan.cols != case.problem.cols => {
                    prop_assert_eq!(plan.check(&caps), Ok(()));
                }
                Ok(plan) => {
                    prop_assert_eq!(plan.validate(), Ok(()));
                    limits_are_kept(&plan, u32::try_from(plan.tensors().len()).unwrap(), &case)?;
                }
                Err(error) => prop_assert_eq!(error.is_invalid(), caps.validate().is_err(), "{}", error),
            }
        }
    }

    #[test]
    fn any_span_is_refused_or_aligned(spans in spans(), rows in long_number(), first in long_number()) {
        for span in &spans {
            let width = span.vector_width();
            prop_assert!([1, 2, 4, 8, 16].contains(&width));
            let bytes = match width {
                8 | 16 => 2 * u64::from(width),
                width => u64::from(width) * u64::from(span.element_bytes),
            };
            if width > 1 {
                prop_assert!([2, 4].contains(&span.element_bytes), "{:?} in accesses of {}", span, width);
                prop_assert_eq!(span.offset % (bytes / u64::from(span.element_bytes)), 0);
            }
            for alignment in [0, 1, 256] {
                let _ = span.window(first, rows, alignment);
            }
            let _ = (span.row_byte(first), span.end(rows));
        }
    }

    #[test]
    fn any_plan_is_refused_or_ends(
        case in cases(cols()),
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0..=15_u8, number()), 1..4),
        (spans, rows, caps) in (spans(), long_number(), any_caps()),
    ) {
        let plans: Vec<Plan> = all_plans(&case).into_iter().flatten().collect();
        prop_assume!(!plans.is_empty());
        let plan = disturbed(*index.get(&plans), &changes);
        let is_valid = plan.validate();
        let refused = |error: Error| is_valid.is_ok() || error.is_invalid();
        let _ = (plan.label(), plan.tensors(), plan.rung(), plan.parts(), plan.step_cols(), plan.row_partials());
        let _ = (plan.values_per_thread(), plan.workgroup_size(), plan.workgroup_bytes(), plan.run_steps());
        let _ = (plan.loop_trips_per_row(), plan.slots(rows), plan.slot_rows(rows), plan.row_partials_bytes(rows));
        let _ = plan.reduce_dispatch(u32::try_from(rows % (1 << 32)).unwrap(), &caps);
        let launch = plan.launch(&caps);
        let [x, y] = &launch.workgroups;
        let formulas = [&launch.slot_rows, x, y, &launch.partial_rows, &launch.scratch_bytes, &launch.row_partials_bytes];
        let _ = formulas.map(|formula| formula.evaluate(rows));
        prop_assert!(plan.check(&caps).map_or_else(refused, |()| is_valid.is_ok()));
        prop_assert!(assemble(&plan, Dialect::Naga).map_or_else(refused, |_| is_valid.is_ok()));
        match plan.dispatches(rows, &spans, &caps) {
            Ok(dispatches) => {
                prop_assert!(is_valid.is_ok() && caps.validate().is_ok());
                let _ = (plan.traffic(&dispatches), plan.scratch_bytes(&dispatches));
                // In order, without a gap, and in 32 bits as shaders count.
                let mut next = 0;
                for dispatch in dispatches {
                    prop_assert_eq!(dispatch.first_row, next);
                    next += u64::from(dispatch.rows);
                    let (slots, slot_rows) = (plan.slots(dispatch.rows.into()), plan.slot_rows(dispatch.rows.into()));
                    prop_assert!(u64::from(slots) * u64::from(slot_rows) < 1 << 32, "{:?} {} {}", dispatch, slots, slot_rows);
                    prop_assert!(u64::from(slots) * u64::from(slot_rows) >= dispatch.rows.into(), "rows are left out");
                }
                prop_assert_eq!(next, rows);
            }
            Err(error) => prop_assert!(refused(error)),
        }
    }
}

/// Rows of 2 columns, 2^26 of them: a workgroup of 2^7 x 2^26 rows begins and ends at 0 in 32 bits, and
/// writes nothing.
#[test]
fn workgroups_of_more_rows_than_there_are_numbers_are_refused() {
    let rung = Rung {
        kernel: Kernel::ForwardCached,
        threads_per_row: 1,
        rows_per_workgroup: 128,
        reduction: Reduction::Thread,
        block_rows: 1,
        hold_parameters: true,
        least_slots: 1,
        rows_per_slot: u32::MAX,
    };
    let (caps, operation) = (Caps::webgpu_default(), Operation::Forward(Forward::default()));
    let plan = |rung| Plan::with_rung(&f32_of(2), operation, 2, rung, &caps);
    let error = plan(rung).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rows_per_slot is 4294967295, needs to be at most 8192 with 128 rows a workgroup"
    );
    let most = plan(Rung { rows_per_slot: 8192, ..rung }).unwrap();
    let wrong = Plan { rows_per_slot: 8193, ..most };
    assert!(wrong.dispatches(1 << 26, &[], &caps).unwrap_err().is_invalid());
    let dispatches = most.dispatches(1 << 26, &[], &caps).unwrap();
    assert_eq!(dispatches.iter().map(|dispatch| u64::from(dispatch.rows)).sum::<u64>(), 1 << 26);
}

/// Such a call is refused before the host's memory is full of its dispatches.
#[test]
fn dispatches_without_end_are_refused() {
    let caps = Caps { max_workgroups: 1, ..Caps::webgpu_default() };
    let plan = Plan::forward(&f32_of(4096), Forward::default(), 4, &caps).unwrap();
    let error = plan.dispatches(u64::MAX, &[], &caps).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().starts_with("rows of one call is"), "{error}");
    // Made for a device that has more.
    let wide = Problem { cols: 1 << 20, ..Problem::default() };
    let [_, split] = Plan::forward_split(&wide, Forward::default(), 4, &Caps::webgpu_default()).unwrap();
    let error = split.dispatches(1, &[], &caps).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
}
