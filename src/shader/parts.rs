//! Which segments a plan's text is made of, and which constants are set in them.

use super::text::{for_tensor, segment};
use super::{Dialect, segments};
use crate::plan::{Forward, Kernel, Operation, Plan, Reduction, Storage, Tensor};
use crate::types::{Gradient, Normalization};

/// How threads are numbered, where the reduction does not say it.
pub(super) fn threads(plan: &Plan, dialect: Dialect) -> &'static str {
    match (plan.reduction, dialect) {
        (Reduction::Thread | Reduction::Subgroup | Reduction::Workgroup, _) => "",
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Naga) => {
            segments::THREADS_BY_SUBGROUP
        }
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Browser) => {
            segments::THREADS_BY_INDEX
        }
    }
}

pub(super) fn reduction(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => segments::REDUCE_THREAD,
        Reduction::Lanes => segments::REDUCE_LANES,
        Reduction::Adaptive => segments::REDUCE_ADAPTIVE,
        Reduction::Subgroup => segments::REDUCE_SUBGROUP,
        Reduction::Subgroups(_) => segments::REDUCE_SUBGROUPS,
        Reduction::Workgroup => segments::REDUCE_WORKGROUP,
    }
}

/// What the slots of a workgroup, or the slices of `backward_reduce_parameters`, do with their partial sums. The other kernels
/// update theirs in memory, or have one slot a workgroup.
pub(super) fn slots(plan: &Plan) -> &'static str {
    match plan.kernel {
        Kernel::BackwardCached | Kernel::BackwardReduceParameters if plan.combine_slots => {
            segments::SLOTS_TOGETHER
        }
        Kernel::BackwardCached | Kernel::BackwardReduceParameters => segments::SLOTS_APART,
        _ => "",
    }
}

/// Where the threads of a row get its first value from.
fn first_of_row(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => segments::FIRST_BY_THREAD,
        Reduction::Subgroup => segments::FIRST_BY_LANE,
        Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_) | Reduction::Workgroup => {
            segments::FIRST_BY_LOAD
        }
    }
}

/// What a row's threads do between reading it and writing it, or another tensor.
fn before_writing(plan: &Plan, forward: Forward) -> &'static str {
    let is_in_place = forward.x_in.is_some() || forward.residual_in.is_some();
    let is_loaded_by_all =
        plan.normalization == Normalization::Layer && first_of_row(plan) == segments::FIRST_BY_LOAD;
    if is_in_place && is_loaded_by_all { segments::INPUT_IN_PLACE } else { segments::INPUT_APART }
}

fn body(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::ForwardCached => segments::FORWARD_CACHED,
        Kernel::ForwardStreamed => segments::FORWARD_STREAMED,
        Kernel::ForwardSplitStatistics => segments::FORWARD_SPLIT_STATISTICS,
        Kernel::ForwardSplitApply => segments::FORWARD_SPLIT_APPLY,
        Kernel::BackwardCached => segments::BACKWARD_CACHED,
        Kernel::BackwardStreamed => segments::BACKWARD_STREAMED,
        Kernel::BackwardSplitSums => segments::BACKWARD_SPLIT_SUMS,
        Kernel::BackwardSplitApply => segments::BACKWARD_SPLIT_APPLY,
        Kernel::BackwardReduceParameters => segments::BACKWARD_REDUCE_PARAMETERS,
    }
}

/// What is done with the tensors, down to the kernel's body.
pub(super) fn operation(plan: &Plan) -> String {
    let text = &mut String::new();
    match plan.operation {
        Operation::Forward(forward) => forward_parts(text, plan, forward),
        Operation::Backward(backward) => {
            segment(text, segments::BACKWARD);
            affine(text, plan);
            gradient(text, Tensor::Dx, backward.dx);
            segment(text, segments::PARTIALS);
            let update =
                if backward.has_parameters() { segments::PARTIALS_UPDATE } else { segments::PARTIALS_NONE };
            segment(text, update);
            if plan.partial_cols > 0 {
                segment(text, segments::ROW_PARTIALS);
            }
            if matches!(plan.kernel, Kernel::BackwardStreamed | Kernel::BackwardSplitSums) {
                segment(text, segments::BACKWARD_WALK);
            }
            segment(text, segments::LARGE_DXHAT);
        }
        Operation::ReduceParameters(backward) => {
            segment(text, segments::PARTIALS);
            gradient(text, Tensor::Dgain, backward.dgain);
            gradient(text, Tensor::Dbias, backward.dbias);
        }
    }
    segment(text, body(plan.kernel));
    std::mem::take(text)
}

