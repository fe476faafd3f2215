//! What of a plan its text depends on.

use super::{Kernel, Operation, Plan};
use crate::types::{Affine, Channels, Gradient, Normalization};

impl Plan {
    /// The plan with everything set to a fixed value that its text does not depend on. Plans with equal keys
    /// have equal texts, but for the label in the first line: what differs between them reaches the shader by
    /// the uniform, or another dispatch of the call.
    #[must_use]
    pub fn text_key(&self) -> Self {
        // How many groups there are is a number of the uniform. Without parameters, and where their gradients are partial
        // sums, channels do not matter.
        let by_channel = |channels: Channels| Channels { count: channels.per_row(), groups: 1, ..channels };
        let knows_channels = match self.operation {
            Operation::Forward(forward) => self.affine.has_gain() && !forward.without_y,
            Operation::Backward(_) => self.affine.has_gain() || self.kernel == Kernel::BackwardChannelSums,
            Operation::ReduceParameters(_) => false,
        };
        let channels = self.channels.filter(|_| knows_channels).map(by_channel);
        let walk_free = Self { least_slots: 1, rows_per_slot: 1, max_partial_rows: 1, channels, ..*self };
        // Whether the sum over rows is added to what is there is decided where it is stored, in the
        // reduction.
        let stored_there = |gradient: Option<Gradient>| gradient.map(|_| Gradient::Overwrite);
        match self.operation {
            Operation::Forward(_) => walk_free,
            Operation::Backward(backward) => {
                let operation = Operation::Backward(super::Backward {
                    dgain: stored_there(backward.dgain),
                    dbias: stored_there(backward.dbias),
                    ..backward
                });
                // Backward reads no bias.
                Self { operation, affine: self.affine.without_bias(), ..walk_free }
            }
            // It has no rows, and reads partial sums alone.
            Operation::ReduceParameters(backward) => Self {
                operation: Operation::ReduceParameters(super::Backward {
                    dgain: backward.dgain,
                    dbias: backward.dbias,
                    ..super::Backward::default()
                }),
                affine: Affine::None,
                normalization: Normalization::default(),
                ..walk_free
            },
        }
    }
}
