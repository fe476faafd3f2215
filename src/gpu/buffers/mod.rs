//! The caller's buffers, and where in them tensors lie.

mod backward;
mod codes;
mod forward;
mod place;

pub(crate) use place::Place;
pub(in crate::gpu) use place::check_usage;
pub use {backward::BackwardBuffers, codes::CodeBuffers, codes::CodeUnit, forward::ForwardBuffers};

use crate::error::Error;
#[cfg(feature = "verify")]
use crate::plan::Span;
use place::Start;

/// Rows of a tensor in a GPU buffer, which was created with `BufferUsages::STORAGE`.
///
/// A `&wgpu::Buffer`, a [`wgpu::BufferSlice`] and a [`wgpu::BufferBinding`] are taken as they are: rows one
/// after the other from the first byte. wgpu counts **bytes**, and their start must be a multiple of the
/// tensor's element; a tensor that exceeds the slice is refused even where the buffer goes on.
/// [`at_element`](Self::at_element) counts **elements** of the tensor.
#[derive(Clone, Copy, Debug)]
pub struct BufferRows<'a> {
    place: Place<'a>,
    strides: GivenStrides,
}

/// How far rows, columns and outer ones are apart, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenStrides {
    /// From one row to the next; `None` for rows without gaps.
    pub(crate) row: Option<u64>,
    /// From one column to the next; `None` for columns side by side.
    pub(crate) column: Option<u64>,
    /// The rows inside an outer row, and from one outer row to the next.
    pub(crate) outer: Option<(u64, u64)>,
    /// The columns inside an outer column, and from one outer column to the next.
    pub(crate) outer_columns: Option<(u32, u64)>,
}

impl GivenStrides {
    /// Rows and columns one after the other.
    const NONE: Self = Self { row: None, column: None, outer: None, outer_columns: None };
}

/// A tensor of one value for each column, channel or row in a GPU buffer: gain, bias, a row's gain and their
/// gradients, and statistics that are given or kept. Taken from wgpu's types as [`BufferRows`] is.
#[derive(Clone, Copy, Debug)]
pub struct BufferVector<'a> {
    place: Place<'a>,
    row_stride: Option<u64>,
}

/// Mean and rstd of rows in a GPU buffer, float32: side by side, two for each row
/// ([`Statistics`](crate::Statistics)), or [`apart`](Self::apart). Taken from wgpu's types as [`BufferRows`]
/// is, side by side. Both ways have the same bits, and take one binding.
#[derive(Clone, Copy, Debug)]
pub struct BufferStatistics<'a> {
    mean: Place<'a>,
    rstd: Option<Place<'a>>,
    /// Where not, `mean` is where rstd lies.
    has_mean: bool,
}

impl<'a> BufferRows<'a> {
    /// Rows that start `offset` elements after the start of the buffer, one after the other.
    #[must_use]
    pub const fn at_element(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        let place = Place { buffer, start: Start::Element(offset) };
        Self { place, strides: GivenStrides::NONE }
    }

    /// Rows that start `offset` bytes after the start of the buffer, a multiple of the element's, one after
    /// the other.
    #[must_use]
    pub const fn at_byte(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        let place = Place { buffer, start: Start::Byte { offset, size: None } };
        Self { place, strides: GivenStrides::NONE }
    }

    /// The same with `stride` elements from one row's start to the next: a slice of wider rows where it is at
    /// least `cols`; less only where [columns](Self::with_column_stride) are apart.
    #[must_use]
    pub const fn with_stride(self, stride: u64) -> Self {
        Self { strides: GivenStrides { row: Some(stride), ..self.strides }, ..self }
    }

    /// The same with `stride` elements from one column to the next, where they do not lie side by side: with
    /// a row stride of 1, rows along the first axis of a matrix, or, in [outer rows](Self::with_inner_rows),
    /// the channels of each position of images that have their channels first. Elements are then accessed one
    /// by one.
    #[must_use]
    #[doc(alias = "channels_first", alias = "axis")]
    pub const fn with_column_stride(self, stride: u64) -> Self {
        Self { strides: GivenStrides { column: Some(stride), ..self.strides }, ..self }
    }

