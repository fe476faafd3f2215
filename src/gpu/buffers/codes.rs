//! The buffers of y in codes.

use super::{BufferRows, BufferVector};
use crate::types::CodeDtype;

/// y in codes of 8 bits, beside y or in its place: `y ~ code * unit`, with y in float32 as it is before it is
/// rounded to its own type. Codes saturate.
///
/// A row that is not finite has NaN as its unit, and 0 (`Int8`) or NaN (`Fp8E4m3`) as its codes. A row of
/// zeros has the [smallest unit](CodeDtype::LEAST_UNIT).
#[derive(Clone, Copy, Debug)]
#[doc(alias = "quantized_output")]
pub struct CodeBuffers<'a> {
    /// Their type.
    pub dtype: CodeDtype,
    /// Output, `[rows, cols]`, a byte each. An element of these rows is a **code**: start and strides count
    /// bytes. They are multiples of 4, and a row takes cols rounded up to one: the bytes behind its last code
    /// become 0. Columns lie side by side.
    pub codes: BufferRows<'a>,
    /// What they are multiples of.
    pub unit: CodeUnit<'a>,
}

/// What codes are multiples of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[doc(alias = "scale")]
pub enum CodeUnit<'a> {
    /// Output, `[rows]` in float32: a unit of each row, which makes its largest |y| the largest code.
    #[doc(alias = "dynamic")]
    PerRow(BufferVector<'a>),
    /// This one for all, 2^-126 to 2^126.
    #[doc(alias = "static")]
    Given(f32),
}

impl<'a> CodeBuffers<'a> {
    /// With a unit of each row.
    #[must_use]
    pub fn per_row(
        dtype: CodeDtype,
        codes: impl Into<BufferRows<'a>>,
        units: impl Into<BufferVector<'a>>,
    ) -> Self {
        Self { dtype, codes: codes.into(), unit: CodeUnit::PerRow(units.into()) }
    }

    /// With this unit for all rows.
    #[must_use]
    pub fn with_unit(dtype: CodeDtype, codes: impl Into<BufferRows<'a>>, unit: f32) -> Self {
        Self { dtype, codes: codes.into(), unit: CodeUnit::Given(unit) }
    }

    /// The buffer of the units, where they are written.
    pub(super) const fn units(&self) -> Option<BufferVector<'a>> {
        match self.unit {
            CodeUnit::PerRow(units) => Some(units),
            CodeUnit::Given(_) => None,
        }
    }
}
