//! The plans that add up partial sums of the gradients of parameters.

use super::channels::deals_heads;
use super::shape::largest_common_power_of_two;
use super::{Backward, Caps, Kernel, Operation, Plan, RowShape, Rung, Stored, ladder, shaped};
use crate::error::Error;
use crate::types::Problem;

/// dgain, dbias and dgate.
pub(super) const GATED_GRADIENTS: u32 = 3;

impl Plan {
    /// The plan that sums the partial sums which [`Plan::backward`] or [`Plan::channel_sums`] leaves. Where a
    /// gate has a gradient for each sample, and gain and bias are [shared](crate::Channels::shares_affine),
    /// it has that of the gate alone, and [`Plan::reduce_shared`] the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is; [`Error::Unsupported`] where no kernel fits the adapter's
    /// limits.
    pub fn reduce_parameters(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        let (_, caps) = &shaped(problem, vector_width, caps)?;
        // Accesses to channels are one at a time.
        let vector_width = if problem.has_single_parameters() { 1 } else { vector_width };
        // Nor does one reach from a head's or sample's row into the next, which may lie apart.
        let vector_width = match problem.channels {
            Some(_) if vector_width.is_power_of_two() => {
                largest_common_power_of_two(vector_width, problem.cols.into())
            }
            _ => vector_width,
        };
        // Where heads are dealt, partial sums have a row of each.
        let of_groups = deals_heads(problem.channels, &Operation::Backward(backward), Kernel::BackwardCached);
        let is_shared = problem.channels.is_some_and(|channels| channels.shares_affine);
        let cols = if of_groups { problem.gates() } else { problem.parameters() };
        let of_gate = match of_groups && is_shared {
            true => Backward { dgain: None, dbias: None, ..backward },
            false => backward,
        };
        let parameters = Problem { cols, channels: None, ..*problem };
        let partial_gradients = Operation::Backward(backward).parameter_gradients();
        let plan = Self::reduction(&parameters, of_gate, vector_width, 1, caps)?;
        Ok(Self { partial_gradients, ..plan })
    }

    /// The plan that comes after [`Plan::reduce_parameters`] where a gate has a gradient for each sample, and
    /// dgain or dbias, which all of them [share](crate::Channels::shares_affine), is wanted too: the sums of
    /// those over the partial sums of all samples. None elsewhere.
    ///
    /// # Errors
    /// As [`Plan::reduce_parameters`].
    pub fn reduce_shared(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Option<Self>, Error> {
        let (_, caps) = &shaped(problem, vector_width, caps)?;
        let of_groups = deals_heads(problem.channels, &Operation::Backward(backward), Kernel::BackwardCached);
        let channels = problem.channels.filter(|channels| channels.shares_affine && of_groups);
        let Some(channels) = channels.filter(|_| backward.has_affine_gradients()) else { return Ok(None) };
        let of_affine = Backward { dgate: None, ..backward };
        let parameters = Problem { channels: None, ..*problem };
        let partial_rows = ladder::max_partial_rows(problem.gates(), GATED_GRADIENTS, caps);
        let mut slices = 1;
        loop {
            let plan = Self::reduction(&parameters, of_affine, vector_width, slices, caps)?;
            let plan = Self {
                channels: Some(channels),
                partial_gradients: Operation::Backward(backward).parameter_gradients(),
                max_partial_rows: partial_rows.saturating_mul(channels.groups),
                ..plan
            };
            // Of many samples a slice has more than some adapters walk in a loop.
            match plan.check(caps) {
                Err(error) if error.is_unsupported() && 2 * plan.workgroup_size() <= caps.max_invocations => {
                    slices = 2 * plan.rows_per_workgroup;
                }
                checked => return checked.map(|()| Some(plan)),
            }
        }
    }

    /// The plan of sums over partial sums that have so many columns, in so many slices at least.
    fn reduction(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        slices: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        let parameters = Stored::all(problem, problem.parameter_dtype);
        let shape = RowShape::new(&parameters, vector_width, caps)?;
        // Of partial sums a thread reads a vec4 at a time, whatever the storage of dgain and dbias.
        let shape = RowShape { vector_width: shape.vector_width.min(4), wide: false, ..shape };
        let rung = ladder::reduce_parameters(&shape, caps);
        let rung = Rung { rows_per_workgroup: rung.rows_per_workgroup.max(slices), ..rung };
        Self::with(&parameters, Operation::ReduceParameters(backward), &shape, rung, caps)
    }
}
