//! How rows and columns of a call's tensors lie among outer ones.

use super::{Operation, Plan, Span};
use crate::error::Error;

/// How rows and columns of any of a call's tensors lie, as far as a text depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Strides {
    /// One stride tells rows apart, and columns lie side by side.
    #[default]
    Dense,
    /// Rows may lie inside outer ones, and columns apart.
    Rows,
    /// Columns may lie inside outer ones, and apart.
    Columns,
    /// Rows lie side by side inside outer ones, and columns apart: an access has a column of four rows. Plans
    /// of their own, [`Plan::forward_across`] and [`Plan::backward_across`].
    Across,
}

impl Strides {
    /// All.
    pub const ALL: [Self; 4] = [Self::Dense, Self::Rows, Self::Columns, Self::Across];

    /// What a tensor that lies so needs.
    #[must_use]
    pub const fn of(span: &Span) -> Self {
        match (span.inner_columns, span.is_strided()) {
            (1.., _) => Self::Columns,
            (0, true) => Self::Rows,
            (0, false) => Self::Dense,
        }
    }
}

impl Plan {
    /// The same plan for tensors of which any lies so. The sums of [`Plan::reduce_parameters`] have no rows,
    /// and stay as they are; so do plans for rows side by side, and no other becomes one.
    #[must_use]
    pub const fn with_strides(self, strides: Strides) -> Self {
        let has_rows = !matches!(self.operation, Operation::ReduceParameters(_));
        match strides {
            _ if !has_rows || self.is_across() => self,
            Strides::Across => Self { strides: Strides::Rows, ..self },
            strides => Self { strides, ..self },
        }
    }

    /// Of [`Plan::reduce_parameters`], the plan for dgain and dbias that have a row for each head or sample,
    /// with a stride of their own between rows: their columns are then [`Dispatch::inner_columns`] inside an
    /// outer column, those of a row. Other plans stay as they are.
    ///
    /// [`Dispatch::inner_columns`]: super::Dispatch::inner_columns
    #[must_use]
    pub const fn with_sums_apart(self) -> Self {
        match self.operation {
            Operation::ReduceParameters(_) if self.channels.is_none() => {
                Self { strides: Strides::Columns, ..self }
            }
            _ => self,
        }
    }
}

/// The rows inside an outer row, as many in all tensors that have such; 1 where none has.
pub(crate) fn inner_rows(spans: &[Span]) -> Result<u32, Error> {
    let mut given = spans.iter().map(|span| span.inner_rows).filter(|inner_rows| *inner_rows > 0);
    let Some(inner_rows) = given.next() else { return Ok(1) };
    if let Some(other) = given.find(|other| *other != inner_rows) {
        let needs = format!("{inner_rows}, as in another tensor of the call");
        return Err(Error::invalid("the rows inside an outer row", other, needs));
    }
    u32::try_from(inner_rows)
        .map_err(|_| Error::invalid("the rows inside an outer row", inner_rows, "below 2^32"))
}

/// The columns inside an outer column, as many in all tensors that have such; `cols` where none has.
pub(crate) fn inner_columns(spans: &[Span], cols: u32) -> Result<u32, Error> {
    let mut given = spans.iter().map(|span| span.inner_columns).filter(|inner_columns| *inner_columns > 0);
    let Some(inner_columns) = given.next() else { return Ok(cols) };
    if let Some(with_outer) = spans.iter().find(|span| span.inner_rows > 0) {
        let needs = "none: a call has outer rows or outer columns";
        return Err(Error::invalid("the rows inside an outer row", with_outer.inner_rows, needs));
    }
    if let Some(other) = given.find(|other| *other != inner_columns) {
        let needs = format!("{inner_columns}, as in another tensor of the call");
        return Err(Error::invalid("the columns inside an outer column", other, needs));
    }
    Ok(inner_columns)
}

/// Which of so many inner rows a row is, and how many those are.
pub(crate) fn place_among_inner_rows(row: u64, inner_rows: u32) -> [u32; 2] {
    // The remainder is below a u32.
    [u32::try_from(row % u64::from(inner_rows.max(1))).unwrap_or(0), inner_rows.max(1)]
}
