//! A call over the caller's buffers, and every rule that they must keep.

use super::buffers::{BackwardBuffers, CodeUnit, ForwardBuffers, Given};
use super::placed::Placed;
use crate::error::Error;
use crate::op::{Role, Shape};
use crate::plan::{ACCESS_ROWS, Backward, Forward, Numbers, Operation, Plan, Pooled, Span, Strides, Tensor};
use crate::types::{Channels, Gradient, Problem};

/// The tensors of a call, checked.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) rows: u64,
    channels: Option<Channels>,
    pub(super) numbers: Numbers,
    pub(super) tensors: Vec<Placed<'a>>,
    /// Scratch of the caller's.
    pub(super) scratch: Option<wgpu::BufferSlice<'a>>,
    /// Whether any two of them lie in one buffer.
    pub(super) shares_buffers: bool,
}

impl<'a> Call<'a> {
    pub(super) fn forward(problem: &Problem, buffers: &ForwardBuffers<'a>) -> Result<Self, Error> {
        buffers.check(problem)?;
        let operation = Operation::Forward(Forward::default());
        let call = Self::place(&operation, problem, buffers.rows, &buffers.given(), buffers.scratch)?;
        let with_running = |running| call.numbers.with_running(running, problem.cols);
        let numbers = buffers.running.as_ref().map_or(call.numbers, with_running);
        let numbers = match buffers.codes.map(|codes| codes.unit) {
            Some(CodeUnit::Given(unit)) => Numbers { unit, ..numbers },
            _ => numbers,
        };
        Ok(Self { numbers, ..call })
    }

    pub(super) fn backward(problem: &Problem, buffers: &BackwardBuffers<'a>) -> Result<Self, Error> {
        buffers.check(problem)?;
        let operation = Operation::Backward(Backward::default());
        let mut call = Self::place(&operation, problem, buffers.rows, &buffers.given(), buffers.scratch)?;
        if buffers.y.is_some() {
            call.numbers.unit = buffers.least_gain;
        }
        let in_dx = |input: &&Placed<'_>| call.lies_in(input.tensor) == Some(Tensor::Dx);
        if let Some(input) = call.tensors.iter().find(in_dx)
            && buffers.dx_gradient == Gradient::Accumulate
        {
            return Err(Error::Overlap {
                written: "dx",
                other: input.tensor.name(),
                why: "dx accumulates into its buffer, which then cannot be an input as well",
            });
        }
        Ok(call)
    }

    fn place(
        operation: &Operation,
        problem: &Problem,
        rows: u64,
        given: &[(Tensor, Option<Given<'a>>)],
        scratch: Option<wgpu::BufferSlice<'a>>,
    ) -> Result<Self, Error> {
        problem.check_rows(rows)?;
        let mut tensors = Vec::with_capacity(given.len());
        for (tensor, given) in given {
            if let (Some(given), Some(facts)) = (given, operation.facts(*tensor)) {
                tensors.push(Placed::new(*tensor, facts, problem, rows, given)?);
            }
        }
        let scratch_buffer = scratch.as_ref().map(wgpu::BufferSlice::buffer);
        let buffers = || tensors.iter().map(|placed| placed.buffer).chain(scratch_buffer).enumerate();
        let is_shared = |(i, buffer)| buffers().skip(i + 1).any(|(_, other)| other == buffer);
        let shares_buffers = buffers().any(is_shared) || scratch.is_some();
        let numbers = Numbers::new(problem.eps);
        let call = Self { rows, channels: problem.channels, numbers, tensors, scratch, shares_buffers };
        call.check_inner_rows()?;
        call.check_inner_columns()?;
        call.check_overlaps()?;
        Ok(match call.channels {
            Some(channels) if channels.is_blocked() && rows > 0 => {
                let tensors =
                    call.tensors.into_iter().map(|placed| placed.interleaved(channels.groups)).collect();
                Self { tensors, ..call }
            }
            _ => call,
        })
    }

    pub(super) fn get(&self, tensor: Tensor) -> Option<&Placed<'a>> {
        self.tensors.iter().find(|placed| placed.tensor == tensor)
    }

    /// The output whose rows are exactly those of `input`.
    pub(super) fn lies_in(&self, input: Tensor) -> Option<Tensor> {
        let input = self.get(input)?;
        let Role::Input { in_place } = input.facts.role else { return None };
        let is_same = |output: &&Tensor| self.get(**output).is_some_and(|output| output.same_rows(input));
        in_place.iter().find(is_same).copied()
    }

    /// Where the tensors lie.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.tensors.iter().map(Placed::span_of_call).collect()
    }

