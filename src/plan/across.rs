//! Rows that lie side by side, with their columns apart: an access has a column of four rows.

use super::{Backward, Caps, Forward, Kernel, Operation, Plan, RowShape, Span, Strides, ladder};
use crate::error::Error;
use crate::types::{GateOrder, Problem};

/// Rows of an access.
pub(crate) const ACCESS_ROWS: u32 = 4;

/// The most rows of a dispatch, and of an outer row: together they are counted in float32.
pub(super) const MOST_ROWS: u64 = 1 << 23;

impl Span {
    /// Whether four rows from each multiple of four on lie side by side, on the bytes of an access, with
    /// their columns apart: so lie the positions of a sample whose channels come first, as far as there are
    /// at most 2^23 of them.
    #[must_use]
    pub const fn is_across(&self) -> bool {
        let access = ACCESS_ROWS as u64;
        let in_outer =
            0 < self.inner_rows && self.inner_rows <= MOST_ROWS && self.inner_rows.is_multiple_of(access);
        let is_aligned = self.offset.is_multiple_of(access)
            && self.column_stride.is_multiple_of(access)
            && self.outer_stride.is_multiple_of(access);
        in_outer && self.stride == 1 && self.column_stride > 1 && is_aligned && self.inner_columns == 0
    }
}

impl Operation {
    /// That there are kernels of rows side by side for it.
    fn check_across(&self, problem: &Problem) -> Result<(), Error> {
        let of_rows = match self {
            Self::Forward(forward) => {
                forward.row_gain || forward.given_statistics || forward.running_statistics
            }
            Self::Backward(backward) => {
                // Behind a gate each step would load the statistics of four rows again, one by one.
                let reloads = backward.gate_input == Some(GateOrder::After);
                backward.row_gain || backward.drow_gain.is_some() || backward.given_statistics || reloads
            }
            Self::ReduceParameters(_) => true,
        };
        let has_codes = matches!(self, Self::Forward(Forward { codes: Some(_), .. }));
        if problem.channels.is_none() && !of_rows && !has_codes && !self.is_gated() {
            return Ok(());
        }
        let has = match (problem.channels.is_some(), has_codes, self) {
            (.., Self::ReduceParameters(_)) => "sums over rows",
            (true, ..) => "channels",
            (_, true, _) => "codes",
            _ if self.is_gated() => "a gate",
            (.., Self::Backward(backward)) if backward.gate_input.is_some() => "a gate after the norm",
            _ => "a gain or statistics of each row",
        };
        let needs = "a forward or backward call without channels, gate and codes, and with nothing given or kept for each \
                     row";
        Err(Error::unsupported("the call over rows side by side", format!("one with {has}"), needs))
    }
}

impl Plan {
    /// That accesses to the last rows are of rows alone, and begin where they can.
    pub(super) fn check_across(&self, rows: u64, spans: &[Span]) -> Result<(), Error> {
        if !self.is_across() {
            return Ok(());
        }
        if !rows.is_multiple_of(self.access_rows().into()) {
            let needs = format!("a multiple of {ACCESS_ROWS}, as an access has, where rows lie side by side");
            return Err(Error::invalid("rows", rows, needs));
        }
        // Of few columns, statistics and gain look as rows do.
        let has_rows = |span: &&Span| span.cols == self.cols && span.cols > 2 && span.stride > 0;
        match spans.iter().filter(has_rows).find(|span| !span.is_across()) {
            None => Ok(()),
            Some(span) => {
                let has = format!("{span:?}");
                let needs =
                    "rows side by side, with columns apart, and all strides multiples of four but theirs";
                Err(Error::invalid("the span of a tensor of rows", has, needs))
            }
        }
    }

    /// The plan of a forward call whose tensors of rows all [lie across](Span::is_across): four rows share an
    /// access, whatever their columns. Other rows of that order are planned as [`Plan::forward`] does, and
    /// may differ in the last bits. [`Plan::dispatches`] takes multiples of four rows of it.
    ///
    /// # Errors
    /// As [`Plan::forward`]; [`Error::Unsupported`] too where gain and bias are those of channels, and where
    /// a gain or statistics of rows are given or kept, or y is written in codes.
    pub fn forward_across(problem: &Problem, forward: Forward, caps: &Caps) -> Result<Self, Error> {
        Self::across(problem, Operation::Forward(forward), Kernel::ForwardStreamed, caps)
    }

    /// The plan of such a backward call; [`Plan::reduce_parameters`] comes after it where dgain or dbias is
    /// wanted.
    ///
    /// # Errors
    /// As [`Plan::forward_across`].
    pub fn backward_across(problem: &Problem, backward: Backward, caps: &Caps) -> Result<Self, Error> {
        Self::across(problem, Operation::Backward(backward), Kernel::BackwardStreamed, caps)
    }

    fn across(problem: &Problem, operation: Operation, kernel: Kernel, caps: &Caps) -> Result<Self, Error> {
        problem.validate()?;
        operation.check_problem(problem)?;
        operation.check_across(problem)?;
        let caps = &caps.for_plans()?;
        let shape = &RowShape::across(problem);
        Self::with(problem, operation, shape, ladder::across(kernel, shape, caps)?, caps)
    }

    /// Whether an access has a column of four rows.
    #[must_use]
    pub const fn is_across(&self) -> bool {
        matches!(self.strides, Strides::Across)
    }

    /// Of so many rows of those that are left, whole accesses, as the next dispatch begins with one.
    pub(super) fn in_accesses(&self, rows: u64, left: u64) -> u64 {
        let access = u64::from(self.access_rows());
        if rows >= left { rows } else { rows / access * access }
    }

    /// Rows of an access.
    pub(crate) const fn access_rows(&self) -> u32 {
        if self.is_across() { ACCESS_ROWS } else { 1 }
    }

    /// Accesses that forward walks side by side: all of a block, so that a column's part of it is one run of
    /// memory. Rows with columns side by side are walked one after the other.
    pub(crate) const fn walked(&self) -> u32 {
        if self.is_across() { self.block_accesses() } else { 1 }
    }

    /// Accesses of a block of rows.
    pub(crate) const fn block_accesses(&self) -> u32 {
        self.block_rows / self.access_rows()
    }
}
