//! Which segments a plan's text is made of.

use super::Dialect;
use super::gates::{gradient_of_rows, output, summed_gate};
use super::text::{of_largest, segment};
use crate::plan::{Forward, Kernel, Operation, Plan, Reduction, Storage, Tensor};
use crate::types::{Activation, CodeDtype, GateOrder, Gradient, Normalization};

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

/// The segment that adds up over a row; and once more for the largest, where units of codes are found.
pub(super) fn reduction(plan: &Plan) -> Result<String, String> {
    let sum = match plan.reduction {
        Reduction::Thread => wgsl!("common/reduce_thread"),
        Reduction::Lanes => wgsl!("common/reduce_lanes"),
        Reduction::Adaptive => wgsl!("common/reduce_adaptive"),
        Reduction::Subgroup => wgsl!("common/reduce_subgroup"),
        Reduction::Subgroups(_) => wgsl!("common/reduce_subgroups"),
        Reduction::Workgroup => wgsl!("common/reduce_workgroup"),
    };
    match plan.operation {
        Operation::Forward(forward) if forward.finds_units() => Ok(sum.to_owned() + &of_largest(sum)?),
        _ => Ok(sum.to_owned()),
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
pub(super) fn first_of_row(plan: &Plan) -> &'static str {
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

/// A segment, by what a vec4 has values of.
fn of_access(plan: &Plan, of_columns: &'static str, of_rows: &'static str) -> &'static str {
    if plan.is_across() { of_rows } else { of_columns }
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
            segment(text, wgsl!("statistics/load"));
            if plan.tensors().contains(&Tensor::Gain) {
                segment(text, wgsl!("along/run"));
                segment(text, factors(plan));
            }
            source(text, plan);
            gradient_of_activation(text, plan);
            partials(text, plan);
            // Rows of partial sums are whole ones.
            segment(text, &wgsl!("partials/one_by_one").replace("row_start", "whole_row_start"));
        }
        Operation::Backward(backward) => {
            segment(text, wgsl!("common/backward"));
            segment(text, of_access(plan, wgsl!("statistics/load"), wgsl!("statistics/load_of_rows")));
            affine(text, plan);
            source(text, plan);
            gradient_of_activation(text, plan);
            let dz = match plan.dz_of_loaded() {
                true => wgsl!("activation/dz_of_loaded"),
                false => wgsl!("activation/dz_of_load"),
            };
            segment(text, dz);
            segment(text, row_factor(plan));
            let has_channel_sums = plan.leaves_channel_sums();
            let gradient = match backward.drow_gain {
                Some(_) => wgsl!("row_gain/gradient"),
                None if has_channel_sums => wgsl!("row_gain/channel_gradients"),
                None => wgsl!("row_gain/no_gradient"),
            };
            segment(text, gradient);
            gradient_of_rows(text, plan, backward);
            partials(text, plan);
            let has_column_sums = backward.has_parameters() && !has_channel_sums;
            if has_channel_sums || (has_column_sums && plan.is_across()) {
                segment(text, wgsl!("partials/one_by_one"));
            }
            let update = of_access(plan, wgsl!("partials/update"), wgsl!("partials/update_of_rows"));
            segment(text, if has_column_sums { update } else { wgsl!("partials/none") });
            if matches!(plan.kernel, Kernel::BackwardCached | Kernel::BackwardStreamed) {
                let counts = backward.clamped;
                segment(text, if counts { wgsl!("source/counted") } else { wgsl!("source/not_counted") });
            }
            sums_over_rows(plan).iter().for_each(|part| segment(text, part));
            if plan.partial_cols > 0 {
                segment(text, wgsl!("common/row_partials"));
            }
            if matches!(plan.kernel, Kernel::BackwardStreamed | Kernel::BackwardSplitSums) {
                segment(text, of_access(plan, wgsl!("walk_totals/of_columns"), wgsl!("walk_totals/of_rows")));
                segment(text, wgsl!("common/backward_walk"));
            }
            segment(text, wgsl!("common/large_dxhat"));
            let is_apply = plan.kernel == Kernel::BackwardSplitApply;
            if !(is_apply && backward.given_statistics) {
                segment(text, wgsl!("common/large_walk"));
            }
            if is_apply {
                let given = backward.given_statistics;
                segment(text, if given { wgsl!("input/no_xhat") } else { wgsl!("input/xhat") });
                let has_sums = backward.needs_row_sums();
                segment(text, if has_sums { wgsl!("row_sums/of_chunks") } else { wgsl!("row_sums/none") });
            }
        }
        Operation::ReduceParameters(backward) => {
            partials(text, plan);
            output(text, Tensor::Dgain, backward.dgain);
            output(text, Tensor::Dbias, backward.dbias);
            if backward.dgate.is_some() {
                output(text, Tensor::Dgate, backward.dgate);
            }
        }
    }
    segment(text, body(plan.kernel));
    std::mem::take(text)
}

