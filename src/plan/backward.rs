//! The accesses and the rung of backward over whole rows, kept to what compilers hold in registers.

use super::{AdapterKind, Backward, Caps, RowShape, Rung, Stored, WIDE, ladder};
use crate::error::Error;
use crate::types::{Dtype, Gradient, Problem};

/// The widest accesses: with 8 float32 gfx1100 spills where xhat is made of y, gain and bias, or dbranch or
/// dgate of dx, and with 8 of any type where dx is read too, beside `gate_input`.
pub(super) const fn width(problem: &Problem, backward: &Backward, vector_width: u32, caps: &Caps) -> u32 {
    let makes_more = backward.from_y || backward.is_gated();
    let adds_gated = backward.gate_input.is_some() && matches!(backward.dx, Some(Gradient::Accumulate));
    let is_crowded = (makes_more && matches!(problem.dtype, Dtype::F32)) || adds_gated;
    let spills = is_crowded && matches!(caps.kind, AdapterKind::Gpu);
    match vector_width {
        8 | WIDE if spills => 4,
        width => width,
    }
}

/// The rung, of what the kernel over rows does of the call.
pub(super) fn rung(
    shape: &RowShape,
    backward: &Backward,
    problem: &Problem,
    caps: &Caps,
) -> Result<Rung, Error> {
    // The gradient of a gate takes less than half again of the trips that an adapter lets one make.
    let trips = if backward.dgate.is_some() { caps.max_loop_trips / 2 } else { caps.max_loop_trips };
    let rung = match problem.channels {
        Some(channels)
            if !(channels.shares_affine || (channels.is_by_column() && backward.has_parameters())) =>
        {
            ladder::backward_of_channels(shape, problem, caps)?
        }
        _ => ladder::backward(shape, backward, problem, &Caps { max_loop_trips: trips, ..*caps })?,
    };
    // Blocks of four spill on gfx1100 where dz is made of x, gain and bias, or xhat of y, gain and bias,
    // where dbranch or dgate is made of dx, and where 8 values are two accesses to rows of one type. Blocks
    // of two do where the gradient of gate_input is made beside dx.
    let makes_more =
        problem.activation.is_some() || backward.is_gated() || (backward.from_y && problem.affine.has_gain());
    let is_crowded = makes_more || (shape.vector_width == 8 && !Stored::is_one(problem));
    let most_block_rows = match caps.kind {
        AdapterKind::Gpu if backward.gate_input.is_some() => 1,
        AdapterKind::Gpu if is_crowded => 2,
        _ => rung.block_rows,
    };
    Ok(Rung { block_rows: rung.block_rows.min(most_block_rows), ..rung })
}