    /// The widest access that the rows and parameters among the tensors allow.
    pub(super) fn vector_width(&self) -> u32 {
        // The others are accessed one by one, and so are parameters of channels with several columns.
        let is_wide = |placed: &&Placed<'_>| match placed.facts.shape {
            Shape::Rows => true,
            Shape::Cols | Shape::Gates => self.channels.is_none_or(Channels::is_by_column),
            _ => false,
        };
        let rows_and_parameters = self.tensors.iter().filter(is_wide);
        rows_and_parameters.map(|placed| placed.span.vector_width()).min().unwrap_or(8)
    }

    /// What kernels need to be told of the tensors that have rows.
    pub(super) fn strides(&self) -> Strides {
        let has_rows = |placed: &&Placed<'_>| placed.facts.shape == Shape::Rows;
        let spans = || self.tensors.iter().filter(has_rows).map(|placed| &placed.span);
        // An access may reach beyond the last row, but not beyond its outer row.
        let is_whole = self.rows.is_multiple_of(u64::from(ACCESS_ROWS));
        if is_whole && spans().next().is_some() && spans().all(Span::is_across) {
            return Strides::Across;
        }
        // Codes have columns side by side whatever the others have.
        let of_codes = self.get(Tensor::Codes).map(|codes| &codes.span);
        spans().chain(of_codes).map(Strides::of).max().unwrap_or_default()
    }

    /// The columns of a row of dgain, dbias and dgate, where those have a row for each group, and any of them
    /// a stride of its own between them.
    pub(super) fn cols_of_sums(&self) -> Option<u32> {
        let sums = [Tensor::Dgain, Tensor::Dbias, Tensor::Dgate].into_iter();
        let sums = sums.filter_map(|tensor| self.get(tensor));
        sums.map(|placed| placed.span.inner_columns).find(|cols| *cols > 0)
    }

    /// What the buffers ask for of a plan's bindings.
    pub(super) fn pooled(&self, plan: &Plan) -> Pooled {
        // The device's scratch lies with nothing else.
        let buffer = |tensor| match self.get(tensor) {
            Some(placed) => Some(placed.buffer),
            None => self.scratch.as_ref().map(wgpu::BufferSlice::buffer),
        };
        plan.pooled_by(|a, b| buffer(a).is_some() && buffer(a) == buffer(b))
    }

    /// That outer rows have as many inner ones in all tensors that have any.
    fn check_inner_rows(&self) -> Result<(), Error> {
        let mut with_outer = self.tensors.iter().filter(|placed| placed.span.inner_rows > 0);
        let Some(first) = with_outer.next() else { return Ok(()) };
        let (inner_rows, name) = (first.span.inner_rows, first.tensor.name());
        if self.channels.is_some_and(Channels::is_blocked) {
            let needs = "none: rows of samples follow each other, with one stride between them";
            return Err(Error::invalid(format!("{name}.inner_rows"), inner_rows, needs));
        }
        if let Some(Channels { groups, .. }) =
            self.channels.filter(|channels| u64::from(channels.groups) != inner_rows)
        {
            let needs = Channels::rows_of_sample(groups);
            return Err(Error::invalid(format!("{name}.inner_rows"), inner_rows, needs));
        }
        match with_outer.find(|placed| placed.span.inner_rows != inner_rows) {
            None => Ok(()),
            Some(other) => {
                let field = format!("{}.inner_rows", other.tensor.name());
                Err(Error::invalid(field, other.span.inner_rows, format!("{inner_rows}, as {name} has")))
            }
        }
    }

    /// That outer columns have as many inner ones in all tensors that have any, and no rows are inside outer
    /// ones beside them.
    fn check_inner_columns(&self) -> Result<(), Error> {
        let has_rows = |placed: &&Placed<'_>| placed.facts.shape == Shape::Rows;
        let mut with_outer =
            self.tensors.iter().filter(has_rows).filter(|placed| placed.span.inner_columns > 0);
        let Some(first) = with_outer.next() else { return Ok(()) };
        let (inner_columns, name) = (first.span.inner_columns, first.tensor.name());
        if let Some(other) = self.tensors.iter().find(|placed| placed.span.inner_rows > 0) {
            let field = format!("{}.inner_rows", other.tensor.name());
            let needs = format!("none beside the outer columns of {name}");
            return Err(Error::invalid(field, other.span.inner_rows, needs));
        }
        if self.channels.is_some_and(|channels| channels.per_row() > 1) {
            let needs = "none where a group has several channels";
            return Err(Error::invalid(format!("{name}.inner_columns"), inner_columns, needs));
        }
        match with_outer.find(|placed| placed.span.inner_columns != inner_columns) {
            None => Ok(()),
            Some(other) => {
                let field = format!("{}.inner_columns", other.tensor.name());
                Err(Error::invalid(
                    field,
                    other.span.inner_columns,
                    format!("{inner_columns}, as {name} has"),
                ))
            }
        }
    }

    fn check_overlaps(&self) -> Result<(), Error> {
        let is_written = |placed: &Placed<'_>| placed.facts.role == Role::Output;
        for (i, first) in self.tensors.iter().enumerate() {
            for second in &self.tensors[i + 1..] {
                let (written, other) = if is_written(first) { (first, second) } else { (second, first) };
                if !is_written(written) || written.buffer != other.buffer {
                    continue;
                }
                if !written.overlaps(other) {
                    continue;
                }
                let why = match other.facts.role {
                    Role::Output => "both are written, and need to lie apart",
                    Role::Input { in_place } if !in_place.contains(&written.tensor) => {
                        "one is written while the other is read, and they need to lie apart"
                    }
                    Role::Input { .. } if written.same_rows(other) => continue,
                    Role::Input { .. } => {
                        "one is written while the other is read, and they need to lie apart or, in place, in exactly the \
                         same rows"
                    }
                    Role::Scratch => continue,
                };
                return Err(Error::Overlap {
                    written: written.tensor.name(),
                    other: other.tensor.name(),
                    why,
                });
            }
        }
        Ok(())
    }
}