fn forward_parts(text: &mut String, plan: &Plan, forward: Forward) {
    let stores_sum = forward.stores_sum();
    let is_gated = forward.gate_input == Some(GateOrder::Before);
    if forward.gate_input.is_some() && plan.tensors().contains(&Tensor::GateInput) {
        segment(text, wgsl!("activation/silu"));
    }
    if plan.kernel != Kernel::ForwardSplitApply || (forward.residual && !stores_sum) || is_gated {
        summed_gate(text, plan, forward);
        let input = match (forward.residual, is_gated) {
            (true, _) if forward.gate => wgsl!("input/gated_sum"),
            (true, _) => wgsl!("input/sum"),
            (false, true) => wgsl!("gate_input/before"),
            (false, false) => wgsl!("input/x"),
        };
        segment(text, input);
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
            (false, _) if is_gated => wgsl!("gate_input/stored"),
            (false, _) => wgsl!("input/stored_x"),
        };
        segment(text, stored);
    }
    affine(text, plan);
    let of_y: &[&str] = match plan.activation {
        _ if plan.tensors().contains(&Tensor::RowGain) => &[wgsl!("row_gain/y")],
        _ if forward.gate_input == Some(GateOrder::After)
            && plan.kernel != Kernel::ForwardSplitStatistics =>
        {
            &[wgsl!("gate_input/after_y")]
        }
        Activation::Silu if forward.makes_y() => &[wgsl!("activation/silu"), wgsl!("activation/silu_y")],
        _ => &[wgsl!("activation/none_y")],
    };
    of_y.iter().for_each(|part| segment(text, part));
    output(text, Tensor::Y, plan.writes(Tensor::Y).then_some(Gradient::Overwrite));
    codes(text, forward);
    let store = of_access(plan, wgsl!("statistics/store"), wgsl!("statistics/store_of_rows"));
    segment(text, if forward.statistics { store } else { wgsl!("statistics/none") });
    let running = forward.running_statistics && plan.kernel != Kernel::ForwardSplitStatistics;
    segment(text, if running { wgsl!("running/update") } else { wgsl!("running/none") });
    segment(text, wgsl!("common/forward"));
    let parts: &[&str] = match plan.kernel {
        Kernel::ForwardStreamed => &[
            wgsl!("common/moments"),
            wgsl!("common/walk"),
            wgsl!("common/normalizer"),
            wgsl!("normalizer/of_moments"),
        ],
        Kernel::ForwardSplitStatistics => {
            &[wgsl!("common/moments"), wgsl!("common/walk"), wgsl!("common/row_partials")]
        }
        Kernel::ForwardSplitApply if forward.given_statistics => {
            &[wgsl!("common/normalizer"), wgsl!("normalizer/given")]
        }
        Kernel::ForwardSplitApply => &[
            wgsl!("common/moments"),
            wgsl!("common/row_partials"),
            wgsl!("common/merged"),
            wgsl!("common/normalizer"),
            wgsl!("normalizer/of_moments"),
            wgsl!("normalizer/merged"),
        ],
        _ => &[wgsl!("common/cached"), first_of_row(plan), before_writing(plan, forward)],
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// What y becomes where it is written in codes.
fn codes(text: &mut String, forward: Forward) {
    let format = match forward.codes {
        None => return,
        Some(CodeDtype::Int8) => wgsl!("codes/int8"),
        Some(CodeDtype::Fp8E4m3) => wgsl!("codes/fp8"),
    };
    let unit = if forward.finds_units() { wgsl!("codes/unit_of_row") } else { wgsl!("codes/given_unit") };
    [format, wgsl!("codes/write"), unit].into_iter().for_each(|part| segment(text, part));
}

/// The sums over rows that a thread holds.
fn sums_over_rows(plan: &Plan) -> &'static [&'static str] {
    match plan.kernel {
        Kernel::BackwardCached if plan.sums_blocks() => &[wgsl!("sums/of_blocks")],
        Kernel::BackwardCached => &[wgsl!("sums/compensated"), wgsl!("sums/of_slot")],
        Kernel::BackwardSplitApply => &[wgsl!("sums/compensated")],
        _ => &[],
    }
}

/// Partial sums, and where they lie.
fn partials(text: &mut String, plan: &Plan) {
    let of_what = match plan.kernel {
        _ if plan.deals_heads() => wgsl!("partials/of_heads"),
        Kernel::BackwardReduceParameters if plan.channels.is_some() => wgsl!("partials/of_all_heads"),
        _ => wgsl!("partials/of_columns"),
    };
    segment(text, of_what);
    segment(text, wgsl!("common/partials"));
}

/// What xhat is multiplied by: the gain, or 1 + gain.
fn factors(plan: &Plan) -> &'static str {
    match plan.affine.is_zero_centered() {
        true => wgsl!("affine/zero_centered_factors"),
        false => wgsl!("affine/factors"),
    }
}

