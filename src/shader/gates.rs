//! The segments of gates, and of the gradients of rows behind them.

use super::parts::first_of_row;
use super::text::{for_tensor, segment};
use crate::plan::{Backward, Forward, Plan, Tensor};
use crate::types::{GateOrder, Gradient, Normalization};

/// Whether a gate stays in registers from row to row, as gain and bias do. Where all threads of a row load
/// its first value, they do so with the gate of the first.
pub(super) fn holds_gate(plan: &Plan) -> bool {
    let is_shared = !plan.has_gate_rows() || plan.deals_heads();
    let is_own =
        plan.normalization != Normalization::Layer || first_of_row(plan) != wgsl!("input/first_by_load");
    plan.hold_parameters && plan.tensors().contains(&Tensor::Gate) && is_shared && is_own
}

/// The gate of a sum that forward makes, if it has one.
pub(super) fn summed_gate(text: &mut String, plan: &Plan, forward: Forward) {
    if forward.gate {
        gate_row(text, plan);
        segment(text, if holds_gate(plan) { wgsl!("gate/held") } else { wgsl!("gate/read") });
    }
}

/// Which row of a gate a row has.
fn gate_row(text: &mut String, plan: &Plan) {
    segment(text, if plan.has_gate_rows() { wgsl!("gate/of_groups") } else { wgsl!("gate/of_columns") });
}

/// What becomes of the gradient of each row: dx, and what a gate makes of it, of either kind.
pub(super) fn gradient_of_rows(text: &mut String, plan: &Plan, backward: Backward) {
    let order = backward.gate_input.filter(|_| plan.writes(Tensor::DgateInput));
    // Behind a gate_input what is added to is what that makes of the gradient.
    let (total, written) = match backward.dx {
        dx if order.is_some() => (wgsl!("gradient/dx_alone"), dx),
        dx if backward.dsum => (wgsl!("gradient/dx_with_dsum"), dx),
        Some(Gradient::Accumulate) => (wgsl!("gradient/dx_accumulated"), Some(Gradient::Overwrite)),
        dx => (wgsl!("gradient/dx_alone"), dx),
    };
    segment(text, total);
    output(text, Tensor::Dx, written);
    match order {
        None if plan.tensors().contains(&Tensor::Dbranch) => {
            gate_row(text, plan);
            segment(text, wgsl!("gate/dbranch_dx"));
        }
        None => segment(text, wgsl!("gate_input/none_dx")),
        Some(GateOrder::Before) => segment(text, wgsl!("gate_input/before_dx")),
        Some(GateOrder::After) => {
            let z =
                if plan.affine.has_gain() { wgsl!("activation/z_gain") } else { wgsl!("activation/z_none") };
            segment(text, z);
            segment(text, wgsl!("gate_input/after_dx"));
        }
    }
    if plan.tensors().contains(&Tensor::Branch) {
        segment(text, wgsl!("gate/dgate"));
        segment(text, wgsl!("gate/large_dgate"));
    }
}

/// What becomes of an output, or of what it had before.
pub(super) fn output(text: &mut String, tensor: Tensor, gradient: Option<Gradient>) {
    let what = match gradient {
        None => wgsl!("gradient/none"),
        Some(Gradient::Overwrite) => wgsl!("gradient/overwrite"),
        Some(Gradient::Accumulate) => wgsl!("gradient/accumulate"),
    };
    segment(text, &for_tensor(what, tensor, tensor));
}
