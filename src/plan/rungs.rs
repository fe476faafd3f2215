//! Plans by a rung, and the rungs of plans.

use super::channels::{of_gain, of_rows};
use super::{Caps, Operation, Plan, Rung, ladder, shaped};
use crate::error::Error;
use crate::types::Problem;

impl Plan {
    /// The plan of a forward or backward call that runs as `rung` says, and not as the ladder does. What
    /// holds of plans holds of this one too.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is, or where no kernel could run so on any device;
    /// [`Error::Unsupported`] where a limit of the adapter is exceeded.
    pub fn with_rung(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        rung: Rung,
        caps: &Caps,
    ) -> Result<Self, Error> {
        let (shape, caps) = &shaped(problem, vector_width, caps)?;
        rung.validate(shape, operation.name())?;
        if operation.has_given_statistics() {
            let needs = "left to the ladder, as rows are shared where their statistics are given";
            return Err(Error::invalid("rung", rung.kernel, needs));
        }
        match operation {
            Operation::Backward(backward) => {
                let backward = of_rows(problem, backward);
                Self::with(&of_gain(problem, &backward), Operation::Backward(backward), shape, rung, caps)
            }
            other => Self::with(problem, other, shape, rung, caps),
        }
    }

    /// The rungs that are worth measuring for a forward or backward call, that of the ladder first: see
    /// [`Plan::with_rung`], which makes another legal plan of each. Where statistics are given there is none
    /// to choose from, and this is the ladder's alone.
    ///
    /// # Errors
    /// Those of [`Plan::forward`] and [`Plan::backward`].
    pub fn candidates(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Vec<Rung>, Error> {
        ladder::candidates(problem, operation, vector_width, caps)
    }

    /// What of the plan is not decided by problem, operation and caps.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        Rung {
            kernel: self.kernel,
            threads_per_row: self.threads_per_row,
            rows_per_workgroup: self.rows_per_workgroup,
            reduction: self.reduction,
            block_rows: self.block_rows,
            hold_parameters: self.hold_parameters,
            least_slots: self.least_slots,
            rows_per_slot: self.rows_per_slot,
        }
    }

    /// The plan of any operation as the ladder makes it.
    pub(crate) fn by_ladder(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        match operation {
            Operation::Forward(forward) => Self::forward(problem, forward, vector_width, caps),
            Operation::Backward(backward) => Self::backward(problem, backward, vector_width, caps),
            Operation::ReduceParameters(backward) => {
                Self::reduce_parameters(problem, backward, vector_width, caps)
            }
        }
    }
}
