//! How many threads share a row, by its width: data, with the reason for each step.
//!
//! Three budgets shape the ladders. A thread holds 8 vec4 of a row comfortably in forward, 16 at most, and 4
//! in backward with parameter gradients, where x and dy and two running sums are held (compiled for AMD,
//! Intel, NVIDIA and Adreno: more spills or halves the waves). A subgroup exchanges values without a barrier.
//! And an adapter wants enough rows in flight, so narrow rows share a workgroup.

mod across;
mod candidates;
mod gpu;
mod reduce;
mod rung;
mod software;
mod split;

pub(super) use across::across;
pub(super) use candidates::candidates;
pub(super) use reduce::{max_partial_rows, reduce_parameters};
pub use rung::Rung;
pub(super) use rung::{MOST_BLOCK_ROWS, MOST_INVOCATIONS, MOST_WORKGROUP_ROWS};
pub use split::RowSplit;
pub(super) use split::{Chunks, backward_split, forward_split};

use super::numbers::SLOT_SUM_BYTES;
use super::{AdapterKind, Backward, Caps, Kernel, Reduction, RegisterBudget, RowShape, SubgroupSizes};
use crate::error::Error;
use crate::op::Stored;
use crate::types::Problem;
use gpu::{
    BACKWARD_DX_VEC4, BACKWARD_MOST_THREADS, FORWARD_FEW_THREADS, FORWARD_VEC4, GPU_THREADS_IN_FLIGHT, gpu,
    gpu_walk,
};
use software::{
    SOFTWARE_LANES, SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT, SOFTWARE_VEC4, software, software_budget,
    software_threads,
};

/// Threads of a workgroup that is one row: fewer leave most of a core idle.
const LEAST_ROW_WORKGROUP: u32 = 64;

/// Threads of a workgroup that narrow rows share.
const GPU_WORKGROUP: u32 = 128;

/// vec4s of a run where a thread holds nothing else of a row.
pub(super) const RUN_VEC4: u32 = 8;

/// Blocks of rows that a slot of `backward_streamed` adds to its partial sums in memory, which are not
/// compensated: of like terms so many are off by up to 1 unit, and the rows of a block by up to 2. With 8
/// blocks of 8 rows the case of like rows was off by 4.1 units on lavapipe, of which xhat has 1.9. A slot's
/// first block reads no sums, so more slots cost little: 2048x4096 and 256x16384 there are as fast as with 64
/// slots for all rows.
pub(super) const MOST_STREAMED_BLOCKS: u32 = 4;

pub(super) fn forward(shape: &RowShape, residual: bool, caps: &Caps) -> Result<Rung, Error> {
    let rung = match caps.kind {
        AdapterKind::Software => {
            software(Kernel::ForwardCached, shape, software_budget(caps).forward_loads, caps)
                .filter(|rung| shape.vec4(rung.threads_per_row) <= SOFTWARE_VEC4)
        }
        AdapterKind::Gpu => {
            let max_invocations = caps.max_invocations.min(FORWARD_FEW_THREADS);
            let few_threads = Caps { max_invocations, ..*caps };
            let registers = &caps.registers;
            let most = if residual { registers.residual_vec4 } else { registers.forward_vec4 };
            let few = FORWARD_VEC4.min(most);
            let rungs = [(few, &few_threads), (most, &few_threads), (few, caps)];
            rungs.into_iter().find_map(|(budget, caps)| gpu(Kernel::ForwardCached, shape, budget, caps))
        }
    };
    let block_rows = match caps.kind {
        AdapterKind::Software => software_budget(caps).forward_block_rows,
        // Gain and bias come from cache, and a row each keeps more workgroups busy.
        AdapterKind::Gpu => 1,
    };
    rung.map_or_else(|| streamed(Kernel::ForwardStreamed, shape, block_rows, caps), Ok)
}

