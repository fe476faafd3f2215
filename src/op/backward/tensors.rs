//! The table of the tensors of backward.

use super::Backward;
use crate::op::table::{Asked, Role, Spec, Uses, apart};
use crate::op::{Kernel, Shape, Stored, Tensor};
use crate::types::Gradient;

/// Whether a kernel writes what whole rows have: dx and the gradient of a row's gain.
const fn finishes_rows(asked: &Asked<Backward>) -> bool {
    !matches!(
        asked.kernel,
        Kernel::BackwardSplitSums | Kernel::BackwardChannelSums | Kernel::BackwardReduceParameters
    )
}

/// Rows, read once, or twice where they are too wide for registers.
const fn walked(asked: &Asked<Backward>) -> Uses {
    match asked.kernel {
        Kernel::BackwardStreamed => Uses::times(2, 0),
        Kernel::BackwardReduceParameters => Uses::NONE,
        _ => Uses::READ,
    }
}

/// What xhat is made of.
const fn source(asked: &Asked<Backward>) -> Uses {
    match asked.kernel {
        // dx has no part along xhat.
        Kernel::BackwardSplitApply if asked.options.given_statistics && !asked.activation.is_some() => {
            Uses::NONE
        }
        // Once more for what rounding left in the mean.
        Kernel::BackwardChannelSums if asked.options.dgain.is_some() && !asked.options.from_y => {
            Uses::times(2, 0)
        }
        _ => walked(asked),
    }
}

const fn is_reduction(asked: &Asked<Backward>) -> bool {
    matches!(asked.kernel, Kernel::BackwardReduceParameters)
}

const fn gradient(wanted: Option<Gradient>) -> Uses {
    match wanted {
        None => Uses::NONE,
        Some(Gradient::Overwrite) => Uses::WRITE,
        Some(Gradient::Accumulate) => Uses::READ_AND_WRITE,
    }
}

/// The kernels over rows come first; what they leave of dgain and dbias in partial sums, the last one adds
/// up.
pub(in crate::op) const TENSORS: &[Spec<Backward>] = &[
    Spec {
        tensor: Tensor::X,
        role: Role::Input { in_place: &[Tensor::Dx] },
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| source(asked).only_if(!asked.options.from_y),
        lies_in: |backward| if backward.x_in_dx { Some(Tensor::Dx) } else { None },
    },
    Spec {
        tensor: Tensor::Dy,
        role: Role::Input { in_place: &[Tensor::Dx] },
        shape: Shape::Rows,
        stored: Stored::AsY,
        uses: walked,
        lies_in: |backward| if backward.dy_in_dx { Some(Tensor::Dx) } else { None },
    },
    Spec {
        tensor: Tensor::GateInput,
        role: Role::INPUT,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| walked(asked).only_if(asked.options.gate_input.is_some()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dsum,
        role: Role::INPUT,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| Uses::READ.only_if(asked.options.dsum && finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Branch,
        role: Role::INPUT,
        shape: Shape::Rows,
        stored: Stored::AsResidual,
        uses: |asked| Uses::READ.only_if(asked.options.dgate.is_some() && finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Gate,
        role: Role::INPUT,
        shape: Shape::Gates,
        stored: Stored::AsParameters,
        uses: |asked| Uses::READ.only_if(asked.options.dbranch && finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Gain,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| {
            let makes_xhat = asked.activation.is_some() || asked.options.from_y;
            let in_sums = asked.kernel != Kernel::BackwardChannelSums || makes_xhat;
            Uses::READ.only_if(asked.affine.has_gain() && !is_reduction(asked) && in_sums)
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Bias,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        // What the activation was applied to is made again, or xhat is made from y.
        uses: |asked| {
            let counts = asked.activation.is_some() || asked.options.from_y;
            let is_needed = counts && !is_reduction(asked);
            Uses::READ.only_if(asked.affine.has_bias() && is_needed)
        },
        lies_in: apart,
    },
    // After gain and bias, which it was made with.
    Spec {
        tensor: Tensor::Y,
        role: Role::Input { in_place: &[Tensor::Dx] },
        shape: Shape::Rows,
        stored: Stored::AsY,
        uses: |asked| source(asked).only_if(asked.options.from_y),
        lies_in: |backward| if backward.x_in_dx { Some(Tensor::Dx) } else { None },
    },
    Spec {
        tensor: Tensor::RowGain,
        role: Role::INPUT,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| {
            let Backward { dx, row_gain, .. } = asked.options;
            Uses::READ.only_if(row_gain && dx.is_some() && finishes_rows(asked))
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Statistics,
        role: Role::INPUT,
        shape: Shape::Statistics,
        stored: Stored::F32,
        uses: |asked| Uses::READ.only_if(!is_reduction(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dx,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| gradient(asked.options.dx).only_if(!is_reduction(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::DgateInput,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| {
            let Backward { gate_input, dx, .. } = asked.options;
            Uses::WRITE.only_if(gate_input.is_some() && dx.is_some() && finishes_rows(asked))
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dbranch,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsResidual,
        uses: |asked| Uses::WRITE.only_if(asked.options.dbranch && finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Partials,
        role: Role::Scratch,
        shape: Shape::Partials,
        stored: Stored::F32,
        uses: |asked| {
            let uses = if is_reduction(asked) { Uses::READ } else { Uses::READ_AND_WRITE };
            uses.only_if(asked.options.has_parameters())
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dgain,
        role: Role::Output,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| gradient(asked.options.dgain).only_if(is_reduction(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dbias,
        role: Role::Output,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| gradient(asked.options.dbias).only_if(is_reduction(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Dgate,
        role: Role::Output,
        shape: Shape::Gates,
        stored: Stored::AsParameters,
        uses: |asked| gradient(asked.options.dgate).only_if(is_reduction(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::DrowGain,
        role: Role::Output,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| gradient(asked.options.drow_gain).only_if(finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Clamped,
        role: Role::Output,
        shape: Shape::One,
        stored: Stored::F32,
        uses: |asked| Uses::WRITE.only_if(asked.options.clamped && finishes_rows(asked)),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::RowPartials,
        role: Role::Scratch,
        shape: Shape::RowPartials,
        stored: Stored::F32,
        uses: |asked| match asked.kernel {
            Kernel::BackwardSplitSums => Uses::WRITE,
            Kernel::BackwardSplitApply => Uses::READ.only_if(asked.options.needs_row_sums()),
            _ => Uses::NONE,
        },
        lies_in: apart,
    },
];
