//! Rows side by side, of which an access has four.

use super::gpu::{GPU_THREADS_IN_FLIGHT, gpu_walk};
use super::software::{SOFTWARE_LANES, SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT};
use super::{Rung, threads_that_fill, walk_trips_per_step};
use crate::error::Error;
use crate::plan::across::ACCESS_ROWS;
use crate::plan::{AdapterKind, Caps, Kernel, Reduction, RowShape};

/// GPU: accesses side by side, 256 bytes of float32, and threads that share the columns of each.
const GPU_SLOTS: u32 = 16;
const GPU_THREADS: u32 = 16;

/// Software: accesses of a slot's block. On lavapipe one ran at 0.25 of the copy, as strides between columns,
/// mostly a power of two, miss in every cache; two at 0.46; four at no more in forward and 0.55 in backward,
/// but their texts compile in 10 s and more (docs/lab/software-adapters.md).
const SOFTWARE_BLOCK: u32 = 2;

/// The rung of a kernel that walks rows side by side.
pub(in crate::plan) fn across(kernel: Kernel, shape: &RowShape, caps: &Caps) -> Result<Rung, Error> {
    let (slots, most_threads, mut block) = match caps.kind {
        AdapterKind::Gpu => (GPU_SLOTS.min(caps.max_invocations), GPU_THREADS, 1),
        AdapterKind::Software => (SOFTWARE_LANES.min(caps.max_invocations), 1, SOFTWARE_BLOCK),
    };
    let slots = super::largest_power_of_two(slots);
    let most_threads = most_threads.min(super::largest_power_of_two(caps.max_invocations) / slots).max(1);
    let mut threads = most_threads.min(threads_that_fill(shape));
    loop {
        let rung = rung(kernel, threads, slots, block, caps);
        let trips = u64::from(shape.steps(threads)) * u64::from(walk_trips_per_step(kernel) * block);
        let invocations = threads * slots;
        let bytes = rung.reduction.workgroup_bytes(invocations, kernel.sums_bytes(true));
        let fits = invocations <= caps.max_invocations && bytes <= caps.max_workgroup_bytes;
        // A quarter of the limit is left for runs, reductions and the row loop.
        if fits && trips <= u64::from(caps.max_loop_trips) / 4 * 3 {
            return Ok(rung);
        }
        if block > 1 {
            block /= 2;
        } else if fits && 2 * invocations <= caps.max_invocations && threads < threads_that_fill(shape) {
            threads *= 2;
        } else {
            return Err(Error::unsupported(
                "the longest row that this adapter can walk across",
                format!("shorter than {} columns", shape.cols),
                format!("{} columns", shape.cols),
            ));
        }
    }
}

fn rung(kernel: Kernel, threads: u32, slots: u32, block: u32, caps: &Caps) -> Rung {
    let rung = Rung {
        kernel,
        threads_per_row: threads,
        rows_per_workgroup: slots,
        reduction: if threads == 1 { Reduction::Thread } else { Reduction::Workgroup },
        block_rows: block * ACCESS_ROWS,
        hold_parameters: false,
        least_slots: 1,
        rows_per_slot: 1,
    };
    match (kernel, caps.kind) {
        (Kernel::BackwardStreamed, AdapterKind::Gpu) => gpu_walk(rung, GPU_THREADS_IN_FLIGHT),
        (Kernel::BackwardStreamed, AdapterKind::Software) => {
            Rung { least_slots: SOFTWARE_LEAST_SLOTS, rows_per_slot: SOFTWARE_ROWS_PER_SLOT, ..rung }
        }
        _ => rung,
    }
}
