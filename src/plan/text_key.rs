//! What of a plan its text depends on.

use super::{Kernel, Operation, Plan};
use crate::types::{Activation, Affine, Channels, Gradient, Normalization, RowOrder};

impl Plan {
    /// With the least width, steps, chunks and channels whose text is the same: those that are numbers of the
    /// uniform.
    fn of_any_width(self) -> Self {
        // A row of one column is a case of its own.
        if self.kernel.holds_rows() || self.row_cols() == 1 {
            return self;
        }
        let is_of_channels = self.kernel == Kernel::BackwardChannelSums;
        let is_of_chunks = self.kernel.is_split();
        let steps = match self.kernel {
            // Chunks have a size of their own, and a channel of one run is that run.
            _ if is_of_chunks || self.is_one_run() => self.steps,
            Kernel::BackwardChannelSums => self.run_steps() + 1,
            _ => 1,
        };
        // One access less than full, where the last step is not.
        let cols = steps * self.step_cols()
            - match (self.is_full(), self.is_across()) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => self.vector_width,
            };
        let of_width = Self { cols, steps, chunks: 1, ..self };
        match self.channels {
            None => of_width,
            Some(channels) if channels.is_by_column() && !is_of_chunks => {
                Self { channels: Some(Channels { count: cols, groups: 1, ..channels }), ..of_width }
            }
            Some(channels) if is_of_channels => {
                Self { channels: Some(Channels { spatial: cols, ..channels }), ..of_width }
            }
            Some(channels)
                if channels.is_one_a_row() || (channels.is_one_a_step(self.step_cols()) && !is_of_chunks) =>
            {
                Self { channels: Some(Channels::new(1, 1, cols)), ..of_width }
            }
            Some(_) => self,
        }
    }

    /// The plan with everything set to a fixed value that its text does not depend on. Plans with equal keys
    /// have equal texts, but for the label in the first line: what differs between them reaches the shader by
    /// the uniform, or another dispatch of the call.
    #[must_use]
    pub fn text_key(&self) -> Self {
        // How many groups there are is a number of the uniform. Without parameters, and where their gradients
        // are partial sums, channels do not matter.
        let is_sum = matches!(self.operation, Operation::ReduceParameters(_));
        let by_channel = |channels: Channels| Channels {
            shares_affine: channels.shares_affine && (self.affine.has_gain() || is_sum),
            order: match self.operation {
                Operation::Forward(_) => channels.order,
                _ => RowOrder::Interleaved,
            },
            ..Channels::new(channels.per_row(), 1, channels.spatial)
        };
        let is_shared = self.channels.is_some_and(|channels| channels.shares_affine);
        let knows_channels = match self.operation {
            Operation::Forward(forward) => {
                self.has_gate_rows() || (self.affine.has_gain() && forward.makes_y() && !is_shared)
            }
            Operation::Backward(_) => {
                self.has_gate_rows()
                    || self.deals_heads()
                    || (self.affine.has_gain() && !is_shared)
                    || self.channels_of_sums().is_some()
            }
            // Of all samples, where it has channels at all.
            Operation::ReduceParameters(_) => true,
        };
        let channels = self.channels.filter(|_| knows_channels).map(by_channel);
        let walk_free = Self { least_slots: 1, rows_per_slot: 1, max_partial_rows: 1, channels, ..*self };
        let walk_free = walk_free.of_any_width();
        // Whether the sum over rows is added to what is there is decided where it is stored, in the
        // reduction.
        let stored_there = |gradient: Option<Gradient>| gradient.map(|_| Gradient::Overwrite);
        match self.operation {
            // Without y there is nothing to apply it to.
            Operation::Forward(forward) if !forward.makes_y() => {
                Self { activation: Activation::None, ..walk_free }
            }
            Operation::Forward(_) => walk_free,
            Operation::Backward(backward) => {
                let operation = Operation::Backward(super::Backward {
                    dgain: stored_there(backward.dgain),
                    dbias: stored_there(backward.dbias),
                    dgate: stored_there(backward.dgate),
                    ..backward
                });
                // Without an activation backward reads no bias, but from y.
                let reads_bias = self.activation.is_some() || backward.from_y;
                let affine = if reads_bias { self.affine } else { self.affine.without_bias() };
                Self { operation, affine, ..walk_free }
            }
            // It has no rows, and reads partial sums alone.
            Operation::ReduceParameters(backward) => Self {
                operation: Operation::ReduceParameters(super::Backward {
                    dgain: backward.dgain,
                    dbias: backward.dbias,
                    dgate: backward.dgate,
                    ..super::Backward::default()
                }),
                affine: Affine::None,
                activation: Activation::None,
                normalization: Normalization::default(),
                ..walk_free
            },
        }
    }
}
