//! The part of a problem that the ladder looks at, and how threads divide it.

use super::Plan;
use crate::error::Error;
use crate::types::Problem;

/// The part of a problem that the ladder looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) cols: u32,
    pub(crate) vector_width: u32,
}

impl Shape {
    /// `vector_width` is lowered to what dtype and cols allow. 0 is not: every width divides it.
    pub(super) fn new(problem: &Problem, vector_width: u32) -> Result<Self, Error> {
        if ![1, 2, 4, 8].contains(&vector_width) {
            return Err(Error::invalid("vector_width", vector_width, "1, 2, 4 or 8"));
        }
        let widest = Plan::max_vector_width(problem.dtype, problem.cols);
        Ok(Self { cols: problem.cols, vector_width: vector_width.min(widest) })
    }

    /// Columns that a thread covers in one step.
    pub(crate) const fn step_values(&self) -> u32 {
        if self.vector_width == 8 { 8 } else { 4 }
    }

    /// Steps of a row's `threads`.
    pub(crate) const fn steps(&self, threads: u32) -> u32 {
        self.cols.div_ceil(threads * self.step_values())
    }

    /// vec4s of a row that each of its `threads` has.
    pub(crate) const fn vec4(&self, threads: u32) -> u32 {
        self.steps(threads) * (self.step_values() / 4)
    }

    /// Loads of a thread that reads its part of a row once.
    pub(crate) const fn loads(&self, threads: u32) -> u32 {
        self.steps(threads) * (self.step_values() / self.vector_width)
    }
}

/// The largest power of two that divides `value` and is at most `most`, a power of two; every power divides 0.
pub(crate) const fn largest_common_power_of_two(most: u32, value: u64) -> u32 {
    let mut width = most;
    while !value.is_multiple_of(width as u64) {
        width /= 2;
    }
    width
}