    /// The same with rows inside outer rows, `inner_rows` in each and `outer_stride` elements from one outer
    /// row to the next; the stride of rows is that within an outer row. Heads inside the rows of a fused
    /// projection are such: `inner_rows` heads, a stride of the head's dimension between them, and the
    /// projection's row as the outer stride.
    ///
    /// All tensors of a call whose rows lie inside outer rows have as many in each; the others need not.
    #[must_use]
    #[doc(alias = "heads", alias = "qk_norm")]
    pub const fn with_inner_rows(self, inner_rows: u64, outer_stride: u64) -> Self {
        Self { strides: GivenStrides { outer: Some((inner_rows, outer_stride)), ..self.strides }, ..self }
    }

    /// The same with columns inside outer columns, `inner_columns` in each and `outer_stride` elements from
    /// one outer column to the next; the stride of columns is that within an outer column. A channel of a
    /// batch of images is such a row: its positions lie side by side, and in each sample elsewhere.
    ///
    /// All tensors of a call whose columns lie inside outer columns have as many in each, a divisor of
    /// `cols`; the others need not. Rows inside outer rows do not go with them.
    #[must_use]
    #[doc(alias = "batch_norm")]
    pub const fn with_inner_columns(self, inner_columns: u32, outer_stride: u64) -> Self {
        Self {
            strides: GivenStrides { outer_columns: Some((inner_columns, outer_stride)), ..self.strides },
            ..self
        }
    }
}

impl<'a> BufferVector<'a> {
    /// A tensor that starts `offset` elements after the start of the buffer.
    #[must_use]
    pub const fn at_element(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { place: Place { buffer, start: Start::Element(offset) }, row_stride: None }
    }

    /// A tensor that starts `offset` bytes after the start of the buffer, a multiple of the element's.
    #[must_use]
    pub const fn at_byte(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { place: Place { buffer, start: Start::Byte { offset, size: None } }, row_stride: None }
    }

    /// The same with `stride` elements from the values of one head, or of one sample, to those of the next,
    /// where each has a gain and a bias of its own: at least `cols`, which it is by default. So scale and
    /// shift may be chunks of the rows of one tensor, `[samples, 6 * cols]`. Values of rows, such as
    /// statistics, follow each other, whatever is said here.
    ///
    /// A binding reaches from the first of these rows to the last. Browsers refuse two that overlap if one is
    /// written: there dgain and dbias of several samples are no chunks of one buffer.
    #[must_use]
    #[doc(alias = "chunk", alias = "modulation")]
    pub const fn with_row_stride(self, stride: u64) -> Self {
        Self { row_stride: Some(stride), ..self }
    }
}

impl<'a> BufferStatistics<'a> {
    /// Mean and rstd of each row side by side, `[rows, 2]`.
    #[must_use]
    pub fn side_by_side(statistics: impl Into<BufferVector<'a>>) -> Self {
        Self { mean: statistics.into().place, rstd: None, has_mean: true }
    }

    /// The means of all rows, and elsewhere in the same buffer their rstds, `[rows]` each. Either may come
    /// first.
    ///
    /// The binding reaches from the first of them to the last, and has to keep the device's limit with all
    /// that lies between.
    #[must_use]
    pub fn apart(mean: impl Into<BufferVector<'a>>, rstd: impl Into<BufferVector<'a>>) -> Self {
        Self { mean: mean.into().place, rstd: Some(rstd.into().place), has_mean: true }
    }

