//! A dense layer, what transformations make of it, and its normalized summed inputs.

use super::table::{Norm, Transformation};
use crate::compute::{Compute, size};
use crate::failure::Failure;
use crate::random::Random;
use wgpu_layernorm::reference::ForwardInputs;
use wgpu_layernorm::{Affine, Dtype, Normalization, Problem, Rows};

/// Few inputs, because the bound of weight norm grows with their root; no two sizes alike, so that an axis
/// taken for another shows.
pub(super) const CASES: usize = 64;
pub(super) const INPUTS: usize = 16;
pub(super) const UNITS: usize = 96;

/// What a re-scaling multiplies by. Not a power of two: that would leave every rounding as it is.
pub(super) const FACTOR: f64 = 3.0;

/// What is transformed where one unit or one case is.
const UNIT: usize = 11;
const CASE: usize = 7;

/// Of the norms that have a variance.
pub(super) const EPS: f32 = 1e-5;

/// Data `[cases, inputs]` and weights `[units, inputs]`, in float64; g of weight norm, one for each unit.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    data: Vec<f64>,
    weights: Vec<f64>,
    row_gain: Vec<f32>,
}

/// The normalized summed inputs of all cases, and what they are accurate to.
#[derive(Debug)]
pub(super) struct Normalized {
    /// `[cases, units]` or `[units, cases]`, always the same for a norm.
    pub(super) y: Vec<f64>,
    /// What float32 may have changed, relative to the size of y.
    pub(super) rounding: f64,
    /// The smallest variance (RMS norm: mean square) of a set; infinite for weight norm, whose eps is 0.
    pub(super) least_variance: f64,
}

impl Layer {
    /// The same values every time, all about normal with variance 1: so summed inputs have one of about
    /// [`INPUTS`].
    pub(super) fn new() -> Self {
        let mut random = Random(1);
        let mut values = |length: usize| (0..length).map(|_| f64::from(random.normal())).collect();
        let (data, weights) = (values(CASES * INPUTS), values(UNITS * INPUTS));
        // 0.5 to 2.5.
        let row_gain = (0..UNITS).map(|unit| 0.5 + unit as f32 * (2.0 / UNITS as f32)).collect();
        Self { data, weights, row_gain }
    }

    pub(super) fn transformed(&self, transformation: Transformation) -> Self {
        let mut layer = self.clone();
        let scale = |values: &mut [f64]| values.iter_mut().for_each(|value| *value *= FACTOR);
        let of = |index: usize| index * INPUTS..(index + 1) * INPUTS;
        // The same vector for all units, or for all cases, about as long as theirs.
        let mut random = Random(2);
        let center: Vec<f64> = (0..INPUTS).map(|_| f64::from(random.normal())).collect();
        let shift = |values: &mut [f64]| {
            values.iter_mut().zip(center.iter().cycle()).for_each(|(value, center)| *value += center);
        };
        match transformation {
            Transformation::Matrix => scale(&mut layer.weights),
            Transformation::MatrixCenter => shift(&mut layer.weights),
            Transformation::Unit => scale(&mut layer.weights[of(UNIT)]),
            Transformation::Data => scale(&mut layer.data),
            Transformation::DataCenter => shift(&mut layer.data),
            Transformation::Case => scale(&mut layer.data[of(CASE)]),
        }
        layer
    }

    /// Of weights that may be other than the layer's, `[units, cases]`.
    fn summed_inputs(&self, weights: &[f64]) -> Vec<f64> {
        let of = |weights: &[f64], case: &[f64]| weights.iter().zip(case).map(|(w, x)| w * x).sum();
        let units = weights.chunks(INPUTS);
        units.flat_map(|unit| self.data.chunks(INPUTS).map(move |case| of(unit, case))).collect()
    }

    pub(super) fn normalized(&self, compute: &Compute, norm: Norm) -> Result<Normalized, Failure> {
        let by_unit = || self.summed_inputs(&self.weights);
        let by_case = || transposed(&by_unit(), CASES);
        let (cases, units) = (size(CASES)?, size(UNITS)?);
        let plain = |problem: Problem| Problem { affine: Affine::None, eps: EPS, ..problem };
        match norm {
            Norm::Batch => Sets::new(by_unit(), plain(Problem::batch(units, cases, 1))).normalized(compute),
            Norm::Layer => Sets::new(by_case(), plain(Problem::layer(units))).normalized(compute),
            Norm::Rms => Sets::new(by_case(), plain(Problem::rms(units))).normalized(compute),
            Norm::Weight => {
                let mut sets = Sets::new(self.weights.clone(), Problem::l2(size(INPUTS)?));
                sets.row_gain = Some(&self.row_gain);
                let weights = sets.normalized(compute)?;
                let y = self.summed_inputs(&weights.y);
                // What errors of w, relative to its size, are at most relative to that of y.
                let growth = norm_of(&weights.y) * norm_of(&self.data) / norm_of(&y);
                Ok(Normalized { y, rounding: weights.rounding * growth, least_variance: f64::INFINITY })
            }
        }
    }
}

/// Rows to normalize, in float64.
#[derive(Debug)]
struct Sets<'a> {
    rows: Vec<f64>,
    problem: Problem,
    row_gain: Option<&'a [f32]>,
}

