//! The CPU path: all arithmetic in float64, in two passes, one loop a formula.
//!
//! It is what every kernel is checked against, and what computes where there is no adapter. What is read is
//! what is stored (f32, f16 or bf16); what is written is rounded once, or not at all where an output is
//! `f64`.
//!
//! Rows go in blocks to all cores with the feature `rayon`, one after the other without it. The blocks and
//! the order of every sum depend on the shape alone, so results have the same bits for any number of threads.
//!
//! The formulas are those of Ba, Kiros, Hinton, "Layer Normalization" (2016), equation 3, and, without the
//! mean, of Zhang, Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4, with eps beneath the
//! root in both. L2 is that of [`Normalization::L2`].

pub(crate) mod activation;
mod backward;
mod codes;
mod forward;
mod rows;

pub use crate::types::{BackwardInputs, ForwardInputs};
#[cfg(feature = "verify")]
pub(crate) use activation::gate;
#[cfg(feature = "verify")]
pub(crate) use backward::xhat_of_y;
pub use backward::{BackwardOutputs, backward};
pub use codes::{Codes, codes};
pub use forward::{ForwardOutputs, forward};

use crate::{Dtype, Element, Error, Normalization, Problem, Real};
use std::borrow::Cow;

/// Blocks that the rows are cut into at most: enough to keep the cores evenly busy.
const MAX_BLOCKS: usize = 64;

/// The rows that go into each block (the last one may get fewer), at least `least`.
fn rows_per_block(rows: usize, least: usize) -> usize {
    rows.div_ceil(MAX_BLOCKS).max(least)
}

/// The results of `work` in the order of `items`, on all cores with the feature `rayon`.
fn map_in_order<I: Send, R: Send>(items: Vec<I>, work: impl Fn(I) -> R + Send + Sync) -> Vec<R> {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::{IntoParallelIterator, ParallelIterator};
        items.into_par_iter().map(work).collect()
    }
    #[cfg(not(feature = "rayon"))]
    {
        items.into_iter().map(work).collect()
    }
}

/// Mean and rstd of a row, the mean in two parts: values near the first one differ from it exactly, and those
/// of a constant row not at all, which counts where eps is 0.
#[derive(Clone, Copy)]
struct RowStatistics {
    /// `x[0]`; 0 for RMS norm and L2.
    shift: f64,
    /// What the mean is from there.
    offset: f64,
    rstd: f64,
    /// That of the columns; of L2 nobody asks.
    variance: f64,
    /// Whether rstd does not depend on x.
    is_linear: bool,
    /// Whether the mean does not either.
    is_given: bool,
}

impl RowStatistics {
    /// ```text
    /// mean = sum(x) / cols                                 (0 for RMS norm and L2)
    /// rstd = 1 / sqrt(sum((x - mean)^2) / cols + eps)      (0 where the root is below 2^-126)
    ///        1 / max(sqrt(sum(x^2)), eps)                  (L2; likewise)
    /// ```
    ///
    /// rstd is NaN for a row with a NaN or an infinity. Arithmetic alone would give 0 for an infinity in RMS
    /// norm, and with it a row that looks sound but for one value.
    fn new(problem: &Problem, x: &[f64]) -> Self {
        let shift = match problem.normalization {
            Normalization::Layer => x.first().copied().unwrap_or(0.0),
            Normalization::Rms | Normalization::L2 => 0.0,
        };
        let cols = f64::from(problem.cols);
        let offset = match problem.normalization {
            Normalization::Layer => sum_of(x, |x| x - shift) / cols,
            Normalization::Rms | Normalization::L2 => 0.0,
        };
        let squares = sum_of(x, |x| ((x - shift) - offset).powi(2));
        let eps = usable_eps(problem);
        let root = match problem.normalization {
            Normalization::Layer | Normalization::Rms => (squares / cols + eps).sqrt(),
            Normalization::L2 => squares.sqrt().max(eps),
        };
        let rstd = match squares.is_finite() {
            false => f64::NAN,
            true if root < f64::from(f32::MIN_POSITIVE) => 0.0,
            true => 1.0 / root,
        };
        // Below eps, L2 divides by a constant: y is linear in x.
        let is_linear = problem.normalization == Normalization::L2 && squares.sqrt() <= eps;
        Self { shift, offset, rstd, variance: squares / cols, is_linear, is_given: false }
    }

