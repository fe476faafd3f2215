//! The bytes that a plan moves between memory and registers.

use super::{Dispatch, Kernel, Plan};
use crate::op::{Shape, Used};
use crate::types::{Normalization, Statistics};
use std::ops::Add;

/// Bytes that a call reads and writes, each access of a kernel counted, whether a cache serves it or not;
/// what a step of a row loads twice, as x behind an activation in backward, counts once. gain, bias and gate,
/// which rows share, count once a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
        }
    }
}

impl Plan {
    /// The traffic of a call of this plan; in backward without the plan that sums the parameter gradients,
    /// which has its own. None for a plan that is [not valid](Plan::validate).
    #[must_use]
    pub fn traffic(&self, dispatches: &[Dispatch]) -> Traffic {
        if self.validate().is_err() {
            return Traffic::default();
        }
        let of = |used: &Used| self.traffic_of(used, dispatches);
        self.used().iter().map(of).fold(Traffic::default(), Traffic::add)
    }

    fn traffic_of(&self, used: &Used, dispatches: &[Dispatch]) -> Traffic {
        let rows: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.rows)).sum();
        let element_bytes = u64::from(self.storage(used.tensor).element_bytes());
        let row = self.row_cols() * element_bytes;
        let (mut reads, writes) = (u64::from(used.uses.reads), u64::from(used.uses.writes));
        // Without a mean nothing is left of it.
        if self.kernel == Kernel::BackwardChannelSums && self.normalization != Normalization::Layer {
            reads = reads.min(1);
        }
        // Saturated, as dispatches may be anybody's.
        let walks =
            |bytes: u64| Traffic { read: reads.saturating_mul(bytes), written: writes.saturating_mul(bytes) };
        match used.shape {
            Shape::Rows => walks(rows.saturating_mul(row)),
            Shape::Cols | Shape::Gates => walks(u64::from(self.values_of(used.shape)) * element_bytes),
            Shape::Codes => walks(rows.saturating_mul(4 * u64::from(Shape::words(self.cols)))),
            Shape::PerRow => walks(rows.saturating_mul(4)),
            Shape::One => walks(4),
            Shape::Statistics => walks(rows.saturating_mul(size_of::<Statistics>() as u64)),
            // Each chunk reads what all of the row's have left.
            Shape::RowPartials => {
                let all = walks(self.row_partials_bytes(rows));
                Traffic { read: u64::from(self.chunks).saturating_mul(all.read), ..all }
            }
            Shape::Partials if self.kernel == Kernel::BackwardReduceParameters => {
                Traffic { read: self.reduced_bytes(dispatches), written: 0 }
            }
            Shape::Partials => {
                let written = self.updated_bytes(dispatches);
                Traffic { read: written.saturating_sub(self.scratch_bytes(dispatches)), written }
            }
        }
    }

    fn partial_row_bytes(&self) -> u64 {
        self.parameter_gradients() as u64 * self.parameters() as u64 * 4
    }

    /// What slots or workgroups write of their partial sums: once a dispatch, or once a block of rows. All
    /// but the first write of each reads it before.
    fn updated_bytes(&self, dispatches: &[Dispatch]) -> u64 {
        let updates = |dispatch: &Dispatch| match self.kernel {
            Kernel::BackwardStreamed if !self.leaves_channel_sums() => {
                let rows = dispatch.rows / self.dealt_groups();
                let blocks = u64::from(rows.div_ceil(self.block_rows));
                blocks.next_multiple_of(self.rows_per_workgroup.into())
            }
            _ if self.sums_blocks() => {
                let slots = u64::from(self.rows_per_workgroup);
                let rows = u64::from(dispatch.rows / self.dealt_groups());
                let of_workgroup = slots * u64::from(self.slot_rows(dispatch.rows.into())).max(1);
                let blocks = |rows: u64| rows.div_ceil(slots * u64::from(Self::SUMMED_ROWS));
                slots * (rows / of_workgroup * blocks(of_workgroup) + blocks(rows % of_workgroup))
            }
            _ => dispatch.partial_rows.into(),
        };
        dispatches.iter().map(updates).sum::<u64>().saturating_mul(self.partial_row_bytes())
    }

    /// What the slices of the reduction load: batches, which the last partial sum fills up.
    fn reduced_bytes(&self, dispatches: &[Dispatch]) -> u64 {
        let partial_rows: u64 = dispatches.iter().map(|dispatch| u64::from(dispatch.rows)).sum();
        let (slices, batch) = (u64::from(self.rows_per_workgroup), u64::from(Self::REDUCE_BATCH));
        let batches = |slice: u64| partial_rows.saturating_sub(slice).div_ceil(slices * batch);
        let loaded = (0..slices).map(batches).sum::<u64>().saturating_mul(batch);
        loaded.saturating_mul(self.partial_row_bytes())
    }
}