impl Sets<'_> {
    const fn new(rows: Vec<f64>, problem: Problem) -> Self {
        Self { rows, problem, row_gain: None }
    }

    fn normalized(&self, compute: &Compute) -> Result<Normalized, Failure> {
        let cols = self.problem.cols as usize;
        #[allow(clippy::cast_possible_truncation, reason = "it is rounded to float32 here")]
        let x: Vec<f32> = self.rows.iter().map(|value| *value as f32).collect();
        let inputs = ForwardInputs::<f32, f32> {
            row_gain: self.row_gain,
            ..ForwardInputs::new(x.len() / cols, Rows { data: &x, stride: cols })
        };
        let result = compute.forward(&self.problem, &inputs)?;
        let has_mean = self.problem.normalization == Normalization::Layer;
        let (mut rounding, mut least_variance) = (0.0_f64, f64::INFINITY);
        for row in self.rows.chunks(cols) {
            let moments = Moments::of(row, has_mean);
            rounding = rounding.max(moments.rounding(self.row_gain.is_some()));
            least_variance = least_variance.min(moments.variance);
        }
        Ok(Normalized { y: result.y.into_iter().map(f64::from).collect(), rounding, least_variance })
    }
}

/// Of a set, in float64; without a mean the variance is the mean square.
#[derive(Clone, Copy, Debug)]
struct Moments {
    mean_square: f64,
    variance: f64,
    /// The largest distance from the mean.
    largest: f64,
}

impl Moments {
    fn of(set: &[f64], has_mean: bool) -> Self {
        let count = set.len() as f64;
        let mean = if has_mean { set.iter().sum::<f64>() / count } else { 0.0 };
        let away = || set.iter().map(|value| (value - mean).abs());
        Self {
            mean_square: set.iter().map(|value| value.powi(2)).sum::<f64>() / count,
            variance: away().map(|away| away.powi(2)).sum::<f64>() / count,
            largest: away().fold(0.0, f64::max),
        }
    }

    /// What float32 changes of xhat at most, relative to its size: the rounding of the set, and the units of
    /// the largest xhat that a kernel is allowed for each value (docs/invariances.md).
    fn rounding(&self, has_row_gain: bool) -> f64 {
        let units = if has_row_gain { 5.0 } else { 4.0 };
        let of_inputs = (self.mean_square / self.variance).sqrt();
        let of_kernel = units * self.largest / self.variance.sqrt();
        Dtype::F32.unit_roundoff() * (of_inputs + of_kernel)
    }
}

fn transposed(values: &[f64], cols: usize) -> Vec<f64> {
    (0..cols).flat_map(|column| values.iter().skip(column).step_by(cols).copied()).collect()
}

/// The root of the sum of squares.
pub(super) fn norm_of(values: &[f64]) -> f64 {
    values.iter().map(|value| value.powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transformations_change_what_they_name() {
        let layer = Layer::new();
        let changed = |transformation| {
            let other = layer.transformed(transformation);
            let count = |a: &[f64], b: &[f64]| a.iter().zip(b).filter(|(a, b)| a != b).count();
            [count(&layer.data, &other.data), count(&layer.weights, &other.weights)]
        };
        let (data, weights) = (CASES * INPUTS, UNITS * INPUTS);
        assert_eq!(changed(Transformation::Matrix), [0, weights]);
        assert_eq!(changed(Transformation::MatrixCenter), [0, weights]);
        assert_eq!(changed(Transformation::Unit), [0, INPUTS]);
        assert_eq!(changed(Transformation::Data), [data, 0]);
        assert_eq!(changed(Transformation::DataCenter), [data, 0]);
        assert_eq!(changed(Transformation::Case), [INPUTS, 0]);
    }

    #[test]
    fn summed_inputs_are_products() {
        let layer = Layer::new();
        let by_unit = layer.summed_inputs(&layer.weights);
        let product: f64 =
            (0..INPUTS).map(|i| layer.weights[5 * INPUTS + i] * layer.data[3 * INPUTS + i]).sum();
        assert_eq!(by_unit[5 * CASES + 3], product);
        assert_eq!(transposed(&by_unit, CASES)[3 * UNITS + 5], product);
    }

    #[test]
    fn variances_are_far_above_eps() {
        for norm in [Norm::Batch, Norm::Layer, Norm::Rms] {
            let least = Layer::new().normalized(&Compute::Cpu, norm).unwrap().least_variance;
            assert!(least > 4.0, "{norm:?}: {least}");
        }
        let of_weights = Layer::new().normalized(&Compute::Cpu, Norm::Weight).unwrap();
        assert_eq!(of_weights.least_variance, f64::INFINITY);
    }

    #[test]
    fn rounding_grows_with_the_mean() {
        let near = Moments::of(&[-1.0, 1.0], true);
        assert_eq!((near.mean_square, near.variance, near.largest), (1.0, 1.0, 1.0));
        let unit = Dtype::F32.unit_roundoff();
        assert_eq!(near.rounding(false), 5.0 * unit);
        assert_eq!(near.rounding(true), 6.0 * unit);
        assert!((Moments::of(&[99.0, 101.0], true).rounding(false) / unit - 104.0).abs() < 0.01);
        assert_eq!(Moments::of(&[99.0, 99.0], false).rounding(false), 5.0 * unit);
    }
}
