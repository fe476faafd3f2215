//! Rows whose gain and bias have a value for each channel: the plan of their sums over channels, and how
//! samples lie in dispatches.

use super::strides::inner_rows;
use super::{Backward, Caps, Dispatch, Kernel, Operation, Plan, RowShape, Rung, Shape, Span, Tensor, ladder};
use crate::error::Error;
use crate::types::{Affine, Channels, Problem};

impl Plan {
    /// The plan that takes the sums of dgain and dbias over the columns of each channel, where rows of the
    /// problem have several: of those [`Plan::backward`] leaves none, and [`Plan::reduce_parameters`] comes
    /// after it.
    ///
    /// # Errors
    /// As [`Plan::backward`]; [`Error::Invalid`] too where rows of the problem have no channels or one.
    pub fn channel_sums(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let Some(channels) = problem.channels else {
            return Err(Error::invalid("channels", "none", "there, for sums over the columns of each"));
        };
        if !problem.has_channel_sums() {
            let needs = "several with several columns each: others leave their sums in backward";
            return Err(Error::invalid("channels of a group", channels.per_row(), needs));
        }
        let of_channel = Problem { cols: channels.spatial, ..*problem };
        let shape = RowShape::new(&of_channel, vector_width, caps)?;
        let rung = ladder::channel_sums(&shape, channels.per_row(), caps)?;
        let Backward { dgain, dbias, from_y, .. } = backward;
        let sums = Backward { dgain, dbias, from_y, ..Backward::default() };
        Self::with(problem, Operation::Backward(sums), &shape, rung, caps)
    }

    /// Values of each partial sum of a gradient, and of gain and bias but where those are
    /// [shared](Channels::shares_affine).
    #[must_use]
    pub fn parameters(&self) -> u32 {
        match self.channels {
            Some(channels) if !channels.shares_affine || self.deals_heads() => channels.count,
            _ => self.cols,
        }
    }

    /// Values of a tensor of parameters: gain, bias or a gate.
    #[must_use]
    pub fn values_of(&self, shape: Shape) -> u32 {
        match (shape, self.channels) {
            (Shape::Cols, Some(channels)) if channels.shares_affine => self.cols,
            (_, Some(channels)) => channels.count,
            (_, None) => self.cols,
        }
    }

    /// Values of a whole row, whose columns a kernel over channels walks channel by channel.
    pub(crate) fn row_cols(&self) -> u64 {
        let channels = match self.kernel {
            Kernel::BackwardChannelSums => self.channels.map_or(1, Channels::per_row),
            _ => 1,
        };
        u64::from(self.cols) * u64::from(channels)
    }

    /// Whether gain and bias have values that are accessed one by one: those of channels with several
    /// columns.
    pub(crate) fn has_single_parameters(&self) -> bool {
        self.channels.is_some_and(|channels| !channels.is_by_column())
    }

    /// Whether gain and bias, which the kernel reads, have a row for each group, as for each head of a token.
    #[must_use]
    pub fn has_parameter_rows(&self) -> bool {
        self.channels.is_some_and(Channels::has_parameter_rows)
            && self.kernel != Kernel::BackwardChannelSums
            && self.tensors().contains(&Tensor::Gain)
    }

    /// Whether a gate, which the kernel reads, has a row for each group.
    #[must_use]
    pub fn has_gate_rows(&self) -> bool {
        self.channels.is_some_and(Channels::is_by_column) && self.tensors().contains(&Tensor::Gate)
    }

    /// Whether a tensor of parameters has a row for each group.
    pub(crate) fn has_rows_of(&self, tensor: Tensor) -> bool {
        match self.shape(tensor) {
            Some(Shape::Cols) => self.has_parameter_rows(),
            Some(Shape::Gates) => self.has_gate_rows(),
            _ => false,
        }
    }

    /// The groups whose partial sums are added up with those of the slots: of dgain and dbias that all
    /// samples share, where a gate has a gradient for each. Else 1.
    pub(crate) fn reduced_groups(&self) -> u32 {
        match (self.kernel, self.channels) {
            (Kernel::BackwardReduceParameters, Some(channels)) => channels.groups.max(1),
            _ => 1,
        }
    }

    /// Whether workgroups work on one group of each sample, so that what they leave of dgain and dbias is
    /// that group's, or in forward gain and bias are those of all rows that a slot walks.
    pub(crate) fn deals_heads(&self) -> bool {
        deals_heads(self.channels, &self.operation, self.kernel)
            || deals_samples(self.channels, &self.operation, self.affine, &self.rung())
    }

    /// The groups that workgroups are dealt to: 1 where they work on all rows.
    pub(super) fn dealt_groups(&self) -> u32 {
        let channels = self.channels.filter(|_| self.deals_heads());
        channels.map_or(1, |channels| channels.groups.max(1))
    }

    /// Whether the next row of a slot has other parameters.
    pub(crate) fn changes_parameters(&self) -> bool {
        self.channels.is_some_and(|channels| !channels.shares_affine) && !self.deals_heads()
    }

    /// Whether each row of a backward kernel is a channel of a sample: its gain is that of the row.
    pub(crate) fn has_channel_rows(&self) -> bool {
        matches!(self.operation, Operation::Backward(_))
            && self.kernel != Kernel::BackwardChannelSums
            && self.channels.is_some_and(Channels::is_one_a_row)
    }

