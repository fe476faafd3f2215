//! What the ladder decides of a plan, and what no rung exceeds.

use super::threads_that_fill;
use crate::error::Error;
use crate::plan::{Kernel, Reduction, RowShape};

/// What the ladder decides of a plan: how the threads of a kernel lie on a row, and how slots walk the rows.
/// The fields are those of [`Plan`](crate::plan::Plan) with the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[allow(missing_docs, reason = "each is documented in Plan")]
pub struct Rung {
    pub kernel: Kernel,
    pub threads_per_row: u32,
    pub rows_per_workgroup: u32,
    pub reduction: Reduction,
    pub block_rows: u32,
    pub hold_parameters: bool,
    pub least_slots: u32,
    pub rows_per_slot: u32,
}

/// No kernel holds more vec4s of a row in a thread: on a GPU they would spill, on a software adapter the
/// text, whose loops are written out, would grow beyond what compiles in a second.
pub(super) const MOST_VEC4: u32 = 64;

/// The most rows that a streamed kernel works on at a time, each with its statistics in registers.
pub(in crate::plan) const MOST_BLOCK_ROWS: u32 = 16;

/// Threads of a row and rows of a workgroup, each: above any limit of an adapter, and far below where
/// products of the two overflow.
pub(in crate::plan) const MOST_INVOCATIONS: u32 = 1 << 12;

/// The most rows of a workgroup, over all its slots, before there are more workgroups: far below where a
/// shader's count of rows, in 32 bits, overflows.
pub(in crate::plan) const MOST_WORKGROUP_ROWS: u32 = 1 << 20;

impl Rung {
    /// Whether a kernel can run so on some device: which the checks of plans take for granted.
    pub(in crate::plan) fn validate(&self, shape: &RowShape, operation: &str) -> Result<(), Error> {
        let kernels: &[Kernel] = match operation {
            "forward" | "forward_residual" => &[Kernel::ForwardCached, Kernel::ForwardStreamed],
            "backward" | "backward_dx" => &[Kernel::BackwardCached, Kernel::BackwardStreamed],
            _ => return Err(Error::invalid("operation of a rung", operation, "one of forward or backward")),
        };
        if !kernels.contains(&self.kernel) {
            let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name()).collect();
            let needs = format!("{} in {operation}", names.join(" or "));
            return Err(Error::invalid("kernel", self.kernel.name(), needs));
        }
        let is_cached = matches!(self.kernel, Kernel::ForwardCached | Kernel::BackwardCached);
        let power_of_two = |what: &str, value: u32, most: u32| match value {
            value if value.is_power_of_two() && value <= most => Ok(()),
            value => Err(Error::invalid(what, value, format!("a power of two of at most {most}"))),
        };
        // A thread without a column of its own has nothing to add up.
        let most_threads = threads_that_fill(shape).min(MOST_INVOCATIONS);
        power_of_two("threads_per_row", self.threads_per_row, most_threads)?;
        power_of_two("rows_per_workgroup", self.rows_per_workgroup, MOST_INVOCATIONS)?;
        power_of_two("block_rows", self.block_rows, if is_cached { 1 } else { MOST_BLOCK_ROWS })?;
        if let Reduction::Subgroups(min) = self.reduction {
            power_of_two("smallest subgroup of reduction", min, MOST_INVOCATIONS)?;
        }
        if self.least_slots == 0 || self.rows_per_slot == 0 {
            let has = format!("{} and {}", self.least_slots, self.rows_per_slot);
            return Err(Error::invalid("least_slots and rows_per_slot", has, "1 or more, each"));
        }
        let most_rows = MOST_WORKGROUP_ROWS / self.rows_per_workgroup;
        if self.rows_per_slot > most_rows {
            let needs = format!("at most {most_rows} with {} rows a workgroup", self.rows_per_workgroup);
            return Err(Error::invalid("rows_per_slot", self.rows_per_slot, needs));
        }
        let vec4 = shape.vec4(self.threads_per_row);
        if is_cached && vec4 > MOST_VEC4 {
            return Err(Error::invalid(
                "threads_per_row",
                self.threads_per_row,
                format!("more: each would hold {vec4} vec4 of a row of {}, of {MOST_VEC4}", shape.cols),
            ));
        }
        if self.hold_parameters && !is_cached {
            return Err(Error::invalid("hold_parameters", true, "false where rows are streamed"));
        }
        Ok(())
    }
}
