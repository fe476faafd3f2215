//! What a result is judged by: the reference's values, and the sizes of the terms that they are made of.

use super::OutputError;
use super::gate::Gate;
use super::tolerance::{Expected, FLOAT32_UNITS, SMALLEST_NORMAL, activation_share, curvature};
use crate::error::Error;
use crate::plan::Tensor;
use crate::reference::{self, ForwardOutputs, OfColumns};
use crate::types::{
    Activation, Affine, Dtype, Element, ForwardInputs, LEAST_GAIN, Normalization, Problem, Real, Rows,
    RowsMut,
};

/// Errors of a call's outputs so far.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) errors: Vec<OutputError>,
    pub(crate) failures: Vec<String>,
}

impl Verdict {
    /// Judges a tensor of rows that are stored as `dtype`, `got` against `expected(row, column)`.
    pub(crate) fn judge<R: Real>(
        &mut self,
        tensor: Tensor,
        dtype: Dtype,
        cols: usize,
        got: &[R],
        expected: impl Fn(usize, usize) -> Expected,
    ) {
        let allowed = Expected::allowed(dtype);
        let mut worst = (0.0, 0);
        for (i, got) in got.iter().enumerate() {
            let units = expected(i / cols, i % cols).units(dtype, got.to_f64());
            if units > worst.0 {
                worst = (units, i);
            }
        }
        let (units, i) = worst;
        if units > allowed {
            let (row, column) = (i / cols, i % cols);
            self.failures.push(format!(
                "{}[{row}, {column}] is {:e}, expected {:e}: off by {units:.3} units, {allowed} allowed",
                tensor.name(),
                got[i].to_f64(),
                expected(row, column).value,
            ));
        }
        self.errors.push(OutputError { tensor, units, allowed });
    }
}

/// The size of the terms that values are made of, and the error that flushing subnormal numbers explains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowTerms {
    pub(crate) terms: f64,
    pub(crate) flushed: f64,
}

/// Those of y in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardTerms {
    pub(crate) row: RowTerms,
    pub(super) most_xhat: f64,
    /// What an activation multiplies terms by.
    share: f64,
}

impl ForwardTerms {
    /// Those of a column by itself: xhat is off by a share of the row's largest, whatever its own is.
    pub(crate) fn own(&self, gain: f64, bias: f64) -> f64 {
        self.share * (gain.abs() * self.most_xhat + bias.abs())
    }

    /// Those that a column is judged by.
    pub(crate) fn of_column(&self, gain: f64, bias: f64) -> f64 {
        self.own(gain, bias).max(self.row.terms)
    }
}

/// From what is normalized in a row, and its mean and rstd.
pub(crate) fn forward_terms<T: Real>(
    activation: Activation,
    row: &[T],
    [mean, rstd]: [f64; 2],
    gains: &[f64],
    biases: &[f64],
) -> ForwardTerms {
    let most_gain = gains.iter().map(|gain| gain.abs()).fold(0.0, f64::max);
    let xhat = |value: &T| ((value.to_f64() - mean) * rstd).abs();
    let share = activation_share(activation);
    let term = |((value, gain), bias): ((&T, &f64), &f64)| share * (gain.abs() * xhat(value) + bias.abs());
    ForwardTerms {
        row: RowTerms {
            terms: row.iter().zip(gains).zip(biases).map(term).fold(0.0, f64::max),
            flushed: SMALLEST_NORMAL * (1.0 + rstd * most_gain),
        },
        most_xhat: row.iter().map(xhat).fold(0.0, f64::max),
        share,
    }
}