fn forward_parts(text: &mut String, plan: &Plan, forward: Forward) {
    if plan.kernel != Kernel::ForwardSplitApply {
        segment(text, if forward.residual { segments::INPUT_SUM } else { segments::INPUT_X });
    }
    if plan.kernel != Kernel::ForwardCached {
        segment(text, if forward.residual { segments::STORED_SUM } else { segments::STORED_X });
    }
    affine(text, plan);
    segment(text, if forward.statistics { segments::STATISTICS_STORE } else { segments::STATISTICS_NONE });
    segment(text, segments::FORWARD);
    let parts: &[&str] = match plan.kernel {
        Kernel::ForwardStreamed => &[segments::MOMENTS, segments::WALK, segments::NORMALISER],
        Kernel::ForwardSplitStatistics => &[segments::MOMENTS, segments::WALK, segments::ROW_PARTIALS],
        Kernel::ForwardSplitApply => {
            &[segments::MOMENTS, segments::ROW_PARTIALS, segments::MERGED, segments::NORMALISER]
        }
        _ => &[segments::CACHED, first_of_row(plan), before_writing(plan, forward)],
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// gain and bias as far as the operation has them, and along which axis.
fn affine(text: &mut String, plan: &Plan) {
    let factors = match plan.affine.is_zero_centered() {
        true => segments::AFFINE_ZERO_CENTERED_FACTORS,
        false => segments::AFFINE_FACTORS,
    };
    let has_bias = plan.affine.has_bias() && matches!(plan.operation, Operation::Forward(_));
    let parts: &[&str] = match (plan.affine.has_gain(), has_bias) {
        (_, true) => &[segments::ALONG_COLUMN, factors, segments::AFFINE_GAIN_BIAS],
        (true, false) => &[segments::ALONG_COLUMN, factors, segments::AFFINE_GAIN],
        (false, false) => &[segments::AFFINE_NONE],
    };
    parts.iter().for_each(|part| segment(text, part));
}

fn gradient(text: &mut String, tensor: Tensor, gradient: Option<Gradient>) {
    let what = match gradient {
        None => segments::GRADIENT_NONE,
        Some(Gradient::Overwrite) => segments::GRADIENT_OVERWRITE,
        Some(Gradient::Accumulate) => segments::GRADIENT_ACCUMULATE,
    };
    segment(text, &for_tensor(what, tensor, tensor));
}

pub(super) fn constants(plan: &Plan) -> Vec<(&'static str, String)> {
    let unsigned = |value: u32| format!("{value}u");
    let centred = || (plan.normalization == Normalization::Layer).to_string();
    let wide_range = matches!(plan.storage(Tensor::X), Storage::F32 | Storage::PackedBf16);
    // 2^log2_cols is the smallest power of two that is not below cols.
    let log2_cols = plan.cols.next_power_of_two().ilog2();
    let sum_scale = log2_cols + 1;
    let mean_factor = f64::from(1_u32 << sum_scale) / f64::from(plan.cols);
    let mut constants = vec![
        ("COLS", unsigned(plan.cols)),
        ("THREADS_PER_ROW", unsigned(plan.threads_per_row)),
        ("ROWS_PER_WORKGROUP", unsigned(plan.rows_per_workgroup)),
        ("CONTIGUOUS", unsigned(plan.vector_width)),
        ("PARTS", unsigned(plan.parts())),
        ("STEPS", unsigned(plan.steps)),
        ("CHUNKS", unsigned(plan.chunks)),
        ("SUM_SCALE", format!("0x1p-{sum_scale}f")),
        ("MEAN_FACTOR", format!("{mean_factor:?}")),
    ];
    if let Reduction::Subgroups(min) = plan.reduction {
        constants.push(("FEW_SUBGROUPS", unsigned(super::FEW_SUBGROUPS)));
        constants.push(("SUBGROUP_MIN", unsigned(min)));
    }
    if plan.storages.any(&[Storage::PackedF16, Storage::NativeF16]) && !plan.short {
        constants.push(("BRANCH", plan.branch.to_string()));
    }
    if plan.partial_cols > 0 {
        constants.push(("PARTIAL_COLS", unsigned(plan.partial_cols)));
    }
    match plan.operation {
        Operation::Forward(_) => {
            constants.push(("CENTRED", centred()));
            constants.push(("WIDE_RANGE", wide_range.to_string()));
            // docs/numerics.md derives it: scaled, sums of squares stay finite up to the largest float32.
            constants.push(("SMALL_SCALE", format!("0x1p-{}f", (132 + log2_cols) / 2)));
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            if matches!(plan.operation, Operation::Backward(_)) {
                // dy * gain of 16 bits each is in range, and so are their means and differences. The sums of
                // a chunk do not know whether dx is wanted.
                let has_wide_gain = plan.affine.has_gain() && plan.storage(Tensor::Gain) == Storage::F32;
                let counts = backward.dx.is_some() || plan.kernel == Kernel::BackwardSplitSums;
                constants.push(("COMPENSATE_LARGE", (plan.kernel != Kernel::BackwardCached).to_string()));
                constants.push(("WIDE_RANGE", (counts && (wide_range || has_wide_gain)).to_string()));
            }
            constants.push(("WITH_DGAIN", backward.dgain.is_some().to_string()));
            constants.push(("WITH_DBIAS", backward.dbias.is_some().to_string()));
            constants.push(("PARAMETER_GRADIENTS", unsigned(plan.parameter_gradients().max(1))));
        }
    }
    match plan.kernel {
        Kernel::ForwardCached => {
            // Below LARGE they do so unscaled.
            constants.push(("LARGE", format!("0x1p{}f", 62 - i64::from(sum_scale))));
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            let shows =
                plan.storage(Tensor::Y) == Storage::F32 || plan.tensors().contains(&Tensor::Statistics);
            constants.push(("COMPENSATE_SQUARES", shows.to_string()));
        }
        Kernel::ForwardStreamed => {
            constants.push(("BLOCK_ROWS", unsigned(plan.block_rows)));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::ForwardSplitStatistics => constants.push(("RUN_STEPS", unsigned(plan.run_steps()))),
        Kernel::BackwardCached => {
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            let with_dx = plan.tensors().contains(&Tensor::Dx);
            constants.push(("CENTRED", centred()));
            constants.push(("WITH_DX", with_dx.to_string()));
        }
        Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
            constants.push(("CENTRED", centred()));
            constants.push(("BLOCK_ROWS", unsigned(plan.block_rows)));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardSplitApply => constants.push(("CENTRED", centred())),
        Kernel::BackwardReduceParameters => constants.push(("BATCH", unsigned(Plan::REDUCE_BATCH))),
        Kernel::ForwardSplitApply => {}
    }
    constants
}
