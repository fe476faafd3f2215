//! Forward: `y = gain * xhat + bias`, see `docs/numerics.md`.

use super::{Kernel, Role, Shape, Spec, Stored, Tensor, Uses, apart};

/// What forward is asked for beyond the [`Problem`](crate::Problem).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Whether a residual is added to x first and the sum written out.
    pub residual: bool,
    /// Whether mean and rstd are written.
    pub statistics: bool,
    /// The output whose rows are x's own, if any: y or sum.
    pub x_in: Option<Tensor>,
    /// The output whose rows are the residual's own, if any: y or sum.
    pub residual_in: Option<Tensor>,
}

impl Forward {
    pub(super) fn named(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("residual", self.residual),
            ("statistics", self.statistics),
            ("x_in_y", self.x_in == Some(Tensor::Y)),
            ("x_in_sum", self.x_in == Some(Tensor::Sum)),
            ("residual_in_y", self.residual_in == Some(Tensor::Y)),
            ("residual_in_sum", self.residual_in == Some(Tensor::Sum)),
        ]
    }
}

/// Rows that are too wide for registers are read twice: x, or with a residual the sum that the first walk has stored.
pub(super) const TENSORS: &[Spec<Forward>] = &[
    Spec {
        tensor: Tensor::X,
        role: Role::Input { in_place: &[Tensor::Y, Tensor::Sum] },
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| match (asked.kernel, asked.options.residual) {
            (Kernel::ForwardStreamed, false) => Uses::times(2, 0),
            (Kernel::ForwardSplitApply, true) => Uses::NONE,
            _ => Uses::READ,
        },
        lies_in: |forward| forward.x_in,
    },
    Spec {
        tensor: Tensor::Residual,
        role: Role::Input { in_place: &[Tensor::Y, Tensor::Sum] },
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| Uses::READ.only_if(asked.options.residual && asked.kernel != Kernel::ForwardSplitApply),
        lies_in: |forward| forward.residual_in,
    },
    Spec {
        tensor: Tensor::Gain,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| Uses::READ.only_if(asked.affine.has_gain()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Bias,
        role: Role::INPUT,
        shape: Shape::Cols,
        stored: Stored::AsParameters,
        uses: |asked| Uses::READ.only_if(asked.affine.has_bias()),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Y,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| Uses::WRITE.only_if(asked.kernel != Kernel::ForwardSplitStatistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Sum,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsRows,
        uses: |asked| match asked.kernel {
            _ if !asked.options.residual => Uses::NONE,
            Kernel::ForwardStreamed => Uses::READ_AND_WRITE,
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
        tensor: Tensor::RowPartials,
        role: Role::Scratch,
        shape: Shape::RowPartials,
        stored: Stored::F32,
        uses: |asked| match asked.kernel {
            Kernel::ForwardSplitStatistics => Uses::WRITE,
            Kernel::ForwardSplitApply => Uses::READ,
            _ => Uses::NONE,
        },
        lies_in: apart,
    },
];