/// What xhat of dense rows is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a, T> {
    /// x, by mean and rstd.
    X(&'a [T]),
    /// Itself.
    Xhat(&'a [f64]),
}

/// xhat as y shows it, of dense rows.
pub(crate) fn shown_xhat(problem: &Problem, y: &[f32], [gains, biases]: [&OfColumns; 2]) -> Vec<f64> {
    let cols = problem.cols as usize;
    let of_row = |(row, y): (usize, &[f32])| -> Vec<f64> {
        let (gains, biases) = (gains.of_row(row), biases.of_row(row));
        let of_column = |((y, gain), bias): ((&f32, &f64), &f64)| {
            reference::xhat_of_y(problem, y.to_f64(), *gain, *bias, LEAST_GAIN)
        };
        y.iter().zip(&*gains).zip(&*biases).map(of_column).collect()
    };
    y.chunks(cols).enumerate().flat_map(of_row).collect()
}

/// Sizes of the terms of gradients, from the formulas in float64.
#[derive(Debug)]
pub(crate) struct BackwardTerms {
    /// Of dx, row by row.
    pub(crate) rows: Vec<RowTerms>,
    /// The largest xhat of each row.
    pub(super) most_xhat: Vec<f64>,
    /// Of the gradient of a row's gain.
    pub(crate) row_gains: Vec<RowTerms>,
    /// Sums of magnitudes, column by column.
    pub(crate) dgain: Vec<f64>,
    pub(crate) dbias: Vec<f64>,
    pub(crate) most_rstd: f64,
    /// The largest xhat, which may multiply a dz that was flushed.
    most_lost: f64,
    /// Of a sum, each of which may be flushed.
    count: f64,
}

impl BackwardTerms {
    /// Of dense rows, from mean and rstd of each, which dx does not depend on where they were given.
    pub(crate) fn new<T: Element>(
        problem: &Problem,
        statistics: &[[f64; 2]],
        source: Source<'_, T>,
        dy: &[T],
        [gains, biases]: [&OfColumns; 2],
        are_given: bool,
        gate: Option<Gate<'_>>,
    ) -> Self {
        let rows = statistics.len();
        let cols = problem.cols as usize;
        let count = if problem.normalization == Normalization::L2 { 1.0 } else { cols as f64 };
        let mut terms = Self {
            rows: Vec::with_capacity(rows),
            most_xhat: Vec::with_capacity(rows),
            row_gains: Vec::with_capacity(rows),
            dgain: vec![0.0; problem.parameters() as usize],
            dbias: vec![0.0; problem.parameters() as usize],
            most_rstd: 0.0,
            most_lost: 0.0,
            count: (dy.len() as f64 / f64::from(problem.parameters())).max(1.0),
        };
        for (row, (dy, [mean, rstd])) in dy.chunks(cols).zip(statistics.iter().copied()).enumerate() {
            let (x, xhats): (&[T], Vec<f64>) = match source {
                Source::X(x) => {
                    let x = &x[row * cols..][..cols];
                    (x, x.iter().map(|x| (x.to_f64() - mean) * rstd).collect())
                }
                Source::Xhat(xhat) => (&[], xhat[row * cols..][..cols].to_vec()),
            };
            let of_row = OfRow::new(problem, [mean, rstd], x);
            let (gains, biases) = (gains.of_row(row), biases.of_row(row));
            let (mut mean_dxhat, mut mean_product) = (0.0, 0.0);
            let (mut most_dxhat, mut most_xhat) = (0.0_f64, 0.0_f64);
            let (mut all_products, mut all_dxhat) = (0.0_f64, 0.0_f64);
            let mut off = OffTerms::default();
            let mut most_gain = 0.0_f64;
            let (mut most_off_xhat, mut off_product) = (0.0_f64, 0.0);
            for (column, (xhat, dy)) in xhats.iter().copied().zip(dy).enumerate() {
                let (gain, bias) = (gains[column], biases[column]);
                let dz = problem.activation.gradient(gain * xhat + bias, dy.to_f64());
                let off_dz = of_row.off_dz(xhat, gain, bias, dy.to_f64());
                let [dz, off_dz] = gate.map_or([dz, off_dz], |gate| gate.dz(row, column, dy.to_f64()));
                let off_xhat = gate.map_or(0.0, |gate| gate.off_xhat(row, column, rstd));
                let dxhat = dz * gain;
                off.add((off_dz * gain).abs(), xhat, count);
                mean_dxhat += dxhat / cols as f64;
                mean_product += dxhat * xhat / count;
                most_dxhat = most_dxhat.max(dxhat.abs());
                most_xhat = most_xhat.max(xhat.abs());
                most_gain = most_gain.max(gain.abs());
                all_products += (dxhat * xhat).abs();
                all_dxhat += dxhat.abs();
                let parameter = problem.parameter_of(rows, row, column);
                most_off_xhat = most_off_xhat.max(off_xhat);
                off_product += (dxhat * off_xhat).abs() / count;
                terms.dgain[parameter] += (dz * xhat).abs() + off_dz * xhat.abs() + dz.abs() * off_xhat;
                terms.dbias[parameter] += dz.abs() + off_dz;
            }
            if are_given {
                (mean_dxhat, mean_product) = (0.0, 0.0);
                off = OffTerms { most: off.most, ..OffTerms::default() };
            }
            // dz, or dy as it is read, may be flushed before it is multiplied.
            let lost = most_gain * (2.0 + most_xhat * most_xhat);
            terms.rows.push(RowTerms {
                terms: rstd * (most_dxhat + mean_dxhat.abs() + most_xhat * mean_product.abs())
                    + rstd * (off.most + off.mean + most_xhat * off.mean_product)
                    + rstd * (most_off_xhat * mean_product.abs() + most_xhat * off_product),
                // What the two means lose, of which the second is multiplied by xhat.
                flushed: SMALLEST_NORMAL * (1.0 + rstd * (1.0 + most_xhat + lost) + rstd * rstd * most_dxhat),
            });
            terms.row_gains.push(RowTerms {
                // xhat is off by a share of the row's largest.
                terms: all_products.max(most_dxhat * most_xhat),
                flushed: SMALLEST_NORMAL * (cols as f64 * (1.0 + most_xhat) + all_dxhat * (1.0 + rstd)),
            });
            terms.most_xhat.push(most_xhat);
            terms.most_rstd = terms.most_rstd.max(rstd);
            terms.most_lost = terms.most_lost.max(most_xhat);
        }
        terms
    }

    /// Those of dgain, the same for all columns.
    pub(crate) fn dgain(&self) -> RowTerms {
        self.parameter(&self.dgain)
    }

    /// Those of dbias, the same for all columns.
    pub(crate) fn dbias(&self) -> RowTerms {
        self.parameter(&self.dbias)
    }

    fn parameter(&self, magnitudes: &[f64]) -> RowTerms {
        // A column with an infinity says nothing about the others, which would pass with any value.
        let most =
            |terms: &[f64]| terms.iter().copied().filter(|terms| terms.is_finite()).fold(0.0, f64::max);
        RowTerms {
            terms: most(magnitudes),
            flushed: SMALLEST_NORMAL
                * (self.count * (1.0 + self.most_lost) + most(&self.dbias) * (1.0 + self.most_rstd)),
        }
    }
}

/// How far dz may be off in a row, in units as terms are.
struct OfRow {
    activation: Activation,
    /// What xhat is off relative to: the row's largest, and what the rounded mean is made of.
    xhat_terms: f64,
}

impl OfRow {
    fn new<T: Real>(problem: &Problem, [mean, rstd]: [f64; 2], x: &[T]) -> Self {
        let activation = problem.activation;
        if !activation.is_some() {
            return Self { activation, xhat_terms: 0.0 };
        }
        let most =
            |of: &dyn Fn(f64) -> f64| x.iter().map(|x| of(x.to_f64()).abs()).fold(0.0, f64::max) * rstd;
        let of_mean = if problem.normalization == Normalization::Layer { most(&|x| x) } else { 0.0 };
        Self { activation, xhat_terms: most(&|x| x - mean) + of_mean }
    }

    /// The slope by itself, and by how far z is off.
    fn off_dz(&self, xhat: f64, gain: f64, bias: f64, dy: f64) -> f64 {
        if !self.activation.is_some() {
            return 0.0;
        }
        let of_z = gain.abs() * self.xhat_terms + bias.abs();
        let off = FLOAT32_UNITS * Dtype::F32.unit_roundoff() * of_z;
        let by_z = curvature(self.activation, gain * xhat + bias, off) * of_z;
        dy.abs() * (activation_share(self.activation) + by_z)
    }
}

/// How far dxhat of the columns of a row may be off, as dx has it.
#[derive(Default)]
struct OffTerms {
    most: f64,
    mean: f64,
    mean_product: f64,
}

impl OffTerms {
    fn add(&mut self, off: f64, xhat: f64, count: f64) {
        self.most = self.most.max(off);
        self.mean += off / count;
        self.mean_product += off * xhat.abs() / count;
    }
}

/// Mean and rstd of dense rows, by the reference: their own, or from mean and variance that are given.
pub(crate) fn statistics<T: Element>(
    problem: &Problem,
    rows: usize,
    x: &[T],
    given: Option<&[Vec<f32>; 2]>,
) -> Result<Vec<[f64; 2]>, Error> {
    let problem =
        Problem { affine: Affine::None, channels: None, parameter_dtype: problem.dtype, ..*problem };
    let problem = Problem { activation: Activation::None, ..problem };
    let stride = problem.cols as usize;
    let mut y = vec![0.0; x.len()];
    let mut statistics = vec![[0.0; 2]; rows];
    let [mean, variance] = [0, 1].map(|which| given.map(|given: &[Vec<f32>; 2]| &given[which][..]));
    let inputs =
        ForwardInputs::<T, T> { mean, variance, ..ForwardInputs::new(rows, Rows { data: x, stride }) };
    let outputs = ForwardOutputs {
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride })
    };
    reference::forward(&problem, &inputs, outputs)?;
    Ok(statistics)
}