/// With an activation a thread holds half as much, as it makes dz from x, gain and bias: it would spill on
/// RDNA 3, and so would sums over rows where xhat is made of y, gain and bias. With the gradient of a gate it
/// holds a third sum.
pub(super) fn backward(
    shape: &RowShape,
    backward: &Backward,
    problem: &Problem,
    caps: &Caps,
) -> Result<Rung, Error> {
    let registers = &caps.registers;
    let parameters = backward.has_parameters();
    let sums_from_y = backward.from_y && problem.affine.has_bias() && parameters;
    let holds_more = problem.activation.is_some() || backward.dgate.is_some() || sums_from_y;
    let share = if holds_more { 2 } else { 1 };
    let rung = match (caps.kind, parameters) {
        (AdapterKind::Software, _) => {
            software(Kernel::BackwardCached, shape, software_budget(caps).backward_loads, caps)
                .filter(|rung| shape.vec4(rung.threads_per_row) <= SOFTWARE_VEC4)
        }
        (AdapterKind::Gpu, true) => {
            let max_invocations = caps.max_invocations.min(BACKWARD_MOST_THREADS);
            // Accessed one by one, values of 16 bits spill on GCN 5 with all of it.
            let are_apart = shape.vector_width == 1 && Stored::narrowest(problem).size() == 2;
            let most = RegisterBudget::MOST.backward_vec4 - u32::from(are_apart);
            let vec4 = (registers.backward_vec4.min(most) / share).max(1);
            gpu(Kernel::BackwardCached, shape, vec4, &Caps { max_invocations, ..*caps })
        }
        (AdapterKind::Gpu, false) => gpu(Kernel::BackwardCached, shape, BACKWARD_DX_VEC4 / share, caps),
    };
    let block_rows = match (caps.kind, parameters) {
        (AdapterKind::Software, _) => software_budget(caps).backward_block_rows,
        (AdapterKind::Gpu, true) => registers.block_rows,
        (AdapterKind::Gpu, false) => 1,
    };
    let rung = match rung {
        Some(rung) => rung,
        None if parameters && caps.kind == AdapterKind::Software => Rung {
            least_slots: SOFTWARE_LEAST_SLOTS,
            rows_per_slot: SOFTWARE_ROWS_PER_SLOT,
            ..streamed(Kernel::BackwardStreamed, shape, block_rows, caps)?
        },
        None => streamed(Kernel::BackwardStreamed, shape, block_rows, caps)?,
    };
    Ok(if parameters && caps.kind == AdapterKind::Gpu { gpu_walk(rung, GPU_THREADS_IN_FLIGHT) } else { rung })
}

/// The rung of dx alone where the gain has a value for each channel. A thread has all its gains at a time: in
/// a workgroup of 1024 they spill on GCN 5, as the sums of gradients do.
pub(super) fn backward_of_channels(shape: &RowShape, problem: &Problem, caps: &Caps) -> Result<Rung, Error> {
    let max_invocations = caps.max_invocations.min(BACKWARD_MOST_THREADS);
    let of_rows = &Backward::default();
    backward(shape, of_rows, problem, &Caps { max_invocations, ..*caps })
        .or_else(|_| backward(shape, of_rows, problem, caps))
}

/// The rung of `backward_channel_sums`: a workgroup is a row, and its slots are channels.
pub(super) fn channel_sums(shape: &RowShape, channels: u32, caps: &Caps) -> Result<Rung, Error> {
    let kernel = Kernel::BackwardChannelSums;
    let of_channel = streamed(kernel, shape, 1, caps)?;
    // What is added up within a subgroup wants full ones.
    let least = match (of_channel.reduction, caps.subgroup) {
        (Reduction::Lanes, Some(sizes)) => (sizes.max / of_channel.threads_per_row).max(1),
        _ => 1,
    };
    let slots = channels.next_power_of_two().max(least);
    let mut rung = Rung { rows_per_workgroup: of_channel.rows_per_workgroup.min(slots), ..of_channel };
    // Of many channels a thread's loops are as many times as long; a quarter of the limit is left, as above.
    let trips = |rung: &Rung| {
        let each = u64::from(shape.steps(rung.threads_per_row)) * 14 + 12;
        each * u64::from(channels.div_ceil(rung.rows_per_workgroup))
    };
    while trips(&rung) > u64::from(caps.max_loop_trips) / 4 * 3 {
        // More channels at a time, or where a channel is the workgroup, more threads.
        let slots = Rung { rows_per_workgroup: 2 * rung.rows_per_workgroup, ..rung };
        let threads = Rung { rows_per_workgroup: 1, ..self::rung(kernel, 2 * rung.threads_per_row, 1, caps) };
        let by_subgroup = matches!(rung.reduction, Reduction::Subgroup | Reduction::Subgroups(_));
        let has_channels = !by_subgroup && slots.rows_per_workgroup <= channels.next_power_of_two();
        let has_columns = threads.threads_per_row <= threads_that_fill(shape);
        rung = match (has_channels && fits(&slots, kernel, caps), has_columns && fits(&threads, kernel, caps))
        {
            (true, _) => slots,
            (false, true) => threads,
            (false, false) => break,
        };
    }
    Ok(rung)
}

/// Loop trips of a step of a row, in all walks and with two parts to an access.
const fn walk_trips_per_step(kernel: Kernel) -> u32 {
    match kernel {
        Kernel::ForwardStreamed | Kernel::ForwardSplitStatistics | Kernel::ForwardSplitApply => 17,
        _ => 14,
    }
}

