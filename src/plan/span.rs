//! Where a tensor's rows lie in its buffer, and which part of it some of them take.

use super::{WIDE, largest_common_power_of_two};
use crate::error::Error;

/// Where a tensor's rows lie in its buffer. Offset, stride and rows are those of a tensor that a buffer
/// holds: its end, in bytes, is below 2^64. Written with `..`, over [`default`](Self::default), as [all that
/// grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Elements before the first row.
    pub offset: u64,
    /// Elements from one row's start to the next; 0 for gain and bias, which all rows share.
    pub stride: u64,
    /// Elements of a row.
    pub cols: u32,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// Elements from one column to the next: 1 where columns lie side by side.
    pub column_stride: u64,
    /// Where `stride` does not tell all rows apart: the inner rows, such as the heads of a token or the
    /// positions of a sample. 0 where it does.
    pub inner_rows: u64,
    /// Elements from one outer row's first row to the next's; nothing where there are no outer rows.
    pub outer_stride: u64,
    /// Where `column_stride` does not tell all columns apart: the inner columns, such as the positions of a
    /// sample, of which `cols` is a multiple. 0 where it does.
    pub inner_columns: u32,
    /// Elements from one outer column's first column to the next's; nothing where there are no outer
    /// columns.
    pub outer_column_stride: u64,
}

impl Default for Span {
    /// float32 from the start of the buffer on, a column after the other; `cols` is 0 and must be set.
    fn default() -> Self {
        Self {
            offset: 0,
            stride: 0,
            cols: 0,
            element_bytes: 4,
            column_stride: 1,
            inner_rows: 0,
            outer_stride: 0,
            inner_columns: 0,
            outer_column_stride: 0,
        }
    }
}

impl Span {
    /// How many elements can be accessed at once wherever a row starts, in the unit of
    /// [`Plan::vector_width`](super::Plan::vector_width): 8 where every row starts on 16 bytes, 16 where
    /// every row starts on 32.
    #[must_use]
    pub const fn vector_width(&self) -> u32 {
        // No kernel knows others: of those, one at a time.
        let full = if self.has_known_elements() && self.column_stride == 1 {
            16 / self.element_bytes
        } else {
            return 1;
        };
        let outer_stride = if self.inner_rows == 0 { 0 } else { self.outer_stride };
        let mut width = largest_common_power_of_two(2 * full, self.offset);
        width = largest_common_power_of_two(width, self.stride);
        width = largest_common_power_of_two(width, outer_stride);
        if self.inner_columns > 0 {
            width = largest_common_power_of_two(width, self.outer_column_stride);
        }
        let width = if width == 2 * full {
            WIDE
        } else if width == full {
            8
        } else {
            width
        };
        // No access crosses from one outer column to the next: of so many elements, whatever their size.
        match self.inner_columns {
            0 => width,
            inner_columns => largest_common_power_of_two(width, inner_columns as u64),
        }
    }

    /// Whether a kernel needs to be told more than a start and a stride of rows: of tensors of rows.
    /// Statistics whose mean and rstd lie apart need nothing else.
    #[must_use]
    pub const fn is_strided(&self) -> bool {
        self.inner_rows > 0 || (self.column_stride != 1 && self.cols > 1) || self.inner_columns > 0
    }

    /// The byte at which row `row` starts.
    #[must_use]
    pub const fn row_byte(&self, row: u64) -> u64 {
        let elements = match self.inner_rows {
            0 => row.saturating_mul(self.stride),
            inner_rows => {
                let outer = (row / inner_rows).saturating_mul(self.outer_stride);
                outer.saturating_add((row % inner_rows).saturating_mul(self.stride))
            }
        };
        self.offset.saturating_add(elements).saturating_mul(self.element_bytes as u64)
    }

    /// Elements from a row's start to one of its columns.
    #[cfg(feature = "verify")]
    pub(crate) const fn column_element(&self, column: u32) -> u64 {
        match column.checked_div(self.inner_columns) {
            None => column as u64 * self.column_stride,
            Some(outer) => {
                let inner = column % self.inner_columns;
                outer as u64 * self.outer_column_stride + inner as u64 * self.column_stride
            }
        }
    }

    /// The bytes from the start of the buffer to the end of the last of `rows` rows, in memory.
    #[must_use]
    pub const fn end(&self, rows: u64) -> u64 {
        self.end_of(0, rows)
    }

