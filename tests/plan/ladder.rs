//! The edges of the ladder, and named examples of what is refused.

use super::problems::{f32_of, subgroups_of_32};
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Kernel, Plan, Reduction, RegisterBudget, Span, SubgroupSizes,
};
use wgpu_layernorm::{Activation, Dtype, Gradient, Problem};
const BOTH_PARAMETERS: Backward = Backward {
    dx: Some(Gradient::Overwrite),
    dgain: Some(Gradient::Overwrite),
    dbias: Some(Gradient::Overwrite),
    ..Backward::new()
};

#[test]
fn forward_is_cached_to_16_384_columns_and_further_with_more_invocations() {
    // Columns, invocations, and the kernel with its threads and steps.
    for (cols, max_invocations, kernel, threads_and_steps) in [
        (8192, 256, Kernel::ForwardCached, (256, 8)),
        (8193, 256, Kernel::ForwardCached, (256, 9)),
        (16_384, 256, Kernel::ForwardCached, (256, 16)),
        (16_385, 256, Kernel::ForwardStreamed, (256, 17)),
        (16_384, 1024, Kernel::ForwardCached, (256, 16)),
        (16_385, 1024, Kernel::ForwardCached, (1024, 5)),
        (32_768, 1024, Kernel::ForwardCached, (1024, 8)),
        (32_769, 1024, Kernel::ForwardStreamed, (256, 33)),
        (8192, 128, Kernel::ForwardCached, (128, 16)),
        (8193, 128, Kernel::ForwardStreamed, (128, 17)),
    ] {
        let caps = Caps { max_invocations, ..subgroups_of_32() };
        let plan = Plan::forward(&f32_of(cols), Forward::default(), 8, &caps).unwrap();
        let has = (plan.kernel, (plan.threads_per_row, plan.steps));
        assert_eq!(has, (kernel, threads_and_steps), "{cols} columns, {max_invocations} invocations");
    }
}

/// Rows are dealt to as many workgroups as keep a GPU busy, and partial sums to as many slices as do.
#[test]
fn backward_has_enough_workgroups_and_few_partial_sums() {
    let caps = Caps { max_invocations: 1024, ..subgroups_of_32() };
    for (rows, cols, workgroups, slot_rows, reduce) in [
        // 65,536 threads in all, more once a workgroup has 64 rows, and never more than 1024 partial sums.
        (262_144, 64, 1024, 16, (2, 256, 8)),
        (8192, 256, 512, 4, (2, 256, 32)),
        (16_384, 1024, 1024, 16, (2, 256, 128)),
        (4096, 4096, 256, 16, (8, 64, 128)),
        (100, 4096, 100, 1, (8, 64, 128)),
    ] {
        let problem = f32_of(cols);
        let plan = Plan::backward(&problem, BOTH_PARAMETERS, 8, &caps).unwrap();
        let dispatches = plan.dispatches(rows, &[], &caps).unwrap();
        let [x, y] = dispatches[0].workgroups;
        let has = (x * y, plan.slot_rows(rows), dispatches[0].partial_rows);
        assert_eq!(has, (workgroups, slot_rows, workgroups), "{rows}x{cols}");
        let plan = Plan::reduce_parameters(&problem, BOTH_PARAMETERS, 8, &caps).unwrap();
        assert_eq!((plan.threads_per_row, plan.rows_per_workgroup, plan.steps), reduce, "{cols} columns");
    }
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
        let span = Span { offset: 0, stride: 8192, cols: 8192, element_bytes: 4, ..Span::default() };
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
fn subgroups_of_uncertain_size_adapt_between_the_smallest_and_the_largest() {
    let caps = |full_subgroups| Caps {
        subgroup: Some(SubgroupSizes { min: 16, max: 64 }),
        full_subgroups,
        ..Caps::webgpu_default()
    };
    for (cols, known, unknown) in [
        (128, Reduction::Lanes, Reduction::Adaptive),
        (1024, Reduction::Adaptive, Reduction::Adaptive),
        (2048, Reduction::Subgroups(16), Reduction::Subgroups(4)),
    ] {
        for (full_subgroups, reduction) in [(true, known), (false, unknown)] {
            let plan = Plan::forward(&f32_of(cols), Forward::default(), 8, &caps(full_subgroups)).unwrap();
            assert_eq!(plan.reduction, reduction, "{cols} columns, full: {full_subgroups}");
            let rows = if cols == 2048 { 1 } else { 128 / plan.threads_per_row };
            assert_eq!(plan.rows_per_workgroup, rows, "{cols} columns");
        }
    }
}

/// Backward over more bytes than one binding holds: scratch must not grow with the number of dispatches.
#[test]
fn scratch_does_not_grow_with_the_dispatches() {
    let caps = Caps::webgpu_default();
    for (cols, rows) in [(8192, 32_768), (1 << 20, 256), (1 << 24, 16)] {
        let plan = Plan::backward(&f32_of(cols), BOTH_PARAMETERS, 8, &caps).unwrap();
        let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4, ..Span::default() };
        let dispatches = plan.dispatches(rows, &[span], &caps).unwrap();
        assert!(dispatches.len() >= 8, "{cols} columns: {} dispatches", dispatches.len());
        let scratch_bytes = plan.scratch_bytes(&dispatches);
        assert!(scratch_bytes <= caps.max_binding_bytes, "{cols} columns: {scratch_bytes} bytes");
    }
}

