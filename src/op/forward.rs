//! Forward: `y = gain * xhat + bias`, see `docs/numerics.md`.

use super::{Choice, Kernel, Role, Shape, Spec, Stored, Tensor, Uses, apart, combinations, place_of};

/// What forward is asked for beyond the [`Problem`](crate::Problem).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Whether a residual is added to x first and the sum written out.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: bool,
    /// Whether mean and rstd are written.
    pub statistics: bool,
    /// The output whose rows are x's own, if any: y or sum.
    pub x_in: Option<Tensor>,
    /// The output whose rows are the residual's own, if any: y or sum.
    pub residual_in: Option<Tensor>,
}

impl Forward {
    pub(crate) const CHOICES: [Choice<Self>; 4] = [
        Choice {
            labels: &["", "/residual"],
            get: |forward| usize::from(forward.residual),
            set: |forward, value| forward.residual = value > 0,
        },
        Choice {
            labels: &["", "/statistics"],
            get: |forward| usize::from(forward.statistics),
            set: |forward, value| forward.statistics = value > 0,
        },
        Choice {
            labels: &["", "/x_in_y", "/x_in_sum"],
            get: |forward| place_of(&OUTPUTS, &forward.x_in),
            set: |forward, value| forward.x_in = OUTPUTS[value],
        },
        Choice {
            labels: &["", "/residual_in_y", "/residual_in_sum"],
            get: |forward| place_of(&OUTPUTS, &forward.residual_in),
            set: |forward, value| forward.residual_in = OUTPUTS[value],
        },
    ];

    /// Whether the options go together: there is a sum with a residual alone, and one output cannot hold both inputs.
    pub(crate) fn go_together(&self) -> bool {
        let alone = self.residual || (self.residual_in.is_none() && self.x_in != Some(Tensor::Sum));
        alone && (self.x_in.is_none() || self.x_in != self.residual_in)
    }

    /// All options that go together.
    pub(crate) fn all() -> Vec<Self> {
        combinations(&Self::CHOICES).into_iter().filter(Self::go_together).collect()
    }
}

/// What an input may lie in.
const OUTPUTS: [Option<Tensor>; 3] = [None, Some(Tensor::Y), Some(Tensor::Sum)];

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
        stored: Stored::AsResidual,
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
        stored: Stored::AsY,
        uses: |asked| Uses::WRITE.only_if(asked.kernel != Kernel::ForwardSplitStatistics),
        lies_in: apart,
    },
    Spec {
        tensor: Tensor::Sum,
        role: Role::Output,
        shape: Shape::Rows,
        stored: Stored::AsResidual,
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