    /// The rstds of all rows alone, `[rows]`, where the mean does not count: in backward
    /// [from y](BackwardBuffers::from_y).
    #[must_use]
    pub fn rstd(rstd: impl Into<BufferVector<'a>>) -> Self {
        let rstd = rstd.into().place;
        Self { mean: rstd, rstd: Some(rstd), has_mean: false }
    }

    /// That there is a mean, for whoever needs one.
    pub(in crate::gpu) const fn check_mean(&self) -> Result<(), Error> {
        match self.has_mean {
            true => Ok(()),
            false => {
                let why = "statistics have rstd alone, which is enough in backward from y alone";
                Err(Error::MissingBuffer { buffer: "mean", why })
            }
        }
    }
}

/// From what of wgpu's says where a tensor lies.
macro_rules! from_wgpu {
    ($($from:ty),*) => {$(
        impl<'a> From<$from> for BufferRows<'a> {
            /// Rows one after the other.
            fn from(place: $from) -> Self {
                Self { place: place.into(), strides: GivenStrides::NONE }
            }
        }

        impl<'a> From<$from> for BufferVector<'a> {
            fn from(place: $from) -> Self {
                Self { place: place.into(), row_stride: None }
            }
        }

        impl<'a> From<$from> for BufferStatistics<'a> {
            /// Side by side.
            fn from(place: $from) -> Self {
                Self { mean: place.into(), rstd: None, has_mean: true }
            }
        }
    )*};
}

from_wgpu!(&'a wgpu::Buffer, wgpu::BufferSlice<'a>, wgpu::BufferBinding<'a>);

impl<'a> From<BufferVector<'a>> for BufferStatistics<'a> {
    /// Side by side.
    fn from(statistics: BufferVector<'a>) -> Self {
        Self::side_by_side(statistics)
    }
}

/// Where a tensor lies, whatever its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) place: Place<'a>,
    /// Of rows, and of parameters that have rows.
    pub(crate) strides: GivenStrides,
    /// Of statistics alone, where they lie apart.
    pub(crate) rstd: Option<Place<'a>>,
    /// Of statistics alone: whether there is a mean, and `place` is its own.
    pub(crate) has_mean: bool,
}

impl<'a> Given<'a> {
    /// A tensor `offset` elements after the start of the buffer.
    pub(crate) const fn at_element(buffer: &'a wgpu::Buffer, offset: u64, stride: Option<u64>) -> Self {
        let strides = GivenStrides { row: stride, ..GivenStrides::NONE };
        Self { place: Place { buffer, start: Start::Element(offset) }, strides, rstd: None, has_mean: true }
    }

    /// The same with columns apart, and rows or columns inside outer ones.
    #[cfg(feature = "verify")]
    pub(crate) fn with_strides_of(self, span: &Span) -> Self {
        let Span { column_stride, inner_rows, outer_stride, inner_columns, outer_column_stride, .. } = *span;
        let strides = GivenStrides {
            column: Some(column_stride),
            outer: (inner_rows > 0).then_some((inner_rows, outer_stride)),
            outer_columns: (inner_columns > 0).then_some((inner_columns, outer_column_stride)),
            ..self.strides
        };
        Self { strides, ..self }
    }

    /// Statistics whose rstds lie apart, `offset` elements after the start of the buffer.
    #[cfg(feature = "verify")]
    pub(crate) const fn with_rstd(self, offset: u64) -> Self {
        let rstd = Some(Place { start: Start::Element(offset), ..self.place });
        Self { rstd, ..self }
    }
}

impl<'a> From<BufferRows<'a>> for Given<'a> {
    fn from(BufferRows { place, strides }: BufferRows<'a>) -> Self {
        Self { place, strides, rstd: None, has_mean: true }
    }
}

impl<'a> From<BufferVector<'a>> for Given<'a> {
    fn from(BufferVector { place, row_stride }: BufferVector<'a>) -> Self {
        let strides = GivenStrides { row: row_stride, ..GivenStrides::NONE };
        Self { place, strides, rstd: None, has_mean: true }
    }
}

