//! The part of a problem that the ladder looks at, and how threads divide it.

use super::across::ACCESS_ROWS;
use super::{AdapterKind, Caps, Plan};
use crate::error::Error;
use crate::op::Stored;
use crate::types::Problem;

/// What [`Span::vector_width`](super::Span::vector_width) says of rows that all start on 32 bytes.
pub(crate) const WIDE: u32 = 16;

/// The part of a problem that the ladder looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowShape {
    pub(crate) cols: u32,
    pub(crate) vector_width: u32,
    /// Whether accesses are of words of 64 bits.
    pub(crate) wide: bool,
    /// Whether an access has a column of several rows.
    pub(crate) across: bool,
}

impl RowShape {
    /// `vector_width` is lowered to what dtype, cols and adapter allow. 0 is not: every width divides it.
    pub(crate) fn new(problem: &Problem, vector_width: u32, caps: &Caps) -> Result<Self, Error> {
        if ![1, 2, 4, 8, WIDE].contains(&vector_width) {
            return Err(Error::invalid("vector_width", vector_width, "1, 2, 4, 8 or 16"));
        }
        let dtype = Stored::narrowest(problem);
        let narrow = Plan::max_vector_width(dtype, problem.cols);
        let is_full = narrow == 16 / dtype.size() && problem.cols.is_multiple_of(2 * narrow);
        let has_words = caps.kind == AdapterKind::Software && caps.short_texts && caps.shader_int64;
        let wide = has_words && vector_width == WIDE && is_full && Stored::is_one(problem);
        let vector_width = if wide { 2 * narrow } else { vector_width.min(narrow) };
        Ok(Self { cols: problem.cols, vector_width, wide, across: false })
    }

    /// Of rows side by side.
    pub(crate) const fn across(problem: &Problem) -> Self {
        Self { cols: problem.cols, vector_width: ACCESS_ROWS, wide: false, across: true }
    }

    /// Columns that a thread covers in one step.
    pub(crate) const fn step_values(&self) -> u32 {
        if self.across { 1 } else { 4 * parts(self.vector_width) }
    }

    /// Steps of a row's `threads`.
    pub(crate) const fn steps(&self, threads: u32) -> u32 {
        self.cols.div_ceil(threads * self.step_values())
    }

    /// vec4s of a row that each of its `threads` has.
    pub(crate) const fn vec4(&self, threads: u32) -> u32 {
        self.steps(threads) * parts(self.vector_width)
    }

    /// Loads of a thread that reads its part of a row once.
    pub(crate) const fn loads(&self, threads: u32) -> u32 {
        let of_step = if self.across { 1 } else { self.step_values() / self.vector_width };
        self.steps(threads) * of_step
    }
}

/// vec4s that one access of `vector_width` elements moves.
pub(super) const fn parts(vector_width: u32) -> u32 {
    match vector_width {
        16 => 4,
        8 => 2,
        _ => 1,
    }
}

/// The largest power of two that divides `value` and is at most `most`, a power of two. Of 0 that is `most`.
pub(crate) const fn largest_common_power_of_two(most: u32, value: u64) -> u32 {
    let mut width = most;
    while !value.is_multiple_of(width as u64) {
        width /= 2;
    }
    width
}
