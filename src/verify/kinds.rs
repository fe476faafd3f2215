//! What cases differ in beside the problem: where tensors lie, and what they hold.

use crate::plan::{ACCESS_ROWS, Span};

/// What the rows of x hold; each row a little different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Mean 0, standard deviation 1.
    Normal,
    /// Mean 1e6 (f16: 1e3) times the standard deviation, where a float32 mean alone loses digits.
    LargeMean,
    /// 40000, 40001, 40002, 40003 again and again, where `E[x^2] - mean^2` gives NaN.
    Consecutive,
    /// 800 from the mean, where squares overflow float16.
    Spread,
    /// Close to the largest float16.
    NearF16Max,
    /// One value.
    Constant,
    /// 1e30 (f16: 1e4), where squares overflow float32.
    Huge,
    /// Close to the largest float32 on both sides of 0, where differences overflow.
    FullRange,
    /// 2^54 to 2^62 by row, where the squares of a thread's columns are finite and those of the row are not.
    Brink,
    /// 1e20, or 3e38 in every second row, its sign changing every 16 bytes: each thread of a row may find a
    /// constant.
    SquareWave,
    /// 1e12 in the first half of a row, where squares are in range, and 1e30 in the second: threads, or
    /// chunks, that are scaled beside some that are not.
    Cliff,
    /// Below the smallest normal number.
    Subnormal,
    /// One value a million times (f16: sixty thousand times) the others.
    Outlier,
    /// A NaN, an infinity or none in a row.
    NotFinite,
    /// Rows like each other, and dy the same in all, so that rounding in a sum over rows always goes the same
    /// way. x differs a little: what xhat is off, too, would add up from row to row.
    Alike,
}

impl Data {
    /// Those that every storage and operation takes, and that tuned plans are tried on.
    pub(super) const ADVERSARIAL: [Self; 9] = [
        Self::LargeMean,
        Self::Consecutive,
        Self::Spread,
        Self::NearF16Max,
        Self::Constant,
        Self::Huge,
        Self::Subnormal,
        Self::Outlier,
        Self::NotFinite,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LargeMean => "large_mean",
            Self::Consecutive => "consecutive",
            Self::Spread => "spread",
            Self::NearF16Max => "near_f16_max",
            Self::Constant => "constant",
            Self::Huge => "huge",
            Self::FullRange => "full_range",
            Self::Brink => "brink",
            Self::SquareWave => "square_wave",
            Self::Cliff => "cliff",
            Self::Subnormal => "subnormal",
            Self::Outlier => "outlier",
            Self::NotFinite => "not_finite",
            Self::Alike => "alike",
        }
    }
}

/// What gain, bias or dy hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// Mean 0, standard deviation 1.
    #[default]
    Normal,
    /// 0.
    Zero,
    /// 1e4 (f16: 1e3) times normal.
    Large,
    /// Normal, but for one column of 1e30 (f16: 6e4).
    OneHuge,
    /// Of one sign.
    Positive,
    /// 1e-34 (f16: 1e-6) times normal: times a scale that keeps sums of the largest in range, the first
    /// underflow.
    Tiny,
}

impl Values {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Zero => "zero",
            Self::Large => "large",
            Self::OneHuge => "one_huge",
            Self::Positive => "positive",
            Self::Tiny => "tiny",
        }
    }
}

/// What the residual holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// Mean 0, standard deviation 1.
    #[default]
    Normal,
    /// The same kind of data as x; near the end of the range the sum overflows.
    Like,
    /// -x: their sum is 0.
    Opposite,
}

impl Residual {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Like => "like",
            Self::Opposite => "opposite",
        }
    }
}

/// How tensors lie in their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows one after the other.
    Dense,
    /// A slice of wider rows, all on 16 bytes where `cols` allows; mean and rstd apart.
    Slice,
    /// Rows that start on single elements.
    Odd,
    /// Rows inside outer ones, all on 16 bytes where `cols` allows, as heads in a fused projection.
    Heads,
    /// Columns apart and rows side by side, inside outer rows: positions of samples that have their channels
    /// first.
    Channels,
    /// The same on the bytes of an access to four rows: kernels of their own.
    Positions,
    /// Columns inside outer ones, all on 16 bytes where their number allows: a channel's positions in each
    /// sample.
    Samples,
    /// Dense rows, with all tensors of the call in one buffer, each from a multiple of 256 bytes on, as the
    /// windows of a browser need.
    Pool,
}

impl Layout {
    /// Where rows of so many columns lie.
    pub(super) fn span(self, cols: u32, element_bytes: u32) -> Span {
        let (wide, inner_rows) = (u64::from(cols), u64::from(INNER_ROWS));
        let rows = Span { stride: wide, cols, element_bytes, ..Span::default() };
        match self {
            Self::Dense | Self::Pool => rows,
            Self::Slice => Span { offset: 64, stride: wide + 8, ..rows },
            Self::Odd => Span { offset: 3, stride: wide + 5, ..rows },
            Self::Heads => Span { offset: 64, inner_rows, outer_stride: inner_rows * wide + 8, ..rows },
            Self::Channels => {
                let column_stride = inner_rows + 1;
                let outer_stride = column_stride * wide + 5;
                Span { offset: 3, stride: 1, column_stride, inner_rows, outer_stride, ..rows }
            }
            Self::Positions => {
                let inner_rows = 2 * u64::from(ACCESS_ROWS);
                let column_stride = inner_rows + 4;
                let outer_stride = column_stride * wide + 4;
                Span { offset: 4, stride: 1, column_stride, inner_rows, outer_stride, ..rows }
            }
            Self::Samples => {
                let inner_columns = inner_columns_of(cols);
                let outer_column_stride = u64::from(inner_columns) + 8;
                let stride = u64::from(cols / inner_columns) * outer_column_stride;
                Span { offset: 64, stride, inner_columns, outer_column_stride, ..rows }
            }
        }
    }

    /// Elements between a row's end and the next row's start, where rows lie one after the other.
    pub(super) const fn gap(self) -> u64 {
        match self {
            Self::Slice => 8,
            Self::Odd => 5,
            Self::Dense | Self::Heads | Self::Channels | Self::Positions | Self::Samples | Self::Pool => 0,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Slice => "slice",
            Self::Odd => "odd",
            Self::Heads => "heads",
            Self::Channels => "channels",
            Self::Positions => "positions",
            Self::Samples => "samples",
            Self::Pool => "pool",
        }
    }
}

/// A fraction of so many columns: a half, a third, or as much smaller as what divides them is larger.
fn inner_columns_of(cols: u32) -> u32 {
    cols / least_factor(cols)
}

/// The least of what divides so many columns, beside 1.
pub(super) fn least_factor(cols: u32) -> u32 {
    (2..=cols).find(|factor| cols.is_multiple_of(*factor)).unwrap_or(1)
}

/// Rows inside an outer row, of which the last has fewer in most cases.
pub(super) const INNER_ROWS: u32 = 3;

/// Whose statistics backward has, in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SavedStatistics {
    /// The reference's.
    #[default]
    Reference,
    /// Those that the device's own forward saves of the same rows, with its errors.
    Device,
}
