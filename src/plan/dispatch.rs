//! Cutting a call into dispatches that keep an adapter's limits.

use super::{Caps, Kernel, Plan, WIDE, largest_common_power_of_two};
use crate::error::Error;

/// Where a tensor's rows lie in its buffer. Offset, stride and rows are those of a tensor that a buffer holds: its end,
/// in bytes, is below 2^64.
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
}

impl Span {
    /// How many elements can be accessed at once wherever a row starts, in the unit of [`Plan::vector_width`]: 8
    /// where every row starts on 16 bytes, 16 where every row starts on 32.
    #[must_use]
    pub const fn vector_width(&self) -> u32 {
        let full = 16 / self.element_bytes;
        let width =
            largest_common_power_of_two(largest_common_power_of_two(2 * full, self.offset), self.stride);
        if width == 2 * full {
            WIDE
        } else if width == full {
            8
        } else {
            width
        }
    }

    /// The byte at which row `row` starts.
    #[must_use]
    pub const fn row_byte(&self, row: u64) -> u64 {
        (self.offset + row * self.stride) * self.element_bytes as u64
    }

    /// The bytes from the start of the buffer to the end of the last of `rows` rows.
    #[must_use]
    pub const fn end(&self, rows: u64) -> u64 {
        match rows {
            0 => 0,
            _ => self.row_byte(rows - 1) + self.cols as u64 * self.element_bytes as u64,
        }
    }

    /// The window of the buffer that rows `first..first + rows` are bound through: its first byte, a multiple of
    /// `alignment`, and its length, a multiple of 4.
    #[must_use]
    pub const fn window(&self, first: u64, rows: u64, alignment: u32) -> (u64, u64) {
        let begin = self.row_byte(first) / alignment as u64 * alignment as u64;
        (begin, (self.end(first + rows) - begin).next_multiple_of(4))
    }

    /// How many rows from `first` on fit a window of `most` bytes.
    const fn rows_in_window(&self, first: u64, alignment: u32, most: u64) -> u64 {
        let (_, one) = self.window(first, 1, alignment);
        if one > most {
            return 0;
        }
        match self.stride {
            0 => u64::MAX,
            // Saturated, as the stride of a single row may be anything.
            stride => (most - one) / stride.saturating_mul(self.element_bytes as u64) + 1,
        }
    }
}

/// One dispatch of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The first row.
    pub first_row: u64,
    /// How many rows.
    pub rows: u32,
    /// Workgroups in x and y; z is 1. The shader numbers them `y * x_count + x`, and there may be a few too many.
    pub workgroups: [u32; 2],
    /// How many partial sums of the parameter gradients it leaves, one for each slot or workgroup. All dispatches of a call
    /// share them, so that scratch does not grow with their number.
    pub partial_rows: u32,
    /// How many of them the dispatches before this one have left: those are added to, the others written anew.
    pub earlier_partial_rows: u32,
}

impl Plan {
    /// The dispatches of a call over `rows` rows, whose tensors lie as `spans` says. Rows beyond one storage binding
    /// or one grid are cut into several dispatches. Without rows there is no dispatch.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where not even one row fits a binding.
    pub fn dispatches(&self, rows: u64, spans: &[Span], caps: &Caps) -> Result<Vec<Dispatch>, Error> {
        // Shaders count elements in u32; a binding this long has fewer than 2^31 of them.
        let most_bytes = caps.max_binding_bytes.min(u64::from(u32::MAX)) / 4 * 4;
        let most_rows = self.most_rows_per_dispatch(caps);
        let mut dispatches = Vec::new();
        let (mut first_row, mut earlier_partial_rows) = (0, 0);
        while first_row < rows {
            let mut count = (rows - first_row).min(most_rows);
            for span in spans {
                let fit = span.rows_in_window(first_row, caps.storage_alignment, most_bytes);
                if fit == 0 {
                    let (_, needs) = span.window(first_row, 1, caps.storage_alignment);
                    return Err(Error::unsupported(
                        "storage buffer binding size in bytes",
                        most_bytes,
                        format!("at least {needs} for one row"),
                    ));
                }
                count = count.min(fit);
            }
            let slots = self.slots(count);
            let partial_rows = self.partial_rows(slots);
            dispatches.push(Dispatch {
                first_row,
                rows: u32::try_from(count).unwrap_or(u32::MAX),
                workgroups: grid(slots.div_ceil(self.rows_per_workgroup) * self.chunks, caps.max_workgroups),
                partial_rows,
                earlier_partial_rows,
            });
            first_row += count;
            earlier_partial_rows = partial_rows.max(earlier_partial_rows);
        }
        Ok(dispatches)
    }

    /// The one dispatch of `backward_reduce_parameters`: a workgroup for each step of columns.
    #[must_use]
    pub fn reduce_dispatch(&self, partial_rows: u32, caps: &Caps) -> Dispatch {
        Dispatch {
            first_row: 0,
            rows: partial_rows,
            workgroups: grid(self.steps, caps.max_workgroups),
            partial_rows,
            earlier_partial_rows: 0,
        }
    }

    pub(super) fn most_rows_per_dispatch(&self, caps: &Caps) -> u64 {
        let workgroups = most_workgroups(caps) / u64::from(self.chunks);
        let by_grid = (workgroups * u64::from(self.rows_per_workgroup)).min(1 << 31);
        match self.kernel {
            Kernel::BackwardReduceParameters => by_grid,
            // A slot walks its rows in a loop, whose trips are limited on some adapters.
            Kernel::ForwardCached
            | Kernel::ForwardStreamed
            | Kernel::ForwardSplitStatistics
            | Kernel::ForwardSplitApply
            | Kernel::BackwardCached
            | Kernel::BackwardStreamed
            | Kernel::BackwardSplitSums
            | Kernel::BackwardSplitApply => {
                let trips = u64::from(caps.max_loop_trips) / self.loop_trips_per_row();
                let rows = trips / u64::from(self.block_rows) * u64::from(self.block_rows);
                by_grid.min(rows.max(1) * u64::from(self.most_slots()))
            }
        }
    }
}

/// The most workgroups of a dispatch. Near-square grids have a few more than they need: of half as many as numbers, none
/// passes 32 bits.
pub(super) fn most_workgroups(caps: &Caps) -> u64 {
    u64::from(caps.max_workgroups).pow(2).min(1 << 31)
}

/// Workgroups in x and y, at most `most` each, with as few too many as a near-square has.
fn grid(workgroups: u32, most: u32) -> [u32; 2] {
    let y = workgroups.div_ceil(most).max(1);
    [workgroups.div_ceil(y), y]
}