/// What xhat is made of in backward.
fn source(text: &mut String, plan: &Plan) {
    // Of given statistics dx has no part along xhat.
    if !plan.used().iter().any(|used| matches!(used.tensor, Tensor::X | Tensor::Y)) {
        return;
    }
    let (from_y, gate_input) = match plan.operation {
        Operation::Backward(backward) => (backward.from_y, backward.gate_input),
        _ => (false, None),
    };
    if gate_input.is_some() {
        segment(text, wgsl!("activation/silu"));
    }
    let parts: &[&str] = match (from_y, plan.affine.has_gain(), plan.affine.has_bias()) {
        (false, ..) if gate_input == Some(GateOrder::Before) => {
            &[wgsl!("gate_input/before_source"), wgsl!("source/by_statistics")]
        }
        (false, ..) => &[wgsl!("source/x"), wgsl!("source/by_statistics")],
        (true, false, _) => &[wgsl!("source/y"), wgsl!("source/shown_xhat")],
        (true, true, false) => {
            &[wgsl!("source/y_gain"), wgsl!("source/without_affine"), wgsl!("source/shown_xhat")]
        }
        (true, true, true) => {
            &[wgsl!("source/y_gain_bias"), wgsl!("source/without_affine"), wgsl!("source/shown_xhat")]
        }
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// What dy is to the rest of backward, which knows no activation.
fn gradient_of_activation(text: &mut String, plan: &Plan) {
    let z = match (plan.affine.has_gain(), plan.affine.has_bias()) {
        (false, _) => wgsl!("activation/z_none"),
        (true, false) => wgsl!("activation/z_gain"),
        (true, true) => wgsl!("activation/z_gain_bias"),
    };
    let is_gated = matches!(
        plan.operation,
        Operation::Backward(backward) if backward.gate_input == Some(GateOrder::After)
    );
    let parts: &[&str] = match plan.activation {
        _ if is_gated => &[wgsl!("gate_input/after_dz")],
        Activation::None => &[wgsl!("activation/none")],
        Activation::Silu if plan.dz_of_loaded() => &[wgsl!("activation/silu"), wgsl!("activation/silu_dz")],
        Activation::Silu => {
            &[z, wgsl!("activation/silu"), wgsl!("activation/silu_dz"), wgsl!("activation/dz_again")]
        }
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// gain and bias as far as the operation has them, and along which axis.
fn affine(text: &mut String, plan: &Plan) {
    let factors = factors(plan);
    let reads_any = match plan.operation {
        Operation::Forward(forward) => forward.makes_y(),
        _ => true,
    };
    let is_forward = matches!(plan.operation, Operation::Forward(_));
    let has_bias = plan.affine.has_bias() && (is_forward || plan.dz_of_loaded());
    let along = match plan.channels.filter(|channels| !channels.shares_affine) {
        Some(_) if plan.has_parameter_rows() => wgsl!("along/inner_row"),
        Some(_) => wgsl!("along/channel"),
        None => of_access(plan, wgsl!("along/column"), wgsl!("along/column_of_rows")),
    };
    let parts: &[&str] = match (plan.affine.has_gain() && reads_any, has_bias && reads_any) {
        // By row, as the last of dx.
        (true, _) if plan.has_channel_rows() => &[wgsl!("affine/none"), along, factors],
        (_, true) if is_forward => &[along, factors, wgsl!("affine/gain_bias")],
        (_, true) => &[along, factors, wgsl!("affine/gain_bias"), wgsl!("affine/times_gain")],
        (true, false) => &[along, factors, wgsl!("affine/gain"), wgsl!("affine/times_gain")],
        (false, false) => &[wgsl!("affine/none")],
    };
    parts.iter().for_each(|part| segment(text, part));
}

/// What dx of a row is multiplied by beside rstd.
fn row_factor(plan: &Plan) -> &'static str {
    let tensors = plan.tensors();
    if tensors.contains(&Tensor::RowGain) {
        wgsl!("row_gain/factor")
    } else if plan.has_channel_rows() && tensors.contains(&Tensor::Gain) {
        wgsl!("row_gain/channel_factor")
    } else {
        wgsl!("row_gain/no_factor")
    }
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
            let declared = text.split_once("alias Sums = ").expect("every body declares its sums").1;
            let bytes = match (declared.split_once(';').unwrap().0, variant.plan.is_across()) {
                ("TwoSums", false) => 8,
                ("TwoSums", true) => 32,
                ("ThreeSums" | "vec3<f32>" | "vec4<f32>", false) => 16,
                ("ThreeSums", true) => 48,
                (other, _) => panic!("sums of {other}"),
            };
            let Plan { kernel, .. } = variant.plan;
            assert_eq!(kernel.sums_bytes(variant.plan.is_across()), bytes, "{}", variant.plan.label());
        }
    }
}
