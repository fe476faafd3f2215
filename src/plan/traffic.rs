//! The bytes that a plan moves between memory and registers.

use super::{Dispatch, Kernel, Operation, Plan, Storage, Tensor};
use crate::types::Gradient;

/// Bytes that a call reads and writes, each access of a kernel counted, whether a cache serves it or not. gain and
/// bias, which all rows share, count once a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Traffic {
    /// Bytes read and written.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.read + self.written
    }
}

impl std::ops::Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { read: self.read + other.read, written: self.written + other.written }
    }
}

const STATISTICS_BYTES: u64 = 8;

impl Plan {
    /// The traffic of a call of this plan; in backward without the plan that sums the parameter gradients, which has
    /// its own. None for a plan that is [not valid](Plan::validate).
    #[must_use]
    pub fn traffic(&self, dispatches: &[Dispatch]) -> Traffic {
        if self.validate().is_err() {
            return Traffic::default();
        }
        let rows: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.rows)).sum();
        let partial_rows: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.partial_rows)).sum();
        let cols = u64::from(self.cols);
        let row = rows * cols * element_bytes(self.row_storage);
        let parameter = cols * element_bytes(self.parameter_storage);
        let partial_row = u64::from(self.parameter_gradients()) * cols * 4;
        let partials = partial_rows * partial_row;
        let statistics = rows * STATISTICS_BYTES;
        let has = |tensor| self.tensors().contains(&tensor);
        let once = |present: bool, bytes| if present { bytes } else { 0 };
        let row_partials = self.row_partials_bytes(rows);
        // Each chunk reads what all of the row's have left.
        let merged = u64::from(self.chunks) * row_partials;
        match self.operation {
            Operation::Forward(forward) if self.kernel == Kernel::ForwardSplitStatistics => Traffic {
                read: row + once(forward.residual, row),
                written: once(forward.residual, row) + row_partials,
            },
            Operation::Forward(forward) if self.kernel == Kernel::ForwardSplitApply => Traffic {
                read: row + merged + once(has(Tensor::Gain), parameter) + once(has(Tensor::Bias), parameter),
                written: row + once(forward.statistics, statistics),
            },
            Operation::Backward(_) if self.kernel == Kernel::BackwardSplitSums => Traffic {
                read: 2 * row + statistics + once(has(Tensor::Gain), parameter),
                written: row_partials,
            },
            Operation::Forward(forward) => {
                let inputs = if forward.residual { 2 } else { 1 };
                // The second walk reads x again, or the sum that the first has written.
                let read_again = once(self.kernel == Kernel::ForwardStreamed, row);
                Traffic {
                    read: inputs * row
                        + read_again
                        + once(has(Tensor::Gain), parameter)
                        + once(has(Tensor::Bias), parameter),
                    written: row + once(forward.residual, row) + once(forward.statistics, statistics),
                }
            }
            Operation::Backward(backward) => {
                let walks = if self.kernel == Kernel::BackwardStreamed { 2 } else { 1 };
                let old_dx = once(backward.dx == Some(Gradient::Accumulate), row);
                // Slots or workgroups write their partial sums once a dispatch, those of the streamed kernel once a block of rows. All
                // but the first write of each reads it before.
                let block = |dispatch: &Dispatch| {
                    let blocks = u64::from(dispatch.rows.div_ceil(self.block_rows));
                    blocks.next_multiple_of(self.rows_per_workgroup.into())
                };
                let updates = match self.kernel {
                    Kernel::BackwardStreamed => dispatches.iter().map(block).sum::<u64>() * partial_row,
                    _ => partials,
                };
                let read_back = updates.saturating_sub(self.scratch_bytes(dispatches));
                Traffic {
                    read: walks * 2 * row
                        + old_dx
                        + statistics
                        + once(has(Tensor::Gain), parameter)
                        + once(self.kernel == Kernel::BackwardSplitApply, merged)
                        + read_back,
                    written: once(backward.dx.is_some(), row) + updates,
                }
            }
            Operation::ReduceParameters(backward) => {
                let gradients = [backward.dgain, backward.dbias];
                let count = |wanted: fn(&Option<Gradient>) -> bool| {
                    gradients.iter().filter(|gradient| wanted(gradient)).count() as u64
                };
                // Slices load batches, which the last partial sum fills up.
                let (slices, batch) = (u64::from(self.rows_per_workgroup), u64::from(Self::REDUCE_BATCH));
                let batches = |slice: u64| partial_rows.saturating_sub(slice).div_ceil(slices * batch);
                let loaded_rows = (0..slices).map(batches).sum::<u64>() * batch;
                Traffic {
                    read: loaded_rows * partial_row
                        + count(|gradient| *gradient == Some(Gradient::Accumulate)) * parameter,
                    written: count(Option::is_some) * parameter,
                }
            }
        }
    }
}

const fn element_bytes(storage: Storage) -> u64 {
    match storage {
        Storage::F32 => 4,
        Storage::NativeF16 | Storage::PackedF16 | Storage::PackedBf16 => 2,
    }
}
