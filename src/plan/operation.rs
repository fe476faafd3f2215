//! What a plan is for.

use super::Tensor;
use crate::types::Gradient;

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

/// What backward is asked for beyond the [`Problem`](crate::Problem).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backward {
    /// Whether dx is wanted, and what happens to the value there.
    pub dx: Option<Gradient>,
    /// Whether dgain is wanted.
    pub dgain: Option<Gradient>,
    /// Whether dbias is wanted.
    pub dbias: Option<Gradient>,
    /// Whether dx is written over x.
    pub x_in_dx: bool,
    /// Whether dx is written over dy.
    pub dy_in_dx: bool,
}

impl Backward {
    /// Whether dgain or dbias is wanted.
    #[must_use]
    pub const fn has_parameters(&self) -> bool {
        self.dgain.is_some() || self.dbias.is_some()
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// y, and with it sum and statistics.
    Forward(Forward),
    /// dx and the partial sums of dgain and dbias.
    Backward(Backward),
    /// dgain and dbias from their partial sums.
    ReduceParameters(Backward),
}

impl Operation {
    /// `forward`, `forward_residual`, `backward`, `backward_dx` (without gradients of parameters) or `reduce_parameters`: of
    /// the first four, each reads and writes other tensors of rows.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forward(Forward { residual: false, .. }) => "forward",
            Self::Forward(_) => "forward_residual",
            Self::Backward(Backward { dgain: None, dbias: None, .. }) => "backward_dx",
            Self::Backward(_) => "backward",
            Self::ReduceParameters(_) => "reduce_parameters",
        }
    }
}