#[test]
fn scratch_is_64_mib_or_a_row_of_partial_sums_at_most() {
    for kind in [AdapterKind::Gpu, AdapterKind::Software] {
        for subgroup in [None, Some(SubgroupSizes { min: 8, max: 8 })] {
            let caps = Caps { kind, subgroup, ..Caps::webgpu_default() };
            for cols in [1 << 20, (1 << 20) + 4, 1_500_000, (1 << 21) + 4, 1 << 24] {
                let whole = Plan::backward(&f32_of(cols), BOTH_PARAMETERS, 8, &caps).unwrap();
                let [_, split] = Plan::backward_split(&f32_of(cols), BOTH_PARAMETERS, 8, &caps).unwrap();
                let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4, ..Span::default() };
                let most = (64 << 20).max(8 * u64::from(cols));
                for plan in [whole, split] {
                    let bytes = plan.scratch_bytes(&plan.dispatches(64, &[span], &caps).unwrap());
                    assert!(bytes <= most, "{bytes} bytes on {kind:?}, {subgroup:?}: {}", plan.label());
                }
            }
        }
    }
}

/// Sums in memory are not compensated: a slot's are of few terms, as far as scratch for partial sums goes.
#[test]
fn a_slot_of_backward_streamed_adds_few_blocks_in_memory() {
    for kind in [AdapterKind::Gpu, AdapterKind::Software] {
        for subgroup in [None, Some(SubgroupSizes { min: 4, max: 4 }), Some(SubgroupSizes { min: 8, max: 8 })]
        {
            let caps = Caps { kind, subgroup, ..Caps::webgpu_default() };
            let plan = Plan::backward(&f32_of(20_000), BOTH_PARAMETERS, 8, &caps).unwrap();
            assert_eq!(plan.kernel, Kernel::BackwardStreamed);
            // Of so many columns 419 partial sums fit the scratch.
            for rows in [1, 100, 3000] {
                let blocks = plan.slot_rows(rows) / plan.block_rows;
                assert!(blocks <= 4, "{kind:?}, {subgroup:?}: {blocks} of {rows} rows");
            }
        }
    }
}

