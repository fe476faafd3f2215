//! The running statistics of batch norm.

use super::{Normalization, Problem, by_name};
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// Which variance of a row running statistics keep. Rows are normalized by the biased one in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeptVariance {
    /// That of the population that the row is a sample of, `sum((x - mean)^2) / (cols - 1)`, as `PyTorch`
    /// does.
    #[default]
    Unbiased,
    /// The row's own, `sum((x - mean)^2) / cols`, as ONNX does.
    Biased,
}

impl KeptVariance {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Unbiased, Self::Biased];

    /// `unbiased` or `biased`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbiased => "unbiased",
            Self::Biased => "biased",
        }
    }

    /// What a row's own variance is multiplied by.
    pub(crate) fn factor(self, cols: u32) -> f64 {
        match self {
            Self::Unbiased => f64::from(cols) / (f64::from(cols) - 1.0),
            Self::Biased => 1.0,
        }
    }
}

impl fmt::Display for KeptVariance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeptVariance {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("kept variance", &Self::ALL, Self::name, name)
    }
}

/// Running averages of the mean and variance of each row over the calls of a training, which forward updates:
///
/// ```text
/// mean     = (1 - momentum) * mean + momentum * the row's
/// variance = (1 - momentum) * variance + momentum * the row's, of the kind that is kept
/// ```
///
/// in float32. For layer norm of rows that are the channels of a batch: batch norm (Ioffe, Szegedy 2015). A
/// row that is not finite makes both NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running<V> {
    /// `[rows]`.
    pub mean: V,
    /// `[rows]`.
    pub variance: V,
    /// The share of the new value, 0 to 1: `PyTorch`'s momentum. ONNX's is the share of the old one.
    pub momentum: f32,
    /// Which variance is kept.
    pub kept: KeptVariance,
}

impl<V> Running<V> {
    /// As `PyTorch` has them by default: momentum 0.1, and the unbiased variance.
    #[must_use]
    pub const fn new(mean: V, variance: V) -> Self {
        Self { mean, variance, momentum: 0.1, kept: KeptVariance::Unbiased }
    }

    fn check(&self, cols: u32) -> Result<(), Error> {
        check_kept(cols)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::invalid("running.momentum", self.momentum, "0 to 1"));
        }
        Ok(())
    }
}

/// That rows of so many columns have a variance to keep.
pub(crate) fn check_kept(cols: u32) -> Result<(), Error> {
    if cols < 2 {
        let needs = "2 or more with running statistics: one value has no variance";
        return Err(Error::invalid("cols", cols, needs));
    }
    Ok(())
}

/// That a call's statistics go together, and with the problem: mean and variance are given both or neither,
/// not beside running ones, and only for layer norm.
pub(crate) fn check_statistics<V>(
    problem: &Problem,
    [has_mean, has_variance]: [bool; 2],
    running: Option<&Running<V>>,
    has_residual: bool,
) -> Result<(), Error> {
    let unused = |buffer, why| Err(Error::UnusedBuffer { buffer, why });
    match (has_mean, has_variance) {
        (true, false) => return Err(Error::MissingBuffer { buffer: "variance", why: "a mean is given" }),
        (false, true) => return Err(Error::MissingBuffer { buffer: "mean", why: "a variance is given" }),
        _ => {}
    }
    if !has_mean && running.is_none() {
        return Ok(());
    }
    if problem.normalization != Normalization::Layer {
        let buffer = if has_mean { "mean" } else { "running.mean" };
        return unused(buffer, "the normalization has no mean: only layer norm has");
    }
    if has_mean && running.is_some() {
        return unused("running.mean", "the mean is given, and there is none to keep");
    }
    if has_residual {
        return unused("residual", "rows whose mean and variance are given or kept have none");
    }
    running.map_or(Ok(()), |running| running.check(problem.cols))
}
