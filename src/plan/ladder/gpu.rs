//! Rows in a GPU's registers.

use super::{Rung, fits, largest_power_of_two, rung, threads_that_fill};
use crate::plan::{Caps, Kernel, RowShape};

/// Threads that keep a GPU busy (H200, backward with gradients of parameters, 4096x4096: 62 us, 67 with twice
/// as many).
pub(super) const GPU_THREADS_IN_FLIGHT: u32 = 1 << 16;

/// GPU, where a slot walks several rows: rows of a workgroup before there are more workgroups than it takes
/// to keep the GPU busy. A workgroup's partial sums, written and read again in float32, cost what one and a
/// third of its rows cost.
pub(super) const GPU_WORKGROUP_ROWS: u32 = 64;

/// GPU: up to this many columns (first) a row has this many threads (second). Narrow rows get few threads
/// with one or two vec4 each so that a subgroup holds many rows; from 128 columns on, a thread fills its
/// budget of 8 vec4 before the row gets more threads, since the reduction's cost grows with threads and not
/// with values.
const GPU_THREADS: [(u32, u32); 4] = [(16, 4), (64, 8), (128, 16), (1024, 32)];

/// vec4s of the row that a thread holds before the row gets more threads, as far as there are any; then up
/// to [`RegisterBudget::forward_vec4`](crate::plan::RegisterBudget::forward_vec4).
pub(super) const FORWARD_VEC4: u32 = 8;

pub(super) const FORWARD_FEW_THREADS: u32 = 256;

/// A workgroup of 1024 leaves a thread of AMD's GCN 5 64 registers, of which the two sums spill more than 180
/// (Mesa 22.3.6); Intel's compiler spills there too.
pub(super) const BACKWARD_MOST_THREADS: u32 = 512;

/// vec4s of x, and as many of dy, without the two sums.
pub(super) const BACKWARD_DX_VEC4: u32 = 8;

/// The rung of a kernel that holds its row in a GPU's registers, `budget` vec4 a thread, or `None` where the
/// row is too wide.
pub(super) fn gpu(kernel: Kernel, shape: &RowShape, budget: u32, caps: &Caps) -> Option<Rung> {
    let most = largest_power_of_two(caps.max_invocations);
    let full = shape.cols.div_ceil(budget * 4).next_power_of_two();
    let step = GPU_THREADS.iter().find(|(cols, _)| shape.cols <= *cols);
    let threads = step.map_or(full, |(_, threads)| full.max(*threads)).min(threads_that_fill(shape));
    (threads <= most).then(|| rung(kernel, threads, 1, caps)).filter(|rung| fits(rung, kernel, caps))
}

/// Workgroups of some rows each, `threads` threads in all before they have more than one.
pub(super) fn gpu_walk(rung: Rung, threads: u32) -> Rung {
    let workgroups = (threads / (rung.threads_per_row * rung.rows_per_workgroup)).max(1);
    Rung {
        least_slots: workgroups * rung.rows_per_workgroup,
        rows_per_slot: (GPU_WORKGROUP_ROWS / rung.rows_per_workgroup).max(1),
        ..rung
    }
}