/// A stride that no second row follows may be anything.
#[test]
fn the_stride_of_a_single_row_does_not_overflow() {
    let caps = Caps::webgpu_default();
    let plan = Plan::forward(&f32_of(64), Forward::default(), 8, &caps).unwrap();
    let span = Span { offset: 64, stride: u64::MAX, cols: 64, element_bytes: 4, ..Span::default() };
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
    let span = Span { offset: 0, stride: cols.into(), cols, element_bytes: 4, ..Span::default() };
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

/// A driver that spills what others hold gets more threads or another kernel, field by field of its budget.
#[test]
fn a_smaller_register_budget_is_kept() {
    let most = RegisterBudget::MOST;
    let caps = |registers| Caps { max_invocations: 1024, registers, ..subgroups_of_32() };
    let few_threads = |registers| Caps { max_invocations: 256, ..caps(registers) };
    let forward = |cols, residual, caps: &Caps| {
        let options = Forward { residual, ..Forward::default() };
        let plan = Plan::forward(&f32_of(cols), options, 8, caps).unwrap();
        (plan.kernel, plan.threads_per_row, plan.steps)
    };
    let backward = |cols, options: Backward, caps: &Caps| {
        let plan = Plan::backward(&f32_of(cols), options, 8, caps).unwrap();
        (plan.kernel, plan.threads_per_row, plan.steps)
    };
    let dx_alone = Backward { dx: Some(Gradient::Overwrite), ..Backward::new() };

    let eight = RegisterBudget { forward_vec4: 8, ..most };
    assert_eq!(forward(16_384, false, &caps(most)), (Kernel::ForwardCached, 256, 16));
    assert_eq!(forward(16_384, false, &caps(eight)), (Kernel::ForwardCached, 512, 8));
    assert_eq!(forward(16_384, false, &few_threads(eight)), (Kernel::ForwardStreamed, 256, 16));
    assert_eq!(forward(16_384, true, &few_threads(eight)), (Kernel::ForwardCached, 256, 16));
    let eight = RegisterBudget { residual_vec4: 8, ..most };
    assert_eq!(forward(16_384, true, &few_threads(eight)), (Kernel::ForwardStreamed, 256, 16));
    assert_eq!(forward(16_384, false, &few_threads(eight)), (Kernel::ForwardCached, 256, 16));
    let four = RegisterBudget { forward_vec4: 4, ..most };
    assert_eq!(forward(2048, false, &caps(four)), (Kernel::ForwardCached, 128, 4));

    let two = RegisterBudget { backward_vec4: 2, ..most };
    assert_eq!(backward(4096, BOTH_PARAMETERS, &caps(most)), (Kernel::BackwardCached, 256, 4));
    assert_eq!(backward(4096, BOTH_PARAMETERS, &caps(two)), (Kernel::BackwardCached, 512, 2));
    assert_eq!(backward(4096, BOTH_PARAMETERS, &few_threads(two)), (Kernel::BackwardStreamed, 256, 4));
    assert_eq!(backward(4096, dx_alone, &caps(two)), (Kernel::BackwardCached, 128, 8));

    for block_rows in [4, 2, 1] {
        let caps = caps(RegisterBudget { block_rows, ..most });
        let plan = Plan::backward(&f32_of(40_000), BOTH_PARAMETERS, 8, &caps).unwrap();
        assert_eq!((plan.kernel, plan.block_rows), (Kernel::BackwardStreamed, block_rows));
    }
}

/// With the least of it there are plans still, of every kind.
#[test]
fn a_register_budget_of_one_is_enough() {
    let registers = RegisterBudget { forward_vec4: 1, residual_vec4: 1, backward_vec4: 1, block_rows: 1 };
    let caps = Caps { registers, ..subgroups_of_32() };
    for cols in [1, 64, 4096, 40_000] {
        for activation in [Activation::None, Activation::Silu] {
            let problem = Problem { activation, ..f32_of(cols) };
            for vector_width in [1, 8] {
                Plan::forward(&problem, Forward::default(), vector_width, &caps).unwrap();
                Plan::backward(&problem, BOTH_PARAMETERS, vector_width, &caps).unwrap();
                Plan::reduce_parameters(&problem, BOTH_PARAMETERS, vector_width, &caps).unwrap();
            }
        }
    }
}

#[test]
fn a_register_budget_that_no_ladder_has_is_refused() {
    let most = RegisterBudget::MOST;
    for (registers, message) in [
        (RegisterBudget { forward_vec4: 0, ..most }, "registers.forward_vec4 is 0, needs to be 1 to 16"),
        (RegisterBudget { backward_vec4: 5, ..most }, "registers.backward_vec4 is 5, needs to be 1 to 4"),
        (RegisterBudget { block_rows: 3, ..most }, "registers.block_rows is 3, needs to be a power of two"),
    ] {
        let caps = Caps { registers, ..subgroups_of_32() };
        let error = Plan::forward(&f32_of(64), Forward::default(), 8, &caps).unwrap_err();
        assert!(!error.is_unsupported());
        assert_eq!(error.to_string(), message);
    }
}
