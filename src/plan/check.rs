//! Whether an adapter can run a plan.

use super::{Caps, Kernel, Operation, Plan, Reduction, SubgroupSizes, dispatch};
use crate::error::Error;

impl Plan {
    /// Whether the plan keeps every limit of an adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first limit that is exceeded; those of [`Plan::validate`] and
    /// [`Caps::validate`].
    pub fn check(&self, caps: &Caps) -> Result<(), Error> {
        self.validate()?;
        caps.validate()?;
        let at_most = |what: &str, has: u64, needs: u64| {
            if needs <= has {
                Ok(())
            } else {
                Err(Error::unsupported(what, has, format!("at least {needs}")))
            }
        };
        at_most("invocations per workgroup", caps.max_invocations.into(), self.workgroup_size().into())?;
        at_most("workgroup memory in bytes", caps.max_workgroup_bytes.into(), self.workgroup_bytes().into())?;
        at_most(
            "storage buffers per shader stage",
            caps.max_storage_buffers.into(),
            self.tensors().len() as u64,
        )?;
        let trips = self.loop_trips_per_row() * u64::from(self.block_rows);
        at_most("loop trips per invocation", caps.max_loop_trips.into(), trips)?;
        at_most(
            "workgroups of a dispatch, for one row,",
            dispatch::most_workgroups(caps),
            self.chunks.into(),
        )?;
        if matches!(self.operation, Operation::Backward(_)) && self.parameter_gradients() > 0 {
            let most = match self.channels_of_sums() {
                Some(_) => self.max_partial_rows,
                None => self.partial_rows(self.most_slots()),
            };
            let bytes = self.partials_bytes(most);
            at_most(
                "bytes of a storage binding, for the partial sums of dgain and dbias,",
                caps.max_binding_bytes,
                bytes,
            )?;
        }
        if self.uses_native_f16() && !caps.shader_f16 {
            return Err(Error::unsupported("feature shader-f16", "missing", "it"));
        }
        if self.uses_int64() && !caps.shader_int64 {
            return Err(Error::unsupported("feature SHADER_INT64", "missing", "it"));
        }
        match (self.reduction, caps.subgroup) {
            (Reduction::Workgroup, _) => Ok(()),
            // In `backward_reduce_parameters` the threads lie side by side over columns, and slots add up
            // over slices.
            (Reduction::Thread, _)
                if self.threads_per_row == 1 || self.kernel == Kernel::BackwardReduceParameters =>
            {
                Ok(())
            }
            (Reduction::Lanes, Some(sizes)) if caps.full_subgroups && self.threads_per_row <= sizes.min => {
                Ok(())
            }
            (Reduction::Adaptive, Some(_)) => Ok(()),
            (Reduction::Subgroup, Some(sizes))
                if caps.full_subgroups
                    && sizes.min == sizes.max
                    && self.threads_per_row == sizes.min
                    && self.rows_per_workgroup == 1 =>
            {
                Ok(())
            }
            (Reduction::Subgroups(min), Some(sizes))
                if min <= (if caps.full_subgroups { sizes.min } else { SubgroupSizes::LEAST })
                    && self.threads_per_row >= sizes.max
                    && self.rows_per_workgroup == 1 =>
            {
                Ok(())
            }
            (reduction, sizes) => Err(Error::unsupported(
                "subgroup size",
                sizes.map_or("none".to_owned(), |sizes| format!("{} to {}", sizes.min, sizes.max)),
                format!("one that suits {reduction:?} over {} threads", self.threads_per_row),
            )),
        }
    }
}
