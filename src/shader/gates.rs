//! The segments of gates, and of the gradients of rows behind them.

use super::parts::first_of_row;
use super::text::{for_tensor, segment};
use crate::plan::{Backward, Plan, Tensor};
use crate::types::{GateOrder, Gradient, Normalization};

/// Whether a gate stays in registers from row to row, as gain and bias do. Where all threads of a row load
/// its first value, they do so with the gate of the first.
pub(super) fn holds_gate(plan: &Plan) -> bool {
    let is_shared = !plan.has_gate_rows() || plan.deals_heads();
    let is_own =
        plan.normalization != Normalization::Layer || first_of_row(plan) != wgsl!("input/first_by_load");
    plan.hold_parameters && plan.tensors().contains(&Tensor::Gate) && is_shared && is_own
}

/// Which row of a gate a row has, where there is one.
pub(super) fn gate_row(text: &mut String, plan: &Plan) {
    if plan.tensors().contains(&Tensor::Gate) {
        let has_rows = plan.has_gate_rows();
        segment(text, if has_rows { wgsl!("gate/of_groups") } else { wgsl!("gate/of_columns") });
    }
}

/// What becomes of the gradient of each row: dx, and behind a gate what is made of it.
pub(super) fn gradient_of_rows(text: &mut String, plan: &Plan, backward: Backward) {
    let total = match backward.dx {
        _ if backward.dsum => wgsl!("gradient/dx_with_dsum"),
        Some(Gradient::Accumulate) => wgsl!("gradient/dx_accumulated"),
        _ => wgsl!("gradient/dx_alone"),
    };
    segment(text, total);
    let written = backward.dx.map(|_| Gradient::Overwrite);
    if plan.tensors().contains(&Tensor::Dbranch) {
        let itself = &mut String::new();
        output(itself, Tensor::Dx, written);
        *text += &itself.replace("fn write_dx(", "fn write_dx_itself(");
        gate_row(text, plan);
        segment(text, wgsl!("gate/dbranch"));
    } else {
        output(text, Tensor::Dx, written);
    }
    if plan.tensors().contains(&Tensor::Branch) {
        segment(text, wgsl!("gate/dgate"));
        segment(text, wgsl!("gate/large_dgate"));
    }
}

/// What the gate makes of dx, and the gradient of its input.
pub(super) fn gated_dx(text: &mut String, plan: &Plan, order: GateOrder, dx: Option<Gradient>) {
    let ungated = &mut String::new();
    output(ungated, Tensor::Dx, dx);
    segment(text, &ungated.replace("write_dx(", "write_ungated_dx("));
    match order {
        GateOrder::Before => segment(text, wgsl!("gate_input/before_dx")),
        GateOrder::After => {
            let z =
                if plan.affine.has_gain() { wgsl!("activation/z_gain") } else { wgsl!("activation/z_none") };
            segment(text, z);
            segment(text, wgsl!("gate_input/after_dx"));
        }
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
