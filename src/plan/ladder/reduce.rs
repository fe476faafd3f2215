//! The sum over the partial sums of the parameter gradients.

use super::gpu::GPU_THREADS_IN_FLIGHT;
use super::software::SOFTWARE_LANES;
use super::{Rung, largest_power_of_two, threads_that_fill};
use crate::plan::numbers::SLOT_SUM_BYTES;
use crate::plan::{AdapterKind, Caps, Kernel, Reduction, RowShape};

/// GPU: workgroups of `backward_reduce_parameters`, as far as columns go.
const GPU_REDUCE_LEAST_WORKGROUPS: u32 = 128;

/// Its threads side by side, least and most, with a vec4 each: 32 bytes, which memory is read in, to 128, a
/// cache line.
const GPU_REDUCE_THREADS: (u32, u32) = (2, 8);

/// The most threads of its workgroups.
const GPU_REDUCE_MOST_THREADS: u32 = 512;

/// Scratch for partial sums stays below this.
const MOST_SCRATCH_BYTES: u64 = 64 << 20;

/// Partial sums of the parameter gradients that fill the largest GPU, a workgroup each.
const MOST_PARTIAL_ROWS: u32 = 1024;

/// The most partial sums of the parameter gradients, within the scratch budget and one storage binding: of
/// two gradients at least, so that one fewer is no other plan.
pub(in crate::plan) fn max_partial_rows(cols: u32, gradients: u32, caps: &Caps) -> u32 {
    let row_bytes = u64::from(gradients.max(2)) * 4 * u64::from(cols);
    let fit = MOST_SCRATCH_BYTES.min(caps.max_binding_bytes) / row_bytes;
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, MOST_PARTIAL_ROWS)
}

/// Columns side by side and slices of the partial sums. On a GPU narrow rows have few threads, so that there
/// are several workgroups all the same, and many slices: the time is that of one thread's loads, one batch
/// after the other. On a CPU there is one slice: a barrier costs more than it brings.
pub(in crate::plan) fn reduce_parameters(shape: &RowShape, caps: &Caps) -> Rung {
    let (threads_per_row, slices) = match caps.kind {
        AdapterKind::Gpu => {
            let in_all = largest_power_of_two(threads_that_fill(shape) / GPU_REDUCE_LEAST_WORKGROUPS);
            let threads =
                in_all.clamp(GPU_REDUCE_THREADS.0, GPU_REDUCE_THREADS.1).min(threads_that_fill(shape));
            let by_memory = caps.max_workgroup_bytes / SLOT_SUM_BYTES;
            let workgroup =
                largest_power_of_two(caps.max_invocations.min(GPU_REDUCE_MOST_THREADS).min(by_memory));
            let slices =
                (GPU_THREADS_IN_FLIGHT / threads_that_fill(shape)).clamp(1, (workgroup / threads).max(1));
            (threads, slices)
        }
        AdapterKind::Software => (threads_that_fill(shape).min(SOFTWARE_LANES), 1),
    };
    Rung {
        kernel: Kernel::BackwardReduceParameters,
        threads_per_row,
        rows_per_workgroup: slices,
        reduction: Reduction::Thread,
        block_rows: 1,
        hold_parameters: false,
        least_slots: 1,
        rows_per_slot: 1,
    }
}
