//! What follows from a plan for a workgroup, a thread and a row.

use super::{Forward, Kernel, Operation, Plan, Reduction, RegisterBudget, Storage, Stored, ladder, shape};
use crate::types::{Channels, Normalization};

/// Of a thread's part of a slot's partial sum in workgroup memory: four float32.
pub(super) const SLOT_SUM_BYTES: u32 = 16;

/// What the arithmetic of a row takes from its width and channels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowFactors {
    /// A power of two: a sum of differences times it stays within the range of the values.
    pub sum_scale: f32,
    /// Turns such a sum into a mean.
    pub mean_factor: f32,
    /// What a sum of squares is divided by: the columns, or 1 for the norm.
    pub variance_count: f32,
    /// Channels of a row: 1 where gain and bias have a value for each column.
    pub channels: u32,
    /// Columns of each.
    pub spatial: u32,
}

impl Plan {
    /// Of its rows; in `backward_channel_sums`, of whole ones, whose sums are not scaled.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounded once; counts up to 2^24 and powers of two are exact"
    )]
    #[must_use]
    pub fn row_factors(&self) -> RowFactors {
        let is_scaled = self.kernel != Kernel::BackwardChannelSums;
        let scale = if is_scaled { f64::from(1_u32 << (self.log2_cols() + 1)) } else { 1.0 };
        let count = if self.is_by_norm() { 1.0 } else { f64::from(self.cols) };
        let mean_count = if is_scaled { count } else { self.row_cols() as f64 };
        RowFactors {
            sum_scale: (1.0 / scale) as f32,
            mean_factor: (scale / mean_count) as f32,
            variance_count: count as f32,
            channels: self.channels.map_or(1, Channels::per_row),
            spatial: self.channels.map_or(self.cols, |channels| channels.spatial),
        }
    }

    /// Whether rows are divided by their norm. A sum over partial sums has no rows.
    pub(crate) fn is_by_norm(&self) -> bool {
        let has_rows = !matches!(self.operation, Operation::ReduceParameters(_));
        has_rows && self.normalization == Normalization::L2
    }

    /// The exponent of the smallest power of two that is not below cols.
    pub(crate) const fn log2_cols(&self) -> u32 {
        self.cols.next_power_of_two().ilog2()
    }

    /// Whether no step has columns beyond the row.
    pub(crate) const fn is_full(&self) -> bool {
        let of_chunk = self.steps as u64 * self.step_cols() as u64;
        self.chunks as u64 * of_chunk == self.cols as u64
    }

    /// Invocations of a workgroup.
    #[must_use]
    pub const fn workgroup_size(&self) -> u32 {
        self.threads_per_row.saturating_mul(self.rows_per_workgroup)
    }

    /// vec4s that one access moves: 2 for 16 bytes of a 16-bit type or 32 of float32, 4 for 32 bytes of a
    /// 16-bit type, else 1.
    #[must_use]
    pub const fn parts(&self) -> u32 {
        shape::parts(self.vector_width)
    }

    /// Columns that the threads of a row cover in one step.
    #[must_use]
    pub const fn step_cols(&self) -> u32 {
        let of_thread = if self.is_across() { 1 } else { self.parts() * 4 };
        self.threads_per_row.saturating_mul(of_thread)
    }

    /// Partial moments or sums that a row has in scratch; 0 but in the split kernels.
    #[must_use]
    pub const fn row_partials(&self) -> u32 {
        match self.partial_cols {
            0 => 0,
            cols => self.cols.div_ceil(cols),
        }
    }

    /// float32 values of its rows that a thread holds or walks in a row's steps.
    #[must_use]
    pub const fn values_per_thread(&self) -> u32 {
        self.steps.saturating_mul(self.parts() * 4)
    }

    /// Whether the shader needs `enable f16;`.
    #[must_use]
    pub fn uses_native_f16(&self) -> bool {
        self.storages.any(&[Storage::NativeF16])
    }

    /// Whether the shader accesses memory in words of 64 bits, see
    /// [`Caps::shader_int64`](super::Caps::shader_int64).
    #[must_use]
    pub fn uses_int64(&self) -> bool {
        self.storages.is_one()
            && matches!((self.storages[Stored::AsRows], self.vector_width), (Storage::F32, 8) | (_, 16))
    }

    /// Whether the shader uses subgroup operations.
    #[must_use]
    pub const fn uses_subgroups(&self) -> bool {
        matches!(
            self.reduction,
            Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroup | Reduction::Subgroups(_)
        )
    }

    /// Bytes of workgroup memory.
    #[must_use]
    pub const fn workgroup_bytes(&self) -> u32 {
        let sums = self.kernel.sums_bytes(self.is_across());
        let reduction = self.reduction.workgroup_bytes(self.workgroup_size(), sums);
        let slots = match self.kernel {
            // A float32 of each.
            Kernel::BackwardChannelSums => self.rows_per_workgroup.saturating_mul(4),
            _ if self.combine_slots => self.workgroup_size().saturating_mul(SLOT_SUM_BYTES),
            _ => 0,
        };
        reduction.saturating_add(slots)
    }

    /// Steps of a run: what the streamed kernels, and the first of the split ones, hold of a row at a time.
    #[must_use]
    pub const fn run_steps(&self) -> u32 {
        let vec4 = match self.operation {
            Operation::Forward(_) => ladder::RUN_VEC4,
            _ => RegisterBudget::MOST.backward_vec4,
        };
        let steps = vec4 / self.parts();
        match self.kernel {
            // Steps of a run that are not there are loaded all the same, and a channel may have few.
            Kernel::BackwardChannelSums if self.steps < steps && self.steps > 0 => self.steps,
            // One by one, a step is four loads of each tensor.
            Kernel::BackwardStreamed | Kernel::BackwardSplitSums if self.short && self.vector_width == 1 => {
                steps / 2
            }
            // Written out for each access of a block: forward took 1.2 times as long to compile with whole
            // runs, and ran at 1.05 of the speed, backward 1.5 times at 0.98.
            _ if self.short && self.is_across() => steps / 2,
            _ => steps,
        }
    }

    /// Whether a channel is one run of steps.
    pub(crate) const fn is_one_run(&self) -> bool {
        matches!(self.kernel, Kernel::BackwardChannelSums) && self.steps <= self.run_steps()
    }

    /// The most loop trips that one row costs an invocation, if the compiler unrolls nothing.
    #[must_use]
    pub fn loop_trips_per_row(&self) -> u64 {
        let steps = u64::from(self.steps);
        let trips = steps * (1 + u64::from(self.parts()));
        let runs = steps.div_ceil(self.run_steps().into());
        // The partial sums of all subgroups, or the levels of the tree, per reduction.
        let reduction = match self.reduction {
            Reduction::Thread | Reduction::Subgroup => 0,
            Reduction::Lanes | Reduction::Workgroup => u64::from(self.threads_per_row.max(2).ilog2()),
            Reduction::Adaptive => u64::from(self.threads_per_row),
            Reduction::Subgroups(min) => u64::from(self.threads_per_row.div_ceil(min.max(1))),
        };
        let row_partials = u64::from(self.row_partials().div_ceil(self.threads_per_row.max(1)));
        // Levels of the tree over the slots of a workgroup.
        let slots = if self.combine_slots { u64::from(self.rows_per_workgroup.max(1).ilog2()) } else { 0 };
        // Codes, and another walk and a reduction for their unit.
        let of_codes = match self.operation {
            Operation::Forward(forward) if forward.finds_units() => 4 * trips + reduction,
            Operation::Forward(Forward { codes: Some(_), .. }) => 2 * trips,
            _ => 0,
        };
        // The gradient of a gate: its terms, or those of a large row, and its sums over slots.
        let has_dgate = matches!(self.operation, Operation::Backward(backward) if backward.dgate.is_some());
        let of_dgate = if has_dgate { 3 * trips + steps + trips * slots } else { 0 };
        let of_access = match self.kernel {
            Kernel::ForwardCached => 1 + 6 * trips + 2 * reduction + of_codes,
            // Two walks for the moments, one of them scaled, each with two loops over a run, and four
            // components.
            Kernel::ForwardStreamed | Kernel::ForwardSplitStatistics => {
                8 + 5 * trips + steps + 2 * runs + 3 * reduction + of_codes
            }
            // The partial moments up to three times, once a scale, in two loops each.
            Kernel::ForwardSplitApply => 4 + 6 * trips + 6 * row_partials + 3 * reduction,
            // Two more walks where a row is large. Their loops over parts do not count: adapters with a limit
            // get texts in which those are written out.
            Kernel::BackwardCached => {
                1 + 7 * trips + 2 * steps + 2 * reduction + 2 * trips * slots + of_dgate
            }
            // Two walks in whole runs, each with a loop for what serves a block, and the update of the
            // partial sums; and two of large rows.
            Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
                let run_steps = runs * u64::from(self.run_steps());
                let whole_runs = 2 * run_steps * (1 + u64::from(self.parts())) + 3 * run_steps + 4 * runs;
                6 + whole_runs + 2 * steps + 2 * reduction + of_dgate
            }
            Kernel::BackwardSplitApply => 1 + 7 * trips + steps + row_partials + 2 * reduction,
            // Two walks over each channel of a slot, and a reduction; and a sum over the slots.
            Kernel::BackwardChannelSums => {
                let slots = self.rows_per_workgroup.max(1);
                let channels = u64::from(self.channels.map_or(1, Channels::per_row).div_ceil(slots));
                let of_channel = 4 + 3 * trips + 2 * runs + reduction;
                channels.saturating_mul(of_channel).saturating_add(reduction + u64::from(slots))
            }
            Kernel::BackwardReduceParameters => {
                let batch = u64::from(Self::REDUCE_BATCH);
                let batches = u64::from(self.max_partial_rows)
                    .div_ceil(u64::from(self.rows_per_workgroup.max(1)) * batch);
                batches * (1 + batch * (2 + 2 * u64::from(self.parts())))
                    + 2 * u64::from(self.parts()) * (1 + slots)
            }
        };
        of_access.div_ceil(self.access_rows().into())
    }
}
