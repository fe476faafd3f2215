//! A call over the caller's buffers, and every rule that they must keep.

use super::buffers::{BackwardBuffers, CodeUnit, ForwardBuffers, Given, Place, check_usage};
use super::spans;
use crate::error::Error;
use crate::op::{Facts, Role, Shape};
use crate::plan::{ACCESS_ROWS, Backward, Forward, Numbers, Operation, Plan, Pooled, Span, Strides, Tensor};
use crate::types::{Channels, Gradient, Problem};

/// A tensor of a call: where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) tensor: Tensor,
    facts: Facts,
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) span: Span,
    /// Rows of the tensor in the sense of `span`: 1 for gain and bias.
    pub(super) rows: u64,
    /// Whether the last column lies first: statistics of which rstd comes before mean.
    pub(super) is_reversed: bool,
}

impl<'a> Placed<'a> {
    /// The tensor as it lies in its buffer, if it can lie there.
    fn new(
        tensor: Tensor,
        facts: Facts,
        problem: &Problem,
        rows: u64,
        given: &Given<'a>,
    ) -> Result<Self, Error> {
        let Given { place, strides, rstd } = *given;
        let element_bytes = facts.stored.dtype(problem).size();
        let cols = problem.cols;
        let name = tensor.name();
        let buffer = place.buffer;
        let placed = |span, rows| Self { tensor, facts, buffer, span, rows, is_reversed: false };
        let span = |offset, stride, cols| Span { offset, stride, cols, element_bytes, ..Span::default() };
        if let (Shape::Statistics, Some(rstd)) = (facts.shape, rstd) {
            let column = |name, place: &Place<'a>| {
                let span = span(place.offset(name, element_bytes)?, 1, 1);
                let placed = Self { buffer: place.buffer, ..placed(span, rows) };
                placed.check(name, place)?;
                Ok(placed)
            };
            return Self::apart(&column("mean", &place)?, &column("rstd", &rstd)?);
        }
        if facts.shape == Shape::Codes {
            let placed = placed(spans::of_codes(cols, given)?, rows);
            placed.check_strides()?;
            placed.check(name, &place)?;
            return Ok(placed);
        }
        let offset = place.offset(name, element_bytes)?;
        let placed = match facts.shape {
            Shape::Cols => placed(span(offset, 0, problem.parameters()), 1),
            Shape::PerRow => placed(span(offset, 1, 1), rows),
            Shape::Statistics => placed(span(offset, 2, 2), rows),
            Shape::Rows | Shape::Codes | Shape::Partials | Shape::RowPartials => {
                let span = span(offset, strides.row.unwrap_or(cols.into()), cols);
                let (inner_columns, outer_column_stride) = strides.outer_columns.unwrap_or((0, 0));
                if strides.outer_columns.is_some()
                    && !(inner_columns > 0 && cols.is_multiple_of(inner_columns))
                {
                    let needs = format!("a divisor of cols, {cols}");
                    return Err(Error::invalid(format!("{name}.inner_columns"), inner_columns, needs));
                }
                let column_stride = strides.column.unwrap_or(1);
                let (inner_rows, outer_stride) = strides.outer.unwrap_or((0, 0));
                if strides.outer.is_some() && inner_rows == 0 {
                    return Err(Error::invalid(format!("{name}.inner_rows"), 0, "1 or more"));
                }
                let span = Span { inner_columns, outer_column_stride, ..span };
                let placed = placed(Span { column_stride, inner_rows, outer_stride, ..span }, rows);
                placed.check_strides()?;
                placed
            }
        };
        placed.check(name, &place)?;
        Ok(placed)
    }

    /// Mean and rstd as one tensor, whose columns lie apart.
    fn apart(mean: &Self, rstd: &Self) -> Result<Self, Error> {
        if mean.buffer != rstd.buffer {
            let needs =
                "the same, because they share a binding: lay them apart within one buffer, or side by side";
            return Err(Error::invalid("the buffer of rstd", "another than that of mean", needs));
        }
        if mean.overlaps(rstd) {
            let why = "they are two tensors, and need to lie apart";
            return Err(Error::Overlap { written: "mean", other: "rstd", why });
        }
        let (offset, column_stride) = (mean.span.offset, mean.span.offset.abs_diff(rstd.span.offset));
        let span = Span { offset: offset.min(rstd.span.offset), cols: 2, column_stride, ..mean.span };
        Ok(Self { span, is_reversed: rstd.span.offset < offset, ..*mean })
    }

    /// Size and usage.
    fn check(&self, name: &'static str, place: &Place<'a>) -> Result<(), Error> {
        check_usage(name, self.buffer)?;
        if self.rows == 0 {
            return Ok(());
        }
        // In 128 bits, where no offset, stride and number of rows can overflow.
        let Span { offset, stride, element_bytes, inner_rows, outer_stride, .. } = self.span;
        // The sum over several axes of such lengths can, and is saturated.
        let reach = |count: u64, stride: u64| u128::from(count - 1) * u128::from(stride);
        let of_rows = match inner_rows {
            0 => reach(self.rows, stride),
            inner_rows if self.rows <= inner_rows => reach(self.rows, stride),
            inner_rows => {
                let whole = self.rows / inner_rows;
                let in_whole = reach(whole, outer_stride).saturating_add(reach(inner_rows, stride));
                let rest = self.rows % inner_rows;
                let before_rest = u128::from(whole) * u128::from(outer_stride);
                let in_rest = before_rest.saturating_add(reach(rest.max(1), stride));
                if rest == 0 { in_whole } else { in_whole.max(in_rest) }
            }
        };
        let elements = of_rows.saturating_add(self.span.reach_of_columns()).saturating_add(1);
        let element_bytes = u128::from(element_bytes);
        place.check_size(name, elements.saturating_mul(element_bytes))?;
        // Shaders access whole words, so a tensor that ends in the middle of one needs the whole of it.
        let bytes = elements.saturating_add(offset.into()).saturating_mul(element_bytes);
        let bytes = bytes.min(u64::MAX.into()).next_multiple_of(4);
        if bytes > u128::from(self.buffer.size()) {
            return Err(Error::BufferTooSmall {
                buffer: name,
                has: self.buffer.size(),
                needs: u64::try_from(bytes).unwrap_or(u64::MAX),
                unit: "bytes",
            });
        }
        Ok(())
    }

    /// Whether any of its bytes, or of those between its rows, are among some of a buffer.
    pub(super) fn is_within(&self, buffer: &wgpu::Buffer, begin: u64, end: u64) -> bool {
        let parts = self.span.apart();
        let mut parts = parts.iter().flatten().chain(parts.is_none().then_some(&self.span));
        self.buffer == buffer
            && self.rows > 0
            && parts.any(|part| part.row_byte(0) < end && begin < part.end(self.rows))
    }

    fn same_rows(&self, other: &Self) -> bool {
        self.buffer == other.buffer && self.span == other.span
    }

    /// Whether they have bytes in common.
    fn overlaps(&self, other: &Self) -> bool {
        self.buffer == other.buffer
            && self.rows > 0
            && other.rows > 0
            && self.span.overlaps(self.rows, &other.span, other.rows)
    }
}

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
        let call = Self::place(&operation, problem, buffers.rows, &buffers.given(), buffers.scratch)?;
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
        Ok(call)
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
        self.tensors.iter().map(|placed| placed.span).collect()
    }

    /// The widest access that the rows and parameters among the tensors allow.
    pub(super) fn vector_width(&self) -> u32 {
        // The others are accessed one by one, and so are parameters of channels with several columns.
        let is_wide = |placed: &&Placed<'_>| match placed.facts.shape {
            Shape::Rows => true,
            Shape::Cols => self.channels.is_none_or(Channels::is_by_column),
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
        let mut with_outer = self.tensors.iter().filter(|placed| placed.span.inner_columns > 0);
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
