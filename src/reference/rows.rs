//! Rows of host tensors, cut into blocks of rows and into single rows.

use super::check_length;
use crate::{Error, Rows, RowsMut};

/// The elements from the start of the first row to the end of the last one, if the slice has them.
fn checked_length(
    buffer: &'static str,
    (length, stride): (usize, usize),
    rows: usize,
    cols: usize,
) -> Result<usize, Error> {
    if stride < cols {
        return Err(Error::invalid(format!("{buffer}.stride"), stride, format!("at least cols, {cols}")));
    }
    let Some(rows_before_last) = rows.checked_sub(1) else { return Ok(0) };
    // Saturated, the length is still one that no slice has.
    let needs = rows_before_last.saturating_mul(stride).saturating_add(cols);
    check_length(buffer, length, needs)?;
    Ok(needs)
}

impl<'a, T> Rows<'a, T> {
    /// Exactly the first `rows` rows: what comes after them is cut off.
    pub(super) fn checked(self, buffer: &'static str, rows: usize, cols: usize) -> Result<Self, Error> {
        let length = checked_length(buffer, (self.data.len(), self.stride), rows, cols)?;
        Ok(Self { data: &self.data[..length], ..self })
    }

    /// Blocks of `rows` rows; the last may have fewer.
    pub(super) fn blocks(self, rows: usize) -> impl Iterator<Item = Self> {
        self.data.chunks(self.stride.saturating_mul(rows)).map(move |data| Self { data, stride: self.stride })
    }

    /// The rows, `cols` values each.
    pub(super) fn each(self, cols: usize) -> impl Iterator<Item = &'a [T]> {
        self.data.chunks(self.stride).map(move |row| &row[..cols])
    }
}

impl<'a, T> RowsMut<'a, T> {
    /// Exactly the first `rows` rows: what comes after them is cut off.
    pub(super) fn checked(self, buffer: &'static str, rows: usize, cols: usize) -> Result<Self, Error> {
        let length = checked_length(buffer, (self.data.len(), self.stride), rows, cols)?;
        Ok(Self { data: &mut self.data[..length], stride: self.stride })
    }

    /// Blocks of `rows` rows; the last may have fewer.
    pub(super) fn blocks(self, rows: usize) -> impl Iterator<Item = Self> {
        self.data
            .chunks_mut(self.stride.saturating_mul(rows))
            .map(move |data| Self { data, stride: self.stride })
    }

    /// The rows, `cols` values each.
    pub(super) fn each(self, cols: usize) -> impl Iterator<Item = &'a mut [T]> {
        self.data.chunks_mut(self.stride).map(move |row| &mut row[..cols])
    }
}
