//! A layer norm to demonstrate, and what running it gives.

use std::time::Duration;
use wgpu_layernorm::{Problem, Statistics};

/// Rows with a gain, a bias and the gradient of the output; parameters are stored as the rows are.
#[derive(Debug)]
pub(super) struct Norm<T> {
    pub(super) name: String,
    pub(super) problem: Problem,
    pub(super) rows: usize,
    pub(super) x: Vec<T>,
    pub(super) dy: Vec<T>,
    pub(super) gain: Vec<T>,
    pub(super) bias: Vec<T>,
}

impl<T> Norm<T> {
    pub(super) fn shape(&self) -> String {
        format!("{} x {}", self.rows, self.problem.cols)
    }
}

/// The results of forward and backward.
#[derive(Debug)]
pub(super) struct Results<T> {
    pub(super) y: Vec<T>,
    pub(super) statistics: Vec<Statistics>,
    pub(super) dx: Vec<T>,
    pub(super) dgain: Vec<T>,
    pub(super) dbias: Vec<T>,
}

/// What one place made of a norm, and how long each direction took.
#[derive(Debug)]
pub(super) struct Measured<T> {
    pub(super) results: Results<T>,
    pub(super) forward: Duration,
    pub(super) backward: Duration,
}

/// An output's worst error, and the most that passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) output: &'static str,
    pub(super) units: f64,
    pub(super) allowed: f64,
}

/// The worst of errors. NaN is as wrong as can be.
pub(super) fn worst(errors: impl Iterator<Item = f64>) -> f64 {
    errors.fold(0.0, |worst: f64, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) })
}

/// The largest magnitude among values.
pub(super) fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

/// An error in a unit. No error is none, even where the unit is 0.
pub(super) fn in_units(error: f64, unit: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_the_worst_error() {
        assert_eq!(worst([1.0, f64::NAN, 2.0].into_iter()), f64::INFINITY);
        assert_eq!(worst([0.5, 0.25].into_iter()), 0.5);
        assert_eq!(in_units(0.0, 0.0), 0.0);
        assert_eq!(in_units(1e-30, 0.0), f64::INFINITY);
    }
}
