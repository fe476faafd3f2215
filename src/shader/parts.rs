//! Which segments a plan's text is made of, and which constants are set in them.

use super::Dialect;
use super::text::{for_tensor, segment};
use crate::plan::{Forward, Kernel, Operation, Plan, Reduction, Storage, Tensor};
use crate::types::{Channels, Gradient, Normalization, Problem};

/// How threads are numbered, where the reduction does not say it.
pub(super) fn threads(plan: &Plan, dialect: Dialect) -> &'static str {
    match (plan.reduction, dialect) {
        (Reduction::Thread | Reduction::Subgroup | Reduction::Workgroup, _) => "",
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Naga) => {
            wgsl!("common/threads_by_subgroup")
        }
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Browser) => {
            wgsl!("common/threads_by_index")
        }
    }
}

pub(super) fn reduction(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => wgsl!("common/reduce_thread"),
        Reduction::Lanes => wgsl!("common/reduce_lanes"),
        Reduction::Adaptive => wgsl!("common/reduce_adaptive"),
        Reduction::Subgroup => wgsl!("common/reduce_subgroup"),
        Reduction::Subgroups(_) => wgsl!("common/reduce_subgroups"),
        Reduction::Workgroup => wgsl!("common/reduce_workgroup"),
    }
}

/// What the slots of a workgroup, or the slices of `backward_reduce_parameters`, do with their partial sums.
/// The other kernels update theirs in memory, or have one slot a workgroup.
pub(super) fn slots(plan: &Plan) -> &'static str {
    match plan.kernel {
        Kernel::BackwardCached | Kernel::BackwardReduceParameters if plan.combine_slots => {
            wgsl!("slots/together")
        }
        Kernel::BackwardCached | Kernel::BackwardReduceParameters => wgsl!("slots/apart"),
        _ => "",
    }
}

/// Where the threads of a row get its first value from.
fn first_of_row(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => wgsl!("input/first_by_thread"),
        Reduction::Subgroup => wgsl!("input/first_by_lane"),
        Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_) | Reduction::Workgroup => {
            wgsl!("input/first_by_load")
        }
    }
}

/// What a row's threads do between reading it and writing it, or another tensor.
fn before_writing(plan: &Plan, forward: Forward) -> &'static str {
    let is_in_place = forward.x_in.is_some() || forward.residual_in.is_some();
    let is_loaded_by_all =
        plan.normalization == Normalization::Layer && first_of_row(plan) == wgsl!("input/first_by_load");
    if is_in_place && is_loaded_by_all { wgsl!("input/in_place") } else { wgsl!("input/apart") }
}

fn body(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::ForwardCached => wgsl!("forward_cached"),
        Kernel::ForwardStreamed => wgsl!("forward_streamed"),
        Kernel::ForwardSplitStatistics => wgsl!("forward_split_statistics"),
        Kernel::ForwardSplitApply => wgsl!("forward_split_apply"),
        Kernel::BackwardCached => wgsl!("backward_cached"),
        Kernel::BackwardStreamed => wgsl!("backward_streamed"),
        Kernel::BackwardSplitSums => wgsl!("backward_split_sums"),
        Kernel::BackwardSplitApply => wgsl!("backward_split_apply"),
        Kernel::BackwardChannelSums => wgsl!("backward_channel_sums"),
        Kernel::BackwardReduceParameters => wgsl!("backward_reduce_parameters"),
    }
}

/// What is done with the tensors, down to the kernel's body.
pub(super) fn operation(plan: &Plan) -> String {
    let text = &mut String::new();
    match plan.operation {
        Operation::Forward(forward) => forward_parts(text, plan, forward),
        Operation::Backward(_) if plan.kernel == Kernel::BackwardChannelSums => {
            segment(text, wgsl!("common/backward"));
            segment(text, wgsl!("common/partials"));
            // Rows of partial sums are whole ones.
            segment(text, &wgsl!("partials/of_channels").replace("row_start", "whole_row_start"));
        }
        Operation::Backward(backward) => {
            segment(text, wgsl!("common/backward"));
            affine(text, plan);
            row_gain(text, plan);
            let has_channel_sums = plan.leaves_channel_sums();
            let gradient = match backward.drow_gain {
                Some(_) => wgsl!("row_gain/gradient"),
                None if has_channel_sums => wgsl!("row_gain/channel_gradients"),
                None => wgsl!("row_gain/no_gradient"),
            };
            segment(text, gradient);
            if backward.dsum {
                segment(text, wgsl!("gradient/dx_with_dsum"));
            } else {
                output(text, Tensor::Dx, backward.dx);
            }
            segment(text, wgsl!("common/partials"));
            if has_channel_sums {
                segment(text, wgsl!("partials/of_channels"));
            }
            let has_column_sums = backward.has_parameters() && !has_channel_sums;
            segment(text, if has_column_sums { wgsl!("partials/update") } else { wgsl!("partials/none") });
            if plan.partial_cols > 0 {
                segment(text, wgsl!("common/row_partials"));
            }
            if matches!(plan.kernel, Kernel::BackwardStreamed | Kernel::BackwardSplitSums) {
                segment(text, wgsl!("common/backward_walk"));
            }
            segment(text, wgsl!("common/large_dxhat"));
        }
        Operation::ReduceParameters(backward) => {
            segment(text, wgsl!("common/partials"));
            row_gain(text, plan);
            output(text, Tensor::Dgain, backward.dgain);
            output(text, Tensor::Dbias, backward.dbias);
        }
    }
    segment(text, body(plan.kernel));
    std::mem::take(text)
}

