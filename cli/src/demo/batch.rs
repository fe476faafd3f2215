//! A batch large enough to show how fast memory is read and written: [8192, 1024] in f16.

use super::norm::{Check, Norm, Results, in_units, largest, worst};
use crate::failure::Failure;
use crate::random::Random;
use half::f16;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{Dtype, Problem, Real, Rows, RowsMut};

const ROWS: usize = 8192;
const COLS: u16 = 1024;

/// The most that passes, in units in the last place.
pub(super) const ALLOWED: f64 = 1.0;

/// What float32 arithmetic may be off, in units of 2^-24 of the largest value in the row (or the tensor).
pub(super) const FLOAT32_UNITS: f64 = 4.0;

/// The norm and its results in float64.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) norm: Norm<f16>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

impl Batch {
    /// The same values every time.
    pub(super) fn new() -> Result<Self, Failure> {
        let cols = usize::from(COLS);
        let mut random = Random(1);
        let x = values(&mut random, ROWS * cols, 0.5, 2.0);
        let dy = values(&mut random, ROWS * cols, 0.0, 1.0);
        let gain = values(&mut random, cols, 1.0, 0.1);
        let bias = values(&mut random, cols, 0.0, 0.1);
        let problem = Problem {
            cols: COLS.into(),
            dtype: Dtype::F16,
            parameter_dtype: Dtype::F16,
            ..Problem::default()
        };
        let mut batch = Self {
            norm: Norm { name: "f16 batch".to_owned(), problem, rows: ROWS, x, dy, gain, bias },
            y: vec![0.0; ROWS * cols],
            dx: vec![0.0; ROWS * cols],
            dgain: vec![0.0; cols],
            dbias: vec![0.0; cols],
        };
        batch.compute_reference()?;
        Ok(batch)
    }

    fn compute_reference(&mut self) -> Result<(), Failure> {
        let Norm { problem, rows, x, dy, gain, bias, .. } = &self.norm;
        let stride = problem.cols as usize;
        let x = Rows { data: x, stride };
        let inputs = ForwardInputs { gain: Some(gain), bias: Some(bias), ..ForwardInputs::new(*rows, x) };
        let outputs = ForwardOutputs::new(RowsMut { data: &mut self.y, stride });
        reference::forward(problem, &inputs, outputs)?;
        let inputs =
            BackwardInputs { gain: Some(gain), ..BackwardInputs::new(*rows, x, Rows { data: dy, stride }) };
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut self.dx, stride }),
            dgain: Some(&mut self.dgain),
            dbias: Some(&mut self.dbias),
            ..BackwardOutputs::default()
        };
        reference::backward(problem, &inputs, outputs)?;
        Ok(())
    }

    /// The worst error of each output in units in the last place of the correctly rounded float64 result,
    /// beyond what float32 arithmetic explains ([`FLOAT32_UNITS`]): next to 0, where terms have cancelled, a
    /// last place of f16 is smaller than that.
    pub(super) fn checks(&self, results: &Results<f16>) -> [Check; 4] {
        let cols = usize::from(COLS);
        let check = |output, units| Check { output, units, allowed: ALLOWED };
        [
            check("y", last_places(&results.y, &self.y, cols)),
            check("dx", last_places(&results.dx, &self.dx, cols)),
            check("dgain", last_places(&results.dgain, &self.dgain, cols)),
            check("dbias", last_places(&results.dbias, &self.dbias, cols)),
        ]
    }

    /// x read and y written.
    pub(super) fn forward_bytes(&self) -> usize {
        2 * size_of_val(&self.norm.x[..])
    }

    /// x and dy read and dx written.
    pub(super) fn backward_bytes(&self) -> usize {
        3 * size_of_val(&self.norm.x[..])
    }
}

/// The worst distance from the rounded expected values, in units in their last place, beyond
/// [`FLOAT32_UNITS`] of the largest value of each `chunk`.
fn last_places(got: &[f16], expected: &[f64], chunk: usize) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    worst(got.chunks(chunk).zip(expected.chunks(chunk)).map(|(got, expected)| {
        let explained = FLOAT32_UNITS * Dtype::F32.unit_roundoff() * largest(expected.iter().copied());
        worst(got.iter().zip(expected).map(|(got, expected)| {
            let rounded = <f16 as Real>::from_f64(*expected);
            let distance = (got.to_f64() - rounded.to_f64()).abs();
            // NaN stays: it must not look like no error.
            let beyond = if distance <= explained { 0.0 } else { distance - explained };
            in_units(beyond, last_place(rounded))
        }))
    }))
}

/// The distance to the next number away from 0.
fn last_place(value: f16) -> f64 {
    let magnitude = value.to_bits() & 0x7fff;
    f16::from_bits(magnitude + 1).to_f64() - f16::from_bits(magnitude).to_f64()
}

/// Values around a mean.
fn values(random: &mut Random, length: usize, mean: f32, deviation: f32) -> Vec<f16> {
    (0..length).map(|_| f16::from_f32(mean + deviation * random.normal())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_count_from_the_rounded_value() {
        let one = f16::ONE;
        let away = |places: u16| f16::from_bits(one.to_bits() + places);
        assert_eq!(last_places(&[one], &[1.0001], 1), 0.0, "1.0001 rounds to 1");
        assert!(
            (1.9..2.0).contains(&last_places(&[one, away(2)], &[1.0, 1.0], 2)),
            "two less a little float32"
        );
        assert_eq!(last_places(&[f16::NAN], &[1.0], 1), f64::INFINITY);
        assert_eq!(last_places(&[one], &[1.0, 1.0], 2), f64::INFINITY, "a value is missing");
        // Next to 0 the last place is 2^-24: a largest value of 1 in the row explains 4 of them.
        let places = |count: u16| last_places(&[one, f16::from_bits(count)], &[1.0, 0.0], 2);
        assert_eq!([places(3), places(4), places(6)], [0.0, 0.0, 2.0]);
        let other_row = [one, one, f16::from_bits(2), f16::from_bits(0)];
        assert_eq!(
            last_places(&other_row, &[1.0, 1.0, 0.0, 0.0], 2),
            f64::from(2),
            "the row's own largest counts"
        );
    }
}
