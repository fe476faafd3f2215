//! Slots: the rows that a dispatch works on side by side, and what they leave of the sums over rows.

use super::{AdapterKind, Dispatch, Kernel, Operation, Plan};

/// Four float32.
const ROW_PARTIAL_BYTES: u64 = 16;

/// vec4s of a thread whose sums over rows are compensated in registers, where texts are to be short.
const MOST_COMPENSATED_VEC4: u32 = 8;

/// Whether the slots of a workgroup put their partial sums together where there are several. The streamed
/// kernel updates its own in memory, and on a CPU barriers cost more than the partial sums do.
pub(super) const fn combines_slots(kernel: Kernel, kind: AdapterKind) -> bool {
    matches!((kernel, kind), (Kernel::BackwardCached, AdapterKind::Gpu))
}

impl Plan {
    /// Rows of gradients that each workgroup leaves as partial sums: of dgain, dbias and dgate.
    #[must_use]
    pub const fn parameter_gradients(&self) -> u32 {
        self.operation.parameter_gradients()
    }

    /// Rows that a dispatch of `rows` rows works on side by side, a multiple of `rows_per_workgroup`. Each
    /// workgroup has some rows.
    #[must_use]
    pub fn slots(&self, rows: u64) -> u32 {
        self.workgroups(rows).saturating_mul(self.rows_per_workgroup)
    }

    /// Workgroups of a dispatch of `rows` rows, of each chunk.
    pub(super) fn workgroups(&self, rows: u64) -> u32 {
        let in_all = u64::from(self.rows_at_a_time().max(1)) * u64::from(self.slot_rows(rows));
        let groups = u64::from(self.dealt_groups());
        u32::try_from(groups * (rows / groups).div_ceil(in_all)).unwrap_or(u32::MAX)
    }

    /// Rows that a slot walks of a dispatch of `rows` rows, one below the other, a multiple of `block_rows`.
    /// They are several where it gains from that: where it leaves partial sums of the parameter gradients, or
    /// keeps gain and bias in registers.
    #[must_use]
    pub fn slot_rows(&self, rows: u64) -> u32 {
        let wanted = (rows / u64::from(self.least_slots.max(1))).clamp(1, self.rows_per_slot.max(1).into());
        let least = (rows / u64::from(self.dealt_groups())).div_ceil(self.most_slots().into());
        let blocks = wanted.max(least).div_ceil(self.block_rows.max(1).into());
        let slot_rows = blocks.saturating_mul(self.block_rows.max(1).into());
        u32::try_from(slot_rows).unwrap_or(u32::MAX)
    }

    /// Whether slots or workgroups leave partial sums of dgain and dbias, or read them. Those of channels are
    /// a sample's, whatever the slots.
    pub(super) fn has_slot_sums(&self) -> bool {
        self.parameter_gradients() > 0 && self.channels_of_sums().is_none()
    }

    /// Whether dz of an activation is made of what a step has loaded of x, gain and bias, which are not
    /// loaded again. Gain and bias of a row that is one channel are no parameters of a step;
    /// `backward_cached` has those that it does not hold after dz.
    pub(crate) fn dz_of_loaded(&self) -> bool {
        let is_of_x = matches!(
            self.operation,
            Operation::Backward(backward) if backward.gate_input.is_none() && !backward.from_y
        );
        is_of_x
            && self.activation.is_some()
            && self.short
            && self.kernel != Kernel::BackwardChannelSums
            && (self.kernel != Kernel::BackwardCached || self.hold_parameters)
            && !self.has_channel_rows()
    }

    /// Whether `backward_cached` adds up the rows of a block plainly, and the blocks in memory. Compensated
    /// sums in registers take a software adapter's compiler a third of its time, where there are many.
    pub(crate) fn sums_blocks(&self) -> bool {
        let vec4 = self.steps.saturating_mul(self.parts());
        self.kernel == Kernel::BackwardCached
            && self.short
            && vec4 > MOST_COMPENSATED_VEC4
            && self.has_slot_sums()
    }

    /// Rows of a workgroup at a time: one whose slots are channels has one.
    pub(super) const fn rows_at_a_time(&self) -> u32 {
        match self.kernel {
            Kernel::BackwardChannelSums => 1,
            _ => self.rows_per_workgroup,
        }
    }

