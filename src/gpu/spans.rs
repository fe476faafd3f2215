//! Where tensors of rows lie in their buffers, checked.

use super::buffers::Given;
use super::call::Placed;
use crate::error::Error;
use crate::op::Shape;
use crate::plan::{Span, Tensor};

/// The words of rows of codes, whose places are counted in codes: each row begins with a word.
pub(super) fn of_codes(cols: u32, given: &Given<'_>) -> Result<Span, Error> {
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

impl Placed<'_> {
    /// That no two elements lie in one place.
    pub(super) fn check_strides(&self) -> Result<(), Error> {
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
}