fn streamed_threads(caps: &Caps) -> u32 {
    match caps.kind {
        AdapterKind::Gpu => largest_power_of_two(caps.max_invocations).min(256),
        AdapterKind::Software => software_threads(caps),
    }
}

/// The rung of a kernel that walks its row: as many threads as a workgroup has by default, more only where
/// the loops of one thread would exceed the adapter's limit.
fn streamed(kernel: Kernel, shape: &RowShape, block_rows: u32, caps: &Caps) -> Result<Rung, Error> {
    let most = largest_power_of_two(caps.max_invocations);
    let mut threads = streamed_threads(caps).min(threads_that_fill(shape));
    let mut block_rows = block_rows;
    loop {
        let rung = rung(kernel, threads, block_rows, caps);
        // A step's trips in all walks, with two parts to an access, once per row of a block; a quarter of the
        // limit is left for runs, reductions and the row loop.
        let trips_per_step = walk_trips_per_step(kernel) * block_rows;
        let trips = u64::from(shape.steps(threads)) * u64::from(trips_per_step);
        if fits(&rung, kernel, caps) && trips <= u64::from(caps.max_loop_trips) / 4 * 3 {
            return Ok(rung);
        }
        if block_rows > 1 {
            block_rows /= 2;
            continue;
        }
        if threads >= most {
            return Err(Error::unsupported(
                "the longest row that this adapter can walk",
                format!("shorter than {} columns", shape.cols),
                format!("{} columns", shape.cols),
            ));
        }
        threads *= 2;
    }
}

/// On a GPU every row is a slot of its own, and gain and bias come from its cache.
fn rung(kernel: Kernel, threads: u32, block_rows: u32, caps: &Caps) -> Rung {
    let (reduction, rows_per_workgroup) = reduction(threads, caps);
    Rung {
        kernel,
        threads_per_row: threads,
        rows_per_workgroup,
        reduction,
        block_rows,
        hold_parameters: false,
        least_slots: 1,
        rows_per_slot: 1,
    }
}

/// How `threads` threads add up, and how many such rows share a workgroup.
fn reduction(threads: u32, caps: &Caps) -> (Reduction, u32) {
    let shared =
        |workgroup: u32| (workgroup.min(largest_power_of_two(caps.max_invocations)) / threads).max(1);
    let workgroup = match caps.kind {
        AdapterKind::Gpu => GPU_WORKGROUP,
        // A workgroup of one subgroup beats wider ones at every shape tried on lavapipe.
        AdapterKind::Software => SOFTWARE_LANES,
    };
    match caps.subgroup {
        _ if threads == 1 => (Reduction::Thread, shared(workgroup)),
        Some(sizes)
            if caps.kind == AdapterKind::Software
                && caps.full_subgroups
                && sizes.min == sizes.max
                && threads == sizes.min =>
        {
            (Reduction::Subgroup, 1)
        }
        Some(sizes) if caps.full_subgroups && threads <= sizes.min => (Reduction::Lanes, shared(workgroup)),
        // Several subgroups: the workgroup is the row.
        Some(sizes) if threads >= sizes.max.max(LEAST_ROW_WORKGROUP) => {
            // Where nobody knows that there are no smaller ones, there is room for the smallest.
            let min = if caps.full_subgroups { sizes.min } else { SubgroupSizes::LEAST };
            (Reduction::Subgroups(min), 1)
        }
        // Between the smallest and the largest size a row may be a part of a subgroup or several.
        Some(_) => (Reduction::Adaptive, shared(workgroup)),
        None => (Reduction::Workgroup, shared(workgroup)),
    }
}

fn fits(rung: &Rung, kernel: Kernel, caps: &Caps) -> bool {
    let invocations = rung.threads_per_row * rung.rows_per_workgroup;
    let bytes = rung.reduction.workgroup_bytes(invocations, kernel.sums_bytes(false));
    let combines_slots = rung.rows_per_workgroup > 1 && super::combines_slots(kernel, caps.kind);
    let slot_bytes = match kernel {
        // A float32 of each.
        Kernel::BackwardChannelSums => 4 * rung.rows_per_workgroup,
        _ if combines_slots => SLOT_SUM_BYTES * invocations,
        _ => 0,
    };
    invocations <= caps.max_invocations && bytes + slot_bytes <= caps.max_workgroup_bytes
}

/// The threads beyond which one would have no column of its own.
fn threads_that_fill(shape: &RowShape) -> u32 {
    shape.cols.div_ceil(shape.step_values()).next_power_of_two()
}

fn largest_power_of_two(value: u32) -> u32 {
    1 << value.max(1).ilog2()
}