impl<'a> From<BufferStatistics<'a>> for Given<'a> {
    fn from(BufferStatistics { mean, rstd, has_mean }: BufferStatistics<'a>) -> Self {
        Self { place: mean, strides: GivenStrides::NONE, rstd, has_mean }
    }
}

impl<'a> From<Given<'a>> for BufferRows<'a> {
    fn from(Given { place, strides, .. }: Given<'a>) -> Self {
        Self { place, strides }
    }
}

impl<'a> From<Given<'a>> for BufferVector<'a> {
    fn from(Given { place, strides, .. }: Given<'a>) -> Self {
        Self { place, row_stride: strides.row }
    }
}

impl<'a> From<Given<'a>> for BufferStatistics<'a> {
    fn from(Given { place, rstd, has_mean, .. }: Given<'a>) -> Self {
        Self { mean: place, rstd, has_mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Context};
    use crate::plan::{Backward, Forward, Operation, Tensor, Used};
    use crate::types::{Activation, Affine};

    /// A tensor that the tables have and a call's buffers do not know would be left out without a word.
    #[test]
    fn buffers_have_every_tensor_of_their_operation() {
        let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
        let buffer = context.create("all", 64).unwrap();
        let given = |_| Some(Given::at_element(&buffer, 0, None));
        let check = |operation: Operation, given: &[(Tensor, Option<Given<'_>>)]| {
            for used in operation.of_call(Affine::GainBias, Activation::Silu) {
                let is_there = given.iter().any(|(tensor, given)| *tensor == used.tensor && given.is_some());
                assert!(is_there, "{} of {operation:?}", used.tensor.name());
            }
        };
        for options in Forward::all() {
            let of_all = ForwardBuffers::from_given(1, &options, given).unwrap();
            check(Operation::Forward(options), &of_all.given());
        }
        for options in Backward::all() {
            let of_all = BackwardBuffers::from_given(1, &options, given).unwrap();
            check(Operation::Backward(options), &of_all.given());
        }
    }

    /// Where options become buffers and these options again, one that no tensor and no field tells of would
    /// be lost.
    #[test]
    fn options_are_those_that_the_buffers_were_made_from() {
        let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
        let buffer = context.create("all", 64).unwrap();
        // A gain of each row is in place of those of each column.
        let tensors = |operation: Operation, has_row_gain: bool| {
            let affine = if has_row_gain { Affine::None } else { Affine::GainBias };
            operation.of_call(affine, Activation::Silu)
        };
        let given = |tensors: &[Used], tensor| {
            let is_there = tensors.iter().any(|used| used.tensor == tensor);
            is_there.then(|| Given::at_element(&buffer, 0, None))
        };
        let lies_in = |tensors: &[Used], tensor| {
            let used = tensors.iter().find(|used| used.tensor == tensor)?;
            (used.bound != tensor).then_some(used.bound)
        };
        for options in Forward::all() {
            let tensors = tensors(Operation::Forward(options), options.row_gain);
            let buffers = ForwardBuffers::from_given(1, &options, |tensor| given(&tensors, tensor)).unwrap();
            assert_eq!(buffers.options(|tensor| lies_in(&tensors, tensor)), options);
        }
        // A call says once what becomes of the gradients of parameters.
        let says_once = |options: &Backward| {
            let Backward { dgain, dbias, dgate, drow_gain, .. } = *options;
            let mut gradients = [dgain, dbias, dgate, drow_gain].into_iter().flatten();
            gradients.next().is_none_or(|first| gradients.all(|other| other == first))
        };
        for options in Backward::all().into_iter().filter(says_once) {
            let tensors = tensors(Operation::Backward(options), options.row_gain);
            let buffers = BackwardBuffers::from_given(1, &options, |tensor| given(&tensors, tensor)).unwrap();
            assert_eq!(buffers.options(|tensor| lies_in(&tensors, tensor)), options);
        }
    }
}