fn forward_parts(text: &mut String, plan: &Plan, forward: Forward) {
    let stores_sum = forward.stores_sum();
    if plan.kernel != Kernel::ForwardSplitApply || (forward.residual && !stores_sum) {
        segment(text, if forward.residual { wgsl!("input/sum") } else { wgsl!("input/x") });
        if forward.residual {
            let rounded = match plan.storage(Tensor::Sum) {
                Storage::F32 => wgsl!("input/sum_exact"),
                _ => wgsl!("input/sum_rounded"),
            };
            segment(text, rounded);
        }
        segment(text, if stores_sum { wgsl!("input/stores_sum") } else { wgsl!("input/stores_nothing") });
    }
    if plan.kernel != Kernel::ForwardCached {
        let stored = match (forward.residual, stores_sum) {
            (true, true) => wgsl!("input/stored_sum"),
            (true, false) => wgsl!("input/stored_summands"),
            (false, _) => wgsl!("input/stored_x"),
        };
        segment(text, stored);
    }
    affine(text, plan);
    row_gain(text, plan);
    output(text, Tensor::Y, plan.writes(Tensor::Y).then_some(Gradient::Overwrite));
    segment(text, if forward.statistics { wgsl!("statistics/store") } else { wgsl!("statistics/none") });
    segment(text, wgsl!("common/forward"));
    let parts: &[&str] = match plan.kernel {
        Kernel::ForwardStreamed => {
            &[wgsl!("common/moments"), wgsl!("common/walk"), wgsl!("common/normalizer")]
        }
        Kernel::ForwardSplitStatistics => {
            &[wgsl!("common/moments"), wgsl!("common/walk"), wgsl!("common/row_partials")]
        }
        Kernel::ForwardSplitApply => &[
            wgsl!("common/moments"),
            wgsl!("common/row_partials"),
            wgsl!("common/merged"),
            wgsl!("common/normalizer"),
        ],
        _ => &[wgsl!("common/cached"), first_of_row(plan), before_writing(plan, forward)],
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// gain and bias as far as the operation has them, and along which axis.
fn affine(text: &mut String, plan: &Plan) {
    let factors = match plan.affine.is_zero_centered() {
        true => wgsl!("affine/zero_centered_factors"),
        false => wgsl!("affine/factors"),
    };
    let reads_any = !matches!(plan.operation, Operation::Forward(Forward { without_y: true, .. }));
    let has_bias = plan.affine.has_bias() && matches!(plan.operation, Operation::Forward(_));
    let along = match plan.channels {
        Some(_) => wgsl!("along/channel"),
        None => wgsl!("along/column"),
    };
    let parts: &[&str] = match (plan.affine.has_gain() && reads_any, has_bias && reads_any) {
        // By row, as the last of dx.
        (true, _) if plan.has_channel_rows() => &[wgsl!("affine/none"), along, factors],
        (_, true) => &[along, factors, wgsl!("affine/gain_bias")],
        (true, false) => &[along, factors, wgsl!("affine/gain")],
        (false, false) => &[wgsl!("affine/none")],
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// What a row's y or dx is multiplied by at last.
fn row_gain(text: &mut String, plan: &Plan) {
    let tensors = plan.tensors();
    let gain = if tensors.contains(&Tensor::RowGain) {
        wgsl!("row_gain/gain")
    } else if plan.has_channel_rows() && tensors.contains(&Tensor::Gain) {
        wgsl!("row_gain/channel_gain")
    } else {
        wgsl!("row_gain/none")
    };
    segment(text, gain);
}

/// What becomes of an output, or of what it had before.
fn output(text: &mut String, tensor: Tensor, gradient: Option<Gradient>) {
    let what = match gradient {
        None => wgsl!("gradient/none"),
        Some(Gradient::Overwrite) => wgsl!("gradient/overwrite"),
        Some(Gradient::Accumulate) => wgsl!("gradient/accumulate"),
    };
    segment(text, &for_tensor(what, tensor, tensor));
}

/// What follows from the width of the rows.
fn of_width(plan: &Plan) -> Vec<(&'static str, String)> {
    let factors = plan.row_factors();
    vec![
        ("COLS", format!("{}u", plan.cols)),
        ("STEPS", format!("{}u", plan.steps)),
        ("CHUNKS", format!("{}u", plan.chunks)),
        ("SUM_SCALE", format!("{:?}", factors.sum_scale)),
        ("MEAN_FACTOR", format!("{:?}", factors.mean_factor)),
        ("VARIANCE_COUNT", format!("{:?}", factors.variance_count)),
    ]
}

/// Those constants that the text has from the uniform, and what stands for them: of a kernel that holds no
/// rows all that follow from their width, but for steps that are unrolled.
pub(super) fn from_uniform(plan: &Plan) -> Vec<(&'static str, &'static str)> {
    if plan.kernel.holds_rows() {
        return Vec::new();
    }
    let mut fields = vec![
        ("COLS", "params.cols"),
        ("CHUNKS", "params.chunks"),
        ("SUM_SCALE", "params.sum_scale"),
        ("MEAN_FACTOR", "params.mean_factor"),
    ];
    // Chunks have a size of their own, and a channel of one run is that run.
    if !plan.kernel.is_split() && !plan.is_one_run() {
        fields.push(("STEPS", "params.steps"));
    }
    if !plan.is_by_norm() {
        fields.push(("VARIANCE_COUNT", "f32(params.cols)"));
    }
    // A division by channels that the text does not know would be a third of the sums over channels.
    if reads_channels(plan).is_some_and(|channels| channels.is_one_a_step(plan.step_cols())) {
        fields.extend([("CHANNELS", "params.channels"), ("SPATIAL", "params.spatial")]);
    }
    fields
}

/// The channels whose gain and bias the text loads.
fn reads_channels(plan: &Plan) -> Option<Channels> {
    plan.channels.filter(|_| plan.tensors().contains(&Tensor::Gain))
}

pub(super) fn constants(plan: &Plan) -> Vec<(&'static str, String)> {
    let unsigned = |value: u32| format!("{value}u");
    let centered = || (plan.normalization == Normalization::Layer).to_string();
    let is_wide = |tensor| matches!(plan.storage(tensor), Storage::F32 | Storage::PackedBf16);
    let wide_range = match plan.operation {
        // What is normalized is the sum as stored.
        Operation::Forward(Forward { residual: true, .. }) => is_wide(Tensor::Sum),
        Operation::Forward(_) => is_wide(Tensor::X),
        Operation::Backward(_) | Operation::ReduceParameters(_) => is_wide(Tensor::X) || is_wide(Tensor::Dy),
    };
    let by_norm = plan.is_by_norm();
    let mut constants = vec![
        ("THREADS_PER_ROW", unsigned(plan.threads_per_row)),
        ("ROWS_PER_WORKGROUP", unsigned(plan.rows_per_workgroup)),
        ("CONTIGUOUS", unsigned(plan.vector_width)),
        ("PARTS", unsigned(plan.parts())),
        ("IS_FULL", plan.is_full().to_string()),
        ("BY_NORM", by_norm.to_string()),
        // Of a norm, what eps is the square of counts.
        ("ENOUGH_EPS", if by_norm { "1e-14" } else { "1e-28" }.to_owned()),
    ];
    constants.extend(of_width(plan));
    if let Some(channels) = reads_channels(plan) {
        constants.push(("SPATIAL", unsigned(channels.spatial)));
        constants.push(("IS_ONE_CHANNEL", channels.is_one_an_access(plan.vector_width).to_string()));
        constants.push(("IS_ONE_CHANNEL_A_STEP", channels.is_one_a_step(plan.step_cols()).to_string()));
        if matches!(plan.kernel, Kernel::ForwardSplitApply | Kernel::BackwardSplitApply) {
            constants.push(("RELOAD_PARAMETERS", "true".to_owned()));
        }
    }
    let of_sums = plan.channels.filter(|_| plan.kernel == Kernel::BackwardChannelSums);
    if let Some(channels) = reads_channels(plan).or(of_sums) {
        constants.push(("CHANNELS", unsigned(channels.per_row())));
    }
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
            constants.push(("CENTERED", centered()));
            constants.push(("WIDE_RANGE", wide_range.to_string()));
            // docs/numerics.md derives it: scaled, sums of squares stay finite up to the largest float32.
            let log2_cols =
                if plan.kernel.holds_rows() { plan.log2_cols() } else { Problem::MAX_COLS.ilog2() };
            constants.push(("SMALL_SCALE", format!("0x1p-{}f", (132 + log2_cols) / 2)));
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            let has_rows = matches!(plan.operation, Operation::Backward(_));
            if has_rows {
                constants.push(("IS_ONE_COLUMN", (plan.row_cols() == 1).to_string()));
            }
            if has_rows && plan.kernel != Kernel::BackwardChannelSums {
                // dy * gain of 16 bits each is in range, and so are their means and differences. The sums of
                // a chunk do not know what is wanted.
                let has_wide_gain = plan.affine.has_gain() && plan.storage(Tensor::Gain) == Storage::F32;
                let of_rows =
                    backward.dx.is_some() || backward.drow_gain.is_some() || plan.leaves_channel_sums();
                let counts = of_rows || plan.kernel == Kernel::BackwardSplitSums;
                let shows_residue = plan.storage(Tensor::Dx) == Storage::F32;
                constants.push(("SHOWS_RESIDUE", shows_residue.to_string()));
                constants.push(("COMPENSATE_LARGE", (plan.kernel != Kernel::BackwardCached).to_string()));
                constants.push(("WIDE_RANGE", (counts && (wide_range || has_wide_gain)).to_string()));
            }
            if let (Operation::Backward(_), Some(gradient)) = (plan.operation, backward.drow_gain) {
                let accumulates = gradient == Gradient::Accumulate;
                constants.push(("ACCUMULATES_DROW_GAIN", accumulates.to_string()));
            }
            let [mut dgain, mut dbias] = [backward.dgain, backward.dbias].map(|gradient| gradient.is_some());
            if has_rows && plan.kernel != Kernel::BackwardChannelSums {
                let with_row_sum = plan.leaves_channel_sums() && dbias;
                constants.push(("WITH_ROW_SUM", with_row_sum.to_string()));
            }
            if plan.leaves_channel_sums() {
                constants.push(("WITH_CHANNEL_DGAIN", dgain.to_string()));
                constants.push(("WITH_CHANNEL_DBIAS", dbias.to_string()));
                (dgain, dbias) = (false, false);
            }
            constants.push(("WITH_DGAIN", dgain.to_string()));
            constants.push(("WITH_DBIAS", dbias.to_string()));
            constants.push(("PARAMETER_GRADIENTS", unsigned(plan.parameter_gradients().max(1))));
        }
    }
    match plan.kernel {
        Kernel::ForwardCached => {
            // Below LARGE they do so unscaled.
            constants.push(("LARGE", format!("0x1p{}f", 61 - i64::from(plan.log2_cols()))));
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
            constants.push(("CENTERED", centered()));
            constants.push(("WITH_DX", with_dx.to_string()));
            constants.push(("WIDE_X", is_wide(Tensor::X).to_string()));
        }
        Kernel::BackwardChannelSums => {
            constants.push(("CENTERED", centered()));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
            constants.push(("CENTERED", centered()));
            constants.push(("BLOCK_ROWS", unsigned(plan.block_rows)));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardSplitApply => constants.push(("CENTERED", centered())),
        Kernel::BackwardReduceParameters => constants.push(("BATCH", unsigned(Plan::REDUCE_BATCH))),
        Kernel::ForwardSplitApply => {}
    }
    let uniform = from_uniform(plan);
    constants.retain(|(name, _)| !uniform.iter().any(|(constant, _)| constant == name));
    constants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::variants;

    /// The body says how many sums there are at a time; the plan counts their bytes of workgroup memory.
    #[test]
    fn the_sums_of_a_body_take_the_bytes_that_its_kernel_has() {
        for variant in variants::all().unwrap() {
            let text = operation(&variant.plan);
            let declared = text.split_once("alias Sums = vec").expect("every body declares its sums").1;
            let bytes = match &declared[..1] {
                "2" => 8,
                "3" | "4" => 16,
                other => panic!("sums of {other}"),
            };
            assert_eq!(variant.plan.kernel.sums_bytes(), bytes, "{}", variant.plan.label());
        }
    }
}