    /// The bytes from the start of the buffer to the end of the last in memory of some rows.
    const fn end_of(&self, first: u64, rows: u64) -> u64 {
        let Some(last) = first.saturating_add(rows).checked_sub(1) else { return 0 };
        if rows == 0 {
            return 0;
        }
        // Inside an outer row later rows lie later, and so do the last rows of later outer rows. That of the
        // last outer row which is whole may lie after the last row.
        let mut at = self.row_byte(last);
        if self.inner_rows > 0
            && let Some(whole) = (last / self.inner_rows * self.inner_rows).checked_sub(1)
            && whole >= first
            && self.row_byte(whole) > at
        {
            at = self.row_byte(whole);
        }
        at.saturating_add(self.row_bytes())
    }

    /// The first byte in memory of rows from `first` on.
    const fn begin_of(&self, first: u64, rows: u64) -> u64 {
        let at = self.row_byte(first);
        if let Some(outer) = first.checked_div(self.inner_rows) {
            let next = outer.saturating_add(1).saturating_mul(self.inner_rows);
            if next.saturating_sub(first) < rows && self.row_byte(next) < at {
                return self.row_byte(next);
            }
        }
        at
    }

    /// From the first byte of a row to its last.
    const fn row_bytes(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, reason = "compared with the most")]
        let elements = match self.reach_of_columns() {
            reach if reach > u64::MAX as u128 => u64::MAX,
            reach => reach as u64,
        };
        elements.saturating_add(if self.cols == 0 { 0 } else { 1 }).saturating_mul(self.element_bytes as u64)
    }

    /// Elements from a row's first column to its last. In 128 bits, where no stride can overflow.
    pub(crate) const fn reach_of_columns(&self) -> u128 {
        const fn reach(count: u32, stride: u64) -> u128 {
            count.saturating_sub(1) as u128 * stride as u128
        }
        match self.cols.checked_div(self.inner_columns) {
            None => reach(self.cols, self.column_stride),
            Some(outer) => {
                reach(outer, self.outer_column_stride) + reach(self.inner_columns, self.column_stride)
            }
        }
    }

    /// The same in two, where the two columns of all rows lie apart.
    pub(crate) const fn apart(&self) -> Option<[Self; 2]> {
        if self.cols != 2 || self.column_stride == 1 || self.inner_columns > 0 {
            return None;
        }
        let first = Self { cols: 1, column_stride: 1, ..*self };
        Some([first, Self { offset: self.offset.saturating_add(self.column_stride), ..first }])
    }

    /// Whether these rows and those of another tensor in the same buffer have bytes in common. Rows of
    /// different strides count as whole ranges, what lies between them included; so do outer rows.
    #[must_use]
    pub const fn overlaps(&self, rows: u64, other: &Self, other_rows: u64) -> bool {
        if let Some([first, second]) = self.apart() {
            return first.overlaps(rows, other, other_rows) || second.overlaps(rows, other, other_rows);
        }
        if other.apart().is_some() {
            return other.overlaps(other_rows, self, rows);
        }
        if let (Some((lines, count)), Some((other_lines, other_count))) =
            (self.transposed(rows), other.transposed(other_rows))
        {
            return lines.overlaps(count, &other_lines, other_count);
        }
        if let (Some((outer, count)), Some((other_outer, other_count))) =
            (self.as_outer_rows(rows), other.as_outer_rows(other_rows))
        {
            return outer.overlaps(count, &other_outer, other_count);
        }
        let (begin, end) = (self.row_byte(0), self.end(rows));
        let (other_begin, other_end) = (other.row_byte(0), other.end(other_rows));
        if rows == 0 || other_rows == 0 || begin >= other_end || other_begin >= end {
            return false;
        }
        if self.inner_rows > 0 || other.inner_rows > 0 {
            return true;
        }
        // Saturated, as the stride of a single row may be anything.
        let stride = self.stride.saturating_mul(self.element_bytes as u64);
        if stride == 0 || stride != other.stride.saturating_mul(other.element_bytes as u64) {
            return true;
        }
        // Both repeat after a stride: where the other begins in it, and whether it ends before this one
        // begins again.
        let (row, other_row) = (self.row_bytes(), other.row_bytes());
        let between = if other_begin >= begin {
            (other_begin - begin) % stride
        } else {
            (stride - (begin - other_begin) % stride) % stride
        };
        !(between >= row && between.saturating_add(other_row) <= stride)
    }

    /// Rows side by side, with their columns apart, as rows of which each has one column of all: a slice of
    /// wider ones.
    const fn transposed(&self, rows: u64) -> Option<(Self, u64)> {
        let is_slice = self.inner_rows == 0 && self.stride == 1 && 0 < rows && rows <= self.column_stride;
        if !is_slice || self.inner_columns > 0 || self.column_stride == 1 || rows > u32::MAX as u64 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "compared above")]
        let cols = rows as u32;
        Some((Self { stride: self.column_stride, cols, column_stride: 1, ..*self }, self.cols as u64))
    }

    /// Outer rows as rows, each with all that lies in it, and how many those are.
    const fn as_outer_rows(&self, rows: u64) -> Option<(Self, u64)> {
        if self.inner_rows == 0 || self.element_bytes == 0 {
            return None;
        }
        let of_outer = if rows < self.inner_rows { rows } else { self.inner_rows };
        let elements = (self.end(of_outer).saturating_sub(self.row_byte(0))) / self.element_bytes as u64;
        // Longer than cols can say: the whole range counts.
        if elements > u32::MAX as u64 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "compared above")]
        let cols = elements as u32;
        let outer = Self {
            stride: self.outer_stride,
            cols,
            column_stride: 1,
            inner_rows: 0,
            inner_columns: 0,
            ..*self
        };
        Some((outer, rows.div_ceil(self.inner_rows)))
    }

    /// The window of the buffer that rows `first..first + rows` are bound through: its first byte, a multiple
    /// of `alignment`, and its length, a multiple of 4.
    #[must_use]
    pub const fn window(&self, first: u64, rows: u64, alignment: u32) -> (u64, u64) {
        let alignment = if alignment == 0 { 1 } else { alignment as u64 };
        let begin = self.begin_of(first, rows) / alignment * alignment;
        (begin, (self.end_of(first, rows).saturating_sub(begin)).div_ceil(4).saturating_mul(4))
    }

    /// Elements of 2 or 4 bytes.
    const fn has_known_elements(&self) -> bool {
        matches!(self.element_bytes, 2 | 4)
    }

    /// Whether a buffer can hold `rows` such rows.
    pub(super) fn validate(&self, rows: u64) -> Result<(), Error> {
        if !self.has_known_elements() {
            return Err(Error::invalid("element_bytes of a span", self.element_bytes, "2 or 4"));
        }
        let before = |rows: u64, stride: u64| u128::from(rows.saturating_sub(1)) * u128::from(stride);
        let before_last = match self.inner_rows {
            0 => before(rows, self.stride),
            inner => before(rows.div_ceil(inner), self.outer_stride)
                .saturating_add(before(rows.min(inner), self.stride)),
        };
        self.check_inner_columns()?;
        let in_row = self.reach_of_columns() + u128::from(self.cols.min(1));
        let elements = before_last.saturating_add(u128::from(self.offset) + in_row);
        let end = elements.saturating_mul(self.element_bytes.into());
        if rows > 0 && end > u64::MAX.into() {
            return Err(Error::invalid("the end of a span, in bytes,", end, "below 2^64"));
        }
        Ok(())
    }

    /// That outer columns are whole ones.
    pub(crate) fn check_inner_columns(&self) -> Result<(), Error> {
        if self.inner_columns == 0 {
            return Ok(());
        }
        if !self.cols.is_multiple_of(self.inner_columns) {
            let needs = format!("a divisor of the {} columns", self.cols);
            return Err(Error::invalid("the columns inside an outer column", self.inner_columns, needs));
        }
        Ok(())
    }

    /// How many rows from `first` on fit a window of `most` bytes.
    pub(super) const fn rows_in_window(&self, first: u64, alignment: u32, most: u64) -> u64 {
        let (_, one) = self.window(first, 1, alignment);
        if one > most {
            return 0;
        }
        if self.inner_rows > 0 {
            return self.inner_rows_in_window(first, alignment, most);
        }
        match self.stride {
            0 => u64::MAX,
            // Saturated, as the stride of a single row may be anything.
            stride => (most - one) / stride.saturating_mul(self.element_bytes as u64) + 1,
        }
    }

    /// The same for rows inside outer ones: windows grow with their rows.
    const fn inner_rows_in_window(&self, first: u64, alignment: u32, most: u64) -> u64 {
        // A dispatch has fewer.
        let (mut fits, mut beyond) = (1, 1 << 32);
        while beyond - fits > 1 {
            let rows = fits + (beyond - fits) / 2;
            let (_, length) = self.window(first, rows, alignment);
            if length > most {
                beyond = rows;
            } else {
                fits = rows;
            }
        }
        fits
    }
}
