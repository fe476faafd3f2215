//! The table of the tensors of forward.

use super::Forward;
use crate::op::table::{Role, Spec, Uses, apart};
use crate::op::{Kernel, Shape, Stored, Tensor};
use crate::types::GateOrder;

/// Rows that are too wide for registers are read twice, for units three times: x, or with a residual the sum
/// that the first walk has stored, or both summands where it has not.
pub(in crate::op) const TENSORS: &[Spec<Forward>] = &[
    Spec {
        tensor: Tensor::X,
        role: Role::Input { in_place: &[Tensor::Y, Tensor::Sum] },
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| match (asked.kernel, asked.options.stores_sum()) {
            (Kernel::ForwardStreamed, false) => Uses::times(asked.options.walks(), 0),
            (Kernel::ForwardSplitApply, true) => Uses::NONE,
            _ => Uses::READ,
        },
        lies_in: |forward| forward.x_in,
    },
    Spec {
        tensor: Tensor::Residual,
        role: Role::Input { in_place: &[Tensor::Y, Tensor::Sum] },
        shape: Shape::Rows,
        stored: Stored::AsResidual,
        uses: |asked| match (asked.kernel, asked.options.stores_sum()) {
            _ if !asked.options.residual => Uses::NONE,
            (Kernel::ForwardStreamed, false) => Uses::times(asked.options.walks(), 0),
            (Kernel::ForwardSplitApply, true) => Uses::NONE,
            _ => Uses::READ,
        },
        lies_in: |forward| forward.residual_in,
    },
    Spec {
        tensor: Tensor::GateInput,
        role: Role::INPUT,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| match (asked.options.gate_input, asked.kernel) {
            (None, _) | (Some(GateOrder::After), Kernel::ForwardSplitStatistics) => Uses::NONE,
            (Some(GateOrder::Before), Kernel::ForwardStreamed) => Uses::times(asked.options.walks(), 0),
            (Some(GateOrder::After), Kernel::ForwardStreamed) => Uses::times(asked.options.walks() - 1, 0),
            (Some(_), _) => Uses::READ,
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Gate,
        role: Role::INPUT,
        shape: Shape::Gates,
        stored: Stored::AsParameters,
        uses: |asked| match (asked.kernel, asked.options.stores_sum()) {
            (Kernel::ForwardSplitApply, true) => Uses::NONE,
            _ => Uses::READ.only_if(asked.options.gate),
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Gain,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| Uses::READ.only_if(asked.affine.has_gain() && asked.options.makes_y()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Bias,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| Uses::READ.only_if(asked.affine.has_bias() && asked.options.makes_y()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::RowGain,
        role: Role::INPUT,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| {
            Uses::READ.only_if(asked.options.row_gain && asked.kernel != Kernel::ForwardSplitStatistics)
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Mean,
        role: Role::INPUT,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| Uses::READ.only_if(asked.options.given_statistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Variance,
        role: Role::INPUT,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| Uses::READ.only_if(asked.options.given_statistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Y,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsY,
        uses: |asked| {
            Uses::WRITE.only_if(asked.kernel != Kernel::ForwardSplitStatistics && !asked.options.without_y)
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Sum,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsResidual,
        uses: |asked| match asked.kernel {
            _ if !asked.options.stores_sum() => Uses::NONE,
            Kernel::ForwardStreamed => Uses::times(asked.options.walks() - 1, 1),
            Kernel::ForwardSplitApply => Uses::READ,
            _ => Uses::WRITE,
        },
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Statistics,
        role: Role::Output,
        shape: Shape::Statistics,
        stored: Stored::F32,
        uses: |asked| Uses::WRITE.only_if(asked.options.statistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Codes,
        role: Role::Output,
        shape: Shape::Codes,
        stored: Stored::F32,
        uses: |asked| Uses::WRITE.only_if(asked.options.codes.is_some()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Units,
        role: Role::Output,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| Uses::WRITE.only_if(asked.options.finds_units()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::RunningMean,
        role: Role::Output,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| Uses::READ_AND_WRITE.only_if(asked.options.running_statistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::RunningVariance,
        role: Role::Output,
        shape: Shape::PerRow,
        stored: Stored::F32,
        uses: |asked| Uses::READ_AND_WRITE.only_if(asked.options.running_statistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::RowPartials,
        role: Role::Scratch,
        shape: Shape::RowPartials,
        stored: Stored::F32,
        uses: |asked| match asked.kernel {
            Kernel::ForwardSplitStatistics => Uses::WRITE,
            Kernel::ForwardSplitApply => Uses::READ.only_if(!asked.options.given_statistics),
            _ => Uses::NONE,
        },
        lies_in: apart,
    },
];