    /// From a mean and a variance that are given: `rstd = 1 / sqrt(variance + eps)`, NaN where either is not
    /// finite, or the variance below 0, and 0 where the root is below 2^-126.
    fn given(problem: &Problem, [mean, variance]: [f32; 2]) -> Self {
        let (mean, variance) = (f64::from(mean), f64::from(variance));
        let root = (variance + usable_eps(problem)).sqrt();
        let rstd = match mean.is_finite() && variance.is_finite() && variance >= 0.0 {
            false => f64::NAN,
            true if root < f64::from(f32::MIN_POSITIVE) => 0.0,
            true => 1.0 / root,
        };
        Self { shift: mean, offset: 0.0, rstd, variance, is_linear: true, is_given: true }
    }

    /// From the rstd that forward saved of a row whose xhat is known: there is no mean. With L2 it tells
    /// whether eps is in place of the norm, as it does on a device: 1 / eps is rounded, and the product with
    /// eps.
    fn saved(problem: &Problem, rstd: f32) -> Self {
        let is_by_eps = f64::from(rstd) * usable_eps(problem) >= 1.0 - 4.0 * Dtype::F32.unit_roundoff();
        let is_linear = problem.normalization == Normalization::L2 && is_by_eps;
        Self { shift: 0.0, offset: 0.0, rstd: rstd.into(), variance: 0.0, is_linear, is_given: false }
    }

    /// Of a row of values, or as they are given for it.
    fn of_row(problem: &Problem, x: &[f64], given: Option<[f32; 2]>) -> Self {
        given.map_or_else(|| Self::new(problem, x), |given| Self::given(problem, given))
    }

    fn mean(&self) -> f64 {
        self.shift + self.offset
    }

    fn xhat(&self, x: f64) -> f64 {
        ((x - self.shift) - self.offset) * self.rstd
    }
}

/// A subnormal eps counts as 0.
fn usable_eps(problem: &Problem) -> f64 {
    if problem.eps < f32::MIN_POSITIVE { 0.0 } else { f64::from(problem.eps) }
}

/// Mean and variance that are given for rows.
#[derive(Clone, Copy)]
struct GivenStatistics<'a> {
    mean: &'a [f32],
    variance: &'a [f32],
}

impl<'a> GivenStatistics<'a> {
    /// Those of both or neither, as many as rows.
    fn new(rows: usize, mean: Option<&'a [f32]>, variance: Option<&'a [f32]>) -> Result<Option<Self>, Error> {
        let (Some(mean), Some(variance)) = (mean, variance) else { return Ok(None) };
        check_length("mean", mean.len(), rows)?;
        check_length("variance", variance.len(), rows)?;
        Ok(Some(Self { mean, variance }))
    }

    fn of_row(&self, row: usize) -> [f32; 2] {
        [self.mean[row], self.variance[row]]
    }
}

/// The mean for layer norm; 0 for RMS norm and L2, whose formulas are those of layer norm with every mean
/// that comes from centering dropped.
fn mean_for_layer(problem: &Problem, row: &RowStatistics, values: &[f64]) -> f64 {
    match problem.normalization {
        _ if row.is_given => 0.0,
        Normalization::Layer => sum_of(values, |value| value) / f64::from(problem.cols),
        Normalization::Rms | Normalization::L2 => 0.0,
    }
}

/// What of a row's `dxhat * xhat` dx has no part of: the mean over the columns, or with L2 the sum.
fn mean_product(problem: &Problem, row: &RowStatistics, dxhat: &[f64], xhat: &[f64]) -> f64 {
    let sum = dot(dxhat, xhat);
    match problem.normalization {
        _ if row.is_given => 0.0,
        // What is not finite makes its row NaN here too.
        _ if row.is_linear && sum.is_finite() => 0.0,
        Normalization::Layer | Normalization::Rms => sum / f64::from(problem.cols),
        Normalization::L2 => sum,
    }
}

/// Partial sums of one sum: independent, so that they fill vector registers and hide the latency of an
/// addition.
const LANES: usize = 8;

/// `sum(term(value))`
fn sum_of(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut partial = [0.0; LANES];
    for chunk in chunks {
        for (partial, value) in partial.iter_mut().zip(chunk) {
            *partial += term(*value);
        }
    }
    partial.iter().sum::<f64>() + rest.iter().map(|value| term(*value)).sum::<f64>()
}

/// `sum(a * b)`
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut partial = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((partial, a), b) in partial.iter_mut().zip(a).zip(b) {
            *partial += a * b;
        }
    }
    partial.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// Factors or summands of the columns of rows: a value for each parameter.
