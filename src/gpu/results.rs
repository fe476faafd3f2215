//! What the calls of a [`Context`] compute.

#[cfg(doc)]
use super::Context;
use crate::types::Statistics;

/// What [`Context::forward`] computes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ForwardResult<T> {
    /// `[rows, cols]`, one row after the other.
    pub y: Vec<T>,
    /// `x + residual`, `[rows, cols]`; with a residual.
    pub sum: Option<Vec<T>>,
    /// Mean and rstd of each row; empty by [`Context::forward_without_statistics`].
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Vec<Statistics>,
    /// Running mean of each row after the call; with those before it.
    pub running_mean: Option<Vec<f32>>,
    /// Running variance of each row, likewise.
    pub running_variance: Option<Vec<f32>>,
}

impl<T> ForwardResult<T> {
    /// y alone.
    #[must_use]
    pub const fn new(y: Vec<T>) -> Self {
        Self { y, sum: None, statistics: Vec::new(), running_mean: None, running_variance: None }
    }
}

/// What [`Context::backward`] computes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackwardResult<T, P> {
    /// `[rows, cols]`, one row after the other.
    #[doc(alias = "grad_input")]
    pub dx: Vec<T>,
    /// The gradient of `gate_input`, `[rows, cols]`, where there is one.
    #[doc(alias = "dz")]
    pub dgate_input: Option<Vec<T>>,
    /// `[cols]`, or a value for each channel, where the problem has a gain.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<Vec<P>>,
    /// `[cols]`, or a value for each channel, where the problem has a bias.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<Vec<P>>,
    /// The gradient of `row_gain`, `[rows]`, where there is one.
    pub drow_gain: Option<Vec<f32>>,
    /// From y: how many columns have a gain below the least, where it has a value for each column, there are
    /// rows, and dsum is not given.
    pub clamped: Option<u32>,
    /// The gradient of what a gate has multiplied, `[rows, cols]`, where there is one.
    pub dbranch: Option<Vec<T>>,
    /// The gradient of a gate, of its shape, where what it has multiplied is given.
    #[doc(alias = "grad_gate")]
    pub dgate: Option<Vec<P>>,
}

impl<T, P> BackwardResult<T, P> {
    /// dx alone.
    #[must_use]
    pub const fn new(dx: Vec<T>) -> Self {
        Self {
            dx,
            dgate_input: None,
            dgain: None,
            dbias: None,
            drow_gain: None,
            clamped: None,
            dbranch: None,
            dgate: None,
        }
    }
}