    /// Whether the sums over such rows are what is wanted of dgain and dbias.
    pub(crate) fn leaves_channel_sums(&self) -> bool {
        self.has_channel_rows() && self.parameter_gradients() > 0
    }

    /// The channels of which a partial sum of dgain and dbias is left for each sample.
    pub(super) fn channels_of_sums(&self) -> Option<Channels> {
        self.channels.filter(|_| self.kernel == Kernel::BackwardChannelSums || self.leaves_channel_sums())
    }

    /// The samples of so many rows, of which `backward_channel_sums` leaves a partial sum each.
    pub(super) fn samples(&self, rows: u64) -> Option<u32> {
        let samples = rows.div_ceil(self.channels_of_sums()?.groups.max(1).into());
        Some(u32::try_from(samples).unwrap_or(u32::MAX))
    }

    /// The rows inside an outer row, which every dispatch is told: those of a sample, where gain and bias
    /// have a value for each channel; 1 where there are none.
    pub(crate) fn inner_rows(&self, spans: &[Span]) -> Result<u32, Error> {
        let given = inner_rows(spans)?;
        match self.channels {
            Some(Channels { groups, .. })
                if given == groups || spans.iter().all(|span| span.inner_rows == 0) =>
            {
                Ok(groups)
            }
            Some(Channels { groups, .. }) => {
                let needs = Channels::rows_of_sample(groups);
                Err(Error::invalid("the rows inside an outer row", given, needs))
            }
            None => Ok(given),
        }
    }

    /// Of so many rows from `first_row` on, those that one dispatch has where sums are those of samples or of
    /// groups: whole samples, or a part of one.
    pub(super) fn in_samples(&self, first_row: u64, rows: u64) -> u64 {
        let of_samples = self.channels_of_sums().or(self.channels.filter(|_| self.deals_heads()));
        let Some(Channels { groups, .. }) = of_samples else { return rows };
        let groups = u64::from(groups.max(1));
        match first_row % groups {
            0 if rows >= groups => rows / groups * groups,
            before => rows.min(groups - before),
        }
    }

    /// The partial sums that a dispatch and those before it have left. Of a sample that goes on in the next
    /// one, nothing is there of the rows to come.
    pub(crate) fn partial_rows_after(&self, dispatch: &Dispatch) -> u32 {
        let end = dispatch.first_row + u64::from(dispatch.rows);
        match self.channels_of_sums() {
            Some(channels) if !end.is_multiple_of(channels.groups.into()) => dispatch.earlier_partial_rows,
            _ => dispatch.partial_rows.max(dispatch.earlier_partial_rows),
        }
    }
}

/// [`Plan::deals_heads`].
pub(super) fn deals_heads(channels: Option<Channels>, operation: &Operation, kernel: Kernel) -> bool {
    let is_by_column = channels.is_some_and(Channels::is_by_column);
    let is_shared = channels.is_some_and(|channels| channels.shares_affine);
    let leaves_sums = match operation {
        Operation::Backward(backward) => {
            backward.dgate.is_some() || (backward.has_affine_gradients() && !is_shared)
        }
        _ => false,
    };
    let has_slots = !matches!(kernel, Kernel::BackwardChannelSums | Kernel::BackwardSplitSums);
    is_by_column && leaves_sums && has_slots
}

/// Whether forward deals rows so that gain, bias and gate of a sample serve all rows of a slot, or of a
/// block: where a rung has those walk several rows for that. Where slots share a workgroup, those of a sample
/// with few rows would leave most of it idle.
pub(super) fn deals_samples(
    channels: Option<Channels>,
    operation: &Operation,
    affine: Affine,
    rung: &Rung,
) -> bool {
    let Operation::Forward(forward) = operation else { return false };
    let Some(channels) = channels.filter(|channels| channels.is_blocked()) else { return false };
    let of_gain = forward.makes_y() && affine.has_gain() && channels.has_parameter_rows();
    let of_gate = forward.gate && rung.kernel == Kernel::ForwardCached;
    let serves_several = match rung.kernel {
        Kernel::ForwardCached => rung.hold_parameters,
        Kernel::ForwardStreamed => rung.block_rows > 1,
        _ => false,
    };
    (of_gain || of_gate) && serves_several && rung.rows_per_workgroup == 1
}

/// Without the gradients of channels, where [`Plan::channel_sums`] has them.
pub(super) fn of_rows(problem: &Problem, backward: Backward) -> Backward {
    match problem.has_channel_sums() {
        true => Backward { dgain: None, dbias: None, ..backward },
        false => backward,
    }
}

/// The problem of a kernel over rows that reads gain only where it does: the gain of a row's own channel is
/// what dx is multiplied by, what the activation was applied to was, and so was y.
pub(super) fn of_gain(problem: &Problem, backward: &Backward) -> Problem {
    match problem.channels {
        Some(channels)
            if channels.is_one_a_row()
                && backward.dx.is_none()
                && !problem.activation.is_some()
                && !backward.from_y =>
        {
            problem.without_affine()
        }
        _ => *problem,
    }
}