pub(crate) struct OfColumns {
    problem: Problem,
    rows: usize,
    /// Whether they are a gate's, which may have a row for each sample where gain and bias have one.
    is_gate: bool,
    values: Vec<f64>,
}

impl OfColumns {
    fn new<P: Real>(
        problem: &Problem,
        rows: usize,
        given: Option<&[P]>,
        of: impl Fn(Option<f64>) -> f64,
    ) -> Self {
        Self::of_count(problem, rows, given, problem.parameters(), of)
    }

    fn of_count<P: Real>(
        problem: &Problem,
        rows: usize,
        given: Option<&[P]>,
        count: u32,
        of: impl Fn(Option<f64>) -> f64,
    ) -> Self {
        let places = 0..count as usize;
        let values = places.map(|place| of(given.map(|given| given[place].to_f64()))).collect();
        Self { problem: *problem, rows, is_gate: false, values }
    }

    /// The number of its value of a column of a row.
    fn parameter_of(&self, row: usize, column: usize) -> usize {
        match self.is_gate {
            true => self.problem.gate_of(self.rows, row, column),
            false => self.problem.parameter_of(self.rows, row, column),
        }
    }

    /// Adds the columns of a row to sums, one for each of its values.
    fn add_row(&self, row: usize, total: &mut [f64], values: impl Iterator<Item = f64>) {
        if self.problem.channels.is_none() {
            return add_to(total, values);
        }
        if !total.is_empty() {
            values.enumerate().for_each(|(column, value)| total[self.parameter_of(row, column)] += value);
        }
    }

    /// Those of a row.
    pub(crate) fn of_row(&self, row: usize) -> Cow<'_, [f64]> {
        match self.problem.channels {
            None => Cow::Borrowed(&self.values),
            Some(_) => {
                let columns = 0..self.problem.cols as usize;
                columns.map(|column| self.values[self.parameter_of(row, column)]).collect()
            }
        }
    }

    /// That of a column of a row.
    #[cfg(feature = "verify")]
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[self.parameter_of(row, column)]
    }
}

/// What xhat is multiplied by: 1 where there is no gain; 1 + gain, rounded to float32, where that is
/// zero-centered.
pub(crate) fn gains<P: Real>(problem: &Problem, rows: usize, gain: Option<&[P]>) -> OfColumns {
    let is_zero_centered = problem.affine.is_zero_centered();
    OfColumns::new(problem, rows, gain, |gain| match gain {
        Some(gain) if is_zero_centered => <f32 as Real>::from_f64(1.0 + gain).into(),
        Some(gain) => gain,
        None => 1.0,
    })
}

/// What is added: 0 where there is no bias.
pub(crate) fn biases<P: Real>(problem: &Problem, rows: usize, bias: Option<&[P]>) -> OfColumns {
    OfColumns::new(problem, rows, bias, |bias| bias.unwrap_or(0.0))
}

/// What x is multiplied by before a residual is added to it: 1 where there is no gate.
pub(crate) fn gates<P: Real>(problem: &Problem, rows: usize, gate: Option<&[P]>) -> OfColumns {
    let gates = OfColumns::of_count(problem, rows, gate, problem.gates(), |gate| gate.unwrap_or(1.0));
    OfColumns { is_gate: true, ..gates }
}

fn add_to(total: &mut [f64], values: impl Iterator<Item = f64>) {
    for (total, value) in total.iter_mut().zip(values) {
        *total += value;
    }
}

/// That the types of the call's slices are those of the problem, and the problem is in its documented ranges.
fn check_problem<T: Element, P: Element>(problem: &Problem) -> Result<(), Error> {
    problem.validate()?;
    check_type("type of x", T::DTYPE, problem.dtype)?;
    check_type("type of gain and bias", P::DTYPE, problem.parameter_dtype)
}

fn check_type(what: &str, has: Dtype, needs: Dtype) -> Result<(), Error> {
    if has == needs { Ok(()) } else { Err(Error::invalid(what, has, needs)) }
}

/// That a tensor that may be left out has room for so many values.
fn check_given<P>(buffer: &'static str, given: Option<&[P]>, needs: usize) -> Result<(), Error> {
    given.map_or(Ok(()), |given| check_length(buffer, given.len(), needs))
}

/// That a slice holds what the call reads or writes there.
fn check_length(buffer: &'static str, has: usize, needs: usize) -> Result<(), Error> {
    if has >= needs {
        return Ok(());
    }
    Err(Error::BufferTooSmall { buffer, has: has as u64, needs: needs as u64, unit: "elements" })
}
