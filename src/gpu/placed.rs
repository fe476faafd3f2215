//! A tensor of a call: where it lies, and whether it can.

use super::buffers::{Given, Place, check_usage};
use crate::error::Error;
use crate::op::{Facts, Shape};
use crate::plan::{Span, Tensor};
use crate::types::{Channels, Problem};

/// A tensor of a call: where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) tensor: Tensor,
    pub(super) facts: Facts,
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) span: Span,
    /// Rows of the tensor in the sense of `span`: 1 for gain and bias.
    pub(super) rows: u64,
    /// Whether the last column lies first: statistics of which rstd comes before mean.
    pub(super) is_reversed: bool,
}

impl<'a> Placed<'a> {
    /// The tensor as it lies in its buffer, if it can lie there.
    pub(super) fn new(
        tensor: Tensor,
        facts: Facts,
        problem: &Problem,
        rows: u64,
        given: &Given<'a>,
    ) -> Result<Self, Error> {
        let Given { place, strides, rstd, has_mean } = *given;
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
            let rstd = column("rstd", &rstd)?;
            return match has_mean {
                true => Self::apart(&column("mean", &place)?, &rstd),
                // What is read as mean is rstd, and does not count.
                false => Ok(Self { span: Span { cols: 2, column_stride: 0, ..rstd.span }, ..rstd }),
            };
        }
        if facts.shape == Shape::Codes {
            let placed = placed(span_of_codes(cols, given)?, rows);
            placed.check_strides()?;
            placed.check(name, &place)?;
            return Ok(placed);
        }
        if let (Shape::PerRow, Some(stride)) = (facts.shape, strides.row.filter(|stride| *stride != 1)) {
            let needs = "none: its values, one for each row, follow each other";
            return Err(Error::invalid(format!("{name}.row_stride"), stride, needs));
        }
        let offset = place.offset(name, element_bytes)?;
        let placed = match facts.shape {
            Shape::Cols => {
                let whole = span(offset, 0, problem.parameters());
                let has_rows = problem.channels.is_some_and(Channels::has_parameter_rows);
                placed(with_row_stride(whole, name, strides.row, has_rows, problem.cols)?, 1)
            }
            Shape::Gates => {
                let whole = span(offset, 0, problem.gates());
                let has_rows = problem.channels.is_some_and(Channels::is_by_column);
                placed(with_row_stride(whole, name, strides.row, has_rows, problem.cols)?, 1)
            }
            Shape::PerRow => placed(span(offset, 1, 1), rows),
            Shape::One => placed(span(offset, 0, 1), 1),
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

    /// That no two elements lie in one place.
    fn check_strides(&self) -> Result<(), Error> {
        let Span { stride, cols, column_stride, inner_rows, outer_stride, inner_columns, .. } = self.span;
        let outer_column_stride = self.span.outer_column_stride;
        let (name, row_stride) = (self.tensor.name(), stride);
        if !self.span.is_strided() {
            if stride < u64::from(cols) {
                let needs = format!("at least cols, {cols}");
                return Err(Error::invalid(format!("{name}.stride"), stride, needs));
            }
            return Ok(());
        }
        let in_outer = if inner_rows == 0 { self.rows } else { self.rows.min(inner_rows) };
        let outer = if inner_rows == 0 { 1 } else { self.rows.div_ceil(inner_rows) };
        let (columns, outer_columns) = match cols.checked_div(inner_columns) {
            None => (cols, 1),
            Some(outer_columns) => (inner_columns, outer_columns),
        };
        let mut axes = [
            ("column_stride", column_stride, u64::from(columns)),
            ("outer_column_stride", outer_column_stride, u64::from(outer_columns)),
            ("stride", stride, in_outer),
            ("outer_stride", outer_stride, outer),
        ];
        axes.sort_by_key(|(_, stride, _)| *stride);
        // In 128 bits, where no stride and number of rows can overflow.
        let mut reach = 0_u128;
        for (field, stride, count) in axes.into_iter().filter(|(.., count)| *count > 1) {
            if u128::from(stride) <= reach {
                let outer_columns = match inner_columns {
                    0 => String::new(),
                    _ => format!(", {outer_columns} outer columns {outer_column_stride} apart"),
                };
                let needs = format!(
                    "at least {}, so that no two elements share a place: {name} has {columns} columns {column_stride} \
                     apart{outer_columns}, {in_outer} rows {row_stride} apart (cols, unless said) and {outer} outer rows \
                     {outer_stride} apart",
                    reach + 1
                );
                return Err(Error::invalid(format!("{name}.{field}"), stride, needs));
            }
            reach = reach.saturating_add(u128::from(stride) * u128::from(count - 1));
        }
        Ok(())
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

    pub(super) fn same_rows(&self, other: &Self) -> bool {
        self.buffer == other.buffer && self.span == other.span
    }

    /// Whether they have bytes in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let ((span, rows), (other_span, other_rows)) = (self.as_rows(), other.as_rows());
        self.buffer == other.buffer
            && rows > 0
            && other_rows > 0
            && span.overlaps(rows, &other_span, other_rows)
    }

    /// Where it lies, in rows: those of parameters that have some are the outer columns of one row.
    fn as_rows(&self) -> (Span, u64) {
        match (self.facts.shape, self.span.cols.checked_div(self.span.inner_columns)) {
            (Shape::Cols | Shape::Gates, Some(rows)) => {
                let (stride, cols) = (self.span.outer_column_stride, self.span.inner_columns);
                (Span { stride, cols, inner_columns: 0, outer_column_stride: 0, ..self.span }, rows.into())
            }
            _ => (self.span, self.rows),
        }
    }

    /// What a plan is told of where it lies. Parameters are one row, and what lies between theirs is bound.
    pub(super) fn span_of_call(&self) -> Span {
        match self.facts.shape {
            Shape::Cols | Shape::Gates if self.span.inner_columns > 0 => {
                let reach = self.span.reach_of_columns().saturating_add(1);
                let cols = u32::try_from(reach).unwrap_or(u32::MAX);
                Span { cols, inner_columns: 0, outer_column_stride: 0, ..self.span }
            }
            _ => self.span,
        }
    }

    /// The same with its rows numbered one of each group, then the next of each, where all of a group follow
    /// each other: groups are then rows inside outer ones.
    pub(super) fn interleaved(self, groups: u32) -> Self {
        let groups = u64::from(groups);
        match self.facts.shape {
            Shape::Cols | Shape::Gates | Shape::One => self,
            _ => {
                let stride = (self.rows / groups).saturating_mul(self.span.stride);
                let outer_stride = self.span.stride;
                Self { span: Span { stride, inner_rows: groups, outer_stride, ..self.span }, ..self }
            }
        }
    }
}

/// The words of rows of codes, whose places are counted in codes: each row begins with a word.
fn span_of_codes(cols: u32, given: &Given<'_>) -> Result<Span, Error> {
    const OF_WORD: u64 = 4;
    let name = Tensor::Codes.name();
    let words = |field: &str, codes: u64| match codes.is_multiple_of(OF_WORD) {
        true => Ok(codes / OF_WORD),
        false => {
            let needs = "a multiple of 4: a row of codes begins with a word";
            Err(Error::invalid(format!("{name}.{field}"), codes, needs))
        }
    };
    let strides = given.strides;
    if let Some(column_stride) = strides.column.filter(|stride| *stride != 1) {
        let needs = "1: the codes of a row lie side by side";
        return Err(Error::invalid(format!("{name}.column_stride"), column_stride, needs));
    }
    if let Some((inner_columns, _)) = strides.outer_columns {
        let needs = "none: the codes of a row lie side by side";
        return Err(Error::invalid(format!("{name}.inner_columns"), inner_columns, needs));
    }
    let (inner_rows, outer_stride) = strides.outer.unwrap_or((0, 0));
    if strides.outer.is_some() && inner_rows == 0 {
        return Err(Error::invalid(format!("{name}.inner_rows"), 0, "1 or more"));
    }
    let row = Shape::words(cols);
    let least = OF_WORD * u64::from(row);
    let stride = strides.row.unwrap_or(least);
    if stride < least && strides.outer.is_none() {
        let needs = format!("at least {least}, cols rounded up to a multiple of 4");
        return Err(Error::invalid(format!("{name}.stride"), stride, needs));
    }
    Ok(Span {
        offset: words("start", given.place.offset(name, 1)?)?,
        stride: words("stride", stride)?,
        cols: row,
        inner_rows,
        outer_stride: words("outer_stride", outer_stride)?,
        ..Span::default()
    })
}

/// Parameters, `whole` where they follow each other, with a stride between the rows of those that have some.
fn with_row_stride(
    whole: Span,
    name: &str,
    stride: Option<u64>,
    has_rows: bool,
    cols: u32,
) -> Result<Span, Error> {
    let Some(stride) = stride.filter(|stride| *stride != u64::from(cols)) else { return Ok(whole) };
    let field = || format!("{name}.row_stride");
    if !has_rows {
        let needs = "none: it has a row for each head or sample where `channels` says so, and else one";
        return Err(Error::invalid(field(), stride, needs));
    }
    if stride < cols.into() {
        return Err(Error::invalid(field(), stride, format!("at least cols, {cols}")));
    }
    Ok(Span { inner_columns: cols, outer_column_stride: stride, ..whole })
}