    /// The most slots of a dispatch, or of each group that they are dealt to, a multiple of
    /// `rows_per_workgroup`, by the partial sums that they leave.
    pub(super) fn most_slots(&self) -> u32 {
        let rows_per_workgroup = self.rows_per_workgroup.max(1);
        let most_workgroups = match (self.has_slot_sums(), self.combine_slots) {
            (false, _) => u32::MAX / rows_per_workgroup,
            (_, false) => (self.max_partial_rows / rows_per_workgroup).max(1),
            (_, true) => self.max_partial_rows.max(1),
        };
        most_workgroups.saturating_mul(rows_per_workgroup)
    }

    /// The partial sums of the parameter gradients that `slots` slots, or as many of each group, leave: whole
    /// workgroups of them.
    pub(crate) const fn partial_rows(&self, slots: u32) -> u32 {
        match (self.parameter_gradients(), self.combine_slots) {
            (0, _) => 0,
            (_, false) => slots,
            (_, true) => match self.rows_per_workgroup {
                0 => 0,
                rows_per_workgroup => slots / rows_per_workgroup,
            },
        }
    }

    /// The most partial sums of the parameter gradients that a dispatch of at most `rows` rows leaves. Fewer
    /// rows may leave more of them: slots get more rows each before there are more slots.
    #[must_use]
    pub fn most_partial_rows(&self, rows: u64) -> u32 {
        if let Some(samples) = self.samples(rows) {
            return samples.min(self.max_partial_rows);
        }
        // With s rows to a slot there are rows / s slots, and s is the multiple of `block_rows` from rows /
        // least_slots on, but never more than `rows_per_slot`. It lags behind the rows by less than one:
        // there are (b + 1) / b times `least_slots` slots at most, b the least s, until s stays and slots
        // grow with the rows.
        let (block, least) = (u64::from(self.block_rows), u64::from(self.least_slots));
        let few = rows.div_ceil(block).min((least * (block + 1)).div_ceil(block));
        let slots = few.max(rows.div_ceil(u64::from(self.rows_per_slot).next_multiple_of(block)));
        let slots = slots.div_ceil(self.dealt_groups().into());
        let slots = u32::try_from(slots.next_multiple_of(self.rows_per_workgroup.into())).unwrap_or(u32::MAX);
        self.partial_rows(slots.min(self.most_slots()))
    }

    /// Bytes of scratch that a call of at most `rows` rows a dispatch needs for the partial sums of its
    /// dispatches.
    #[must_use]
    pub fn most_scratch_bytes(&self, rows: u64) -> u64 {
        self.partials_bytes(self.most_partial_rows(rows))
    }

    /// Bytes of scratch that a call needs for the partial sums of its dispatches.
    #[must_use]
    pub fn scratch_bytes(&self, dispatches: &[Dispatch]) -> u64 {
        let partial_rows = dispatches.iter().map(|dispatch| dispatch.partial_rows).max().unwrap_or(0);
        self.partials_bytes(partial_rows)
    }

    /// Bytes of scratch that the two split kernels of a call need for the partial moments or sums of its
    /// rows.
    #[must_use]
    pub const fn row_partials_bytes(&self, rows: u64) -> u64 {
        rows.saturating_mul(self.row_partials() as u64 * ROW_PARTIAL_BYTES)
    }

    /// Values of the partial sums that a dispatch leaves or reads.
    #[cfg(feature = "gpu")]
    pub(crate) fn trial_partials(&self, dispatch: &Dispatch) -> u64 {
        let of_gradients = u64::from(self.partial_gradients) * u64::from(self.parameters());
        let rows = match self.kernel {
            Kernel::BackwardReduceParameters => dispatch.rows,
            _ => dispatch.partial_rows,
        };
        u64::from(rows).saturating_mul(of_gradients)
    }

    pub(super) fn partials_bytes(&self, partial_rows: u32) -> u64 {
        (u64::from(partial_rows) * u64::from(self.parameters()))
            .saturating_mul(4 * u64::from(self.parameter_gradients()))
    }
}
