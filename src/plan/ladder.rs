//! How many threads share a row, by its width: data, with the reason for each step.
//!
//! Three budgets shape the ladders. A thread holds 8 vec4 of a row comfortably in forward, and 4 in backward with
//! parameter gradients, where x and dy and two running sums are held (compiled for AMD, Intel, NVIDIA and Adreno: more
//! spills or halves the waves). A subgroup exchanges values without a barrier. And an adapter wants enough rows in
//! flight, so narrow rows share a workgroup.

use super::{AdapterKind, Caps, Kernel, Reduction, Shape};
use crate::error::Error;

/// How the threads of a kernel lie on a row, and how slots walk the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    pub(super) kernel: Kernel,
    pub(super) threads_per_row: u32,
    pub(super) rows_per_workgroup: u32,
    pub(super) steps: u32,
    pub(super) chunks: u32,
    pub(super) partial_cols: u32,
    pub(super) reduction: Reduction,
    pub(super) block_rows: u32,
    pub(super) hold_parameters: bool,
    pub(super) least_slots: u32,
    pub(super) rows_per_slot: u32,
}

/// vec4s of the row that a thread holds in registers.
const FORWARD_VEC4: u32 = 8;
/// Where 8 vec4 a thread do not carry 8192 columns (128 invocations a workgroup), 16 do, without spills.
const FORWARD_VEC4_MOST: u32 = 16;
const FORWARD_CACHED_COLS: u32 = 8192;
/// x, dy, the sums of dgain and of dbias: four times this.
const BACKWARD_VEC4: u32 = 4;
/// A workgroup of 1024 leaves a thread of AMD's GCN 5 64 registers, of which the two sums spill more than 180 (Mesa
/// 22.3.6); Intel's compiler spills there too.
const BACKWARD_MOST_THREADS: u32 = 512;
/// Without the two sums.
const BACKWARD_DX_VEC4: u32 = 8;

/// A software adapter turns each access to memory into a loop over the lanes of a SIMD unit, some 300 bytes of code for
/// a load and 200 for a store, and unrolls the loops over steps. What decides there is that a row's code stays in a core's
/// first-level cache: this many loads a thread and row, unrolled. Measured with lavapipe of Mesa 22.3.6 (ratio to the copy,
/// one subgroup a row): 8 loads 0.93, 32 loads 0.62 to 0.74, 64 loads 0.41 to 0.54.
const SOFTWARE_FORWARD_LOADS: u32 = 32;
/// Where subgroups have less than [`SOFTWARE_LANES`] lanes, or are not to be used. SwiftShader (4 lanes) compiles 16 loads
/// with gain and bias held within a second, 24 in five, 32 in more than a minute. Loops that are not written out compile at
/// once, and run ten times as long (8192x256: 0.05 of the copy, 0.43 written out; SwiftShader of Chromium 156).
const FEW_LANES_FORWARD_LOADS: u32 = 16;
const SOFTWARE_BACKWARD_LOADS: u32 = 32;
/// Up to this many loads a thread holds a row of its own, and a subgroup as many rows as it has lanes: no sums over lanes,
/// which cost as much as loads (65536x64: 0.86 of the copy, 0.45 with a subgroup a row).
const SOFTWARE_OWN_ROW_LOADS: u32 = 16;
/// A software adapter runs a subgroup as the lanes of one SIMD unit; without subgroup operations, as many rows.
const SOFTWARE_LANES: u32 = 8;
/// Slots that keep the cores of a CPU busy, and rows that a slot walks before there are more of them: gain and bias are
/// loaded once a slot (4096x1024: 0.47 of the copy with 4 rows, 0.54 with 16, 0.61 with 64).
const SOFTWARE_LEAST_SLOTS: u32 = 64;
const SOFTWARE_ROWS_PER_SLOT: u32 = 64;

/// GPU, with gradients of parameters: up to this many rows every slot has one; with more, slots get more rows before there
/// are more slots.
const GPU_LEAST_SLOTS: u32 = 512;
/// Rows a slot walks before there are more slots: its partial sums, written and read again in float32, then cost less
/// than a tenth of what its rows cost.
const GPU_ROWS_PER_SLOT: u32 = 16;

/// GPU: up to this many columns (first) a row has this many threads (second). Narrow rows get few threads with one or
/// two vec4 each so that a subgroup holds many rows; from 128 columns on, a thread fills its budget of 8 vec4 before
/// the row gets more threads, since the reduction's cost grows with threads and not with values.
const GPU_THREADS: [(u32, u32); 4] = [(16, 4), (64, 8), (128, 16), (1024, 32)];
/// Threads of a workgroup that narrow rows share.
const GPU_WORKGROUP: u32 = 128;

/// Rows that `forward_streamed` works on at a time on a software adapter: gain and bias are loaded once for all of them
/// (2048x4096 on lavapipe of Mesa 22.3.6: 0.39 of the copy with 1 row, 0.49 with 2, 0.55 to 0.59 with 4, 0.42 with 8). On a
/// GPU, where they come from cache, a row each keeps more workgroups busy.
const SOFTWARE_STREAMED_BLOCK_ROWS: u32 = 4;
/// Rows that `backward_streamed` works on between two updates of its partial sums in memory: the updates (two reads
/// and two writes of a float32 row) then cost at most a quarter of the rows' own traffic.
const STREAMED_BLOCK_ROWS: u32 = 4;

/// Rows up to which `RowSplit::FewRows` splits them.
pub(super) const fn split_most_rows(kind: AdapterKind) -> u64 {
    match kind {
        AdapterKind::Gpu => GPU_LEAST_SLOTS as u64,
        AdapterKind::Software => SOFTWARE_LEAST_SLOTS as u64,
    }
}

/// Columns of a chunk whose moments or sums are taken by the first of the split kernels: a few dozen chunks to the widest rows
/// of models, and on a GPU as many vec4 a thread as its registers hold.
const SPLIT_PARTIAL_COLS: u32 = 8192;
/// The most chunks there, as far as a thread's loops may be that long: each chunk of the second kernel reads what all of them
/// have left.
const SPLIT_MOST_PARTIALS: u32 = 64;
/// vec4s of gain, bias or partial sums that a thread of the second kernel holds on a GPU.
const SPLIT_APPLY_VEC4: u32 = 4;
/// x, and with dgain and dbias two sums beside dy: half the steps.
const SOFTWARE_SPLIT_FORWARD_LOADS: u32 = SOFTWARE_FORWARD_LOADS;
const SOFTWARE_SPLIT_BACKWARD_LOADS: u32 = SOFTWARE_BACKWARD_LOADS / 2;

/// Scratch for partial sums stays below this.
const MOST_SCRATCH_BYTES: u64 = 64 << 20;

/// The most partial sums of the parameter gradients: on a GPU enough workgroups to fill the largest, on a CPU a few
/// per core, and always within the scratch budget and one storage binding.
pub(super) fn max_partial_rows(cols: u32, caps: &Caps) -> u32 {
    let most = match caps.kind {
        AdapterKind::Gpu => 1024,
        AdapterKind::Software => 64,
    };
    let row_bytes = 2 * 4 * u64::from(cols);
    let fit = MOST_SCRATCH_BYTES.min(caps.max_binding_bytes) / row_bytes;
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, most)
}

pub(super) fn forward(shape: &Shape, caps: &Caps) -> Result<Rung, Error> {
    let rung = match caps.kind {
        AdapterKind::Software => {
            let has_lanes = caps.subgroup.is_some_and(|sizes| sizes.min >= SOFTWARE_LANES);
            let loads = if has_lanes { SOFTWARE_FORWARD_LOADS } else { FEW_LANES_FORWARD_LOADS };
            software(Kernel::ForwardCached, shape, loads, caps)
        }
        AdapterKind::Gpu => {
            let budgets = if shape.cols <= FORWARD_CACHED_COLS {
                [FORWARD_VEC4, FORWARD_VEC4_MOST]
            } else {
                [FORWARD_VEC4; 2]
            };
            budgets.into_iter().find_map(|budget| gpu(Kernel::ForwardCached, shape, budget, caps))
        }
    };
    let block_rows = match caps.kind {
        AdapterKind::Software => SOFTWARE_STREAMED_BLOCK_ROWS,
        AdapterKind::Gpu => 1,
    };
    rung.map_or_else(|| streamed(Kernel::ForwardStreamed, shape, block_rows, caps), Ok)
}

pub(super) fn backward(shape: &Shape, parameters: bool, caps: &Caps) -> Result<Rung, Error> {
    let rung = match (caps.kind, parameters) {
        // x and dy.
        (AdapterKind::Software, _) => {
            software(Kernel::BackwardCached, shape, SOFTWARE_BACKWARD_LOADS / 2, caps)
        }
        (AdapterKind::Gpu, true) => {
            let max_invocations = caps.max_invocations.min(BACKWARD_MOST_THREADS);
            gpu(Kernel::BackwardCached, shape, BACKWARD_VEC4, &Caps { max_invocations, ..*caps })
        }
        (AdapterKind::Gpu, false) => gpu(Kernel::BackwardCached, shape, BACKWARD_DX_VEC4, caps),
    };
    let block_rows = if parameters { STREAMED_BLOCK_ROWS } else { 1 };
    let rung = rung.map_or_else(|| streamed(Kernel::BackwardStreamed, shape, block_rows, caps), Ok)?;
    Ok(if parameters && caps.kind == AdapterKind::Gpu {
        Rung { least_slots: GPU_LEAST_SLOTS, rows_per_slot: GPU_ROWS_PER_SLOT, ..rung }
    } else {
        rung
    })
}

/// The rungs of `forward_split_statistics` and `forward_split_apply`.
pub(super) fn forward_split(shape: &Shape, caps: &Caps) -> Result<[Rung; 2], Error> {
    let kernels = [Kernel::ForwardSplitStatistics, Kernel::ForwardSplitApply];
    split(kernels, shape, SOFTWARE_SPLIT_FORWARD_LOADS, caps)
}

/// The rungs of `backward_split_sums` and `backward_split_apply`.
pub(super) fn backward_split(shape: &Shape, caps: &Caps) -> Result<[Rung; 2], Error> {
    let kernels = [Kernel::BackwardSplitSums, Kernel::BackwardSplitApply];
    split(kernels, shape, SOFTWARE_SPLIT_BACKWARD_LOADS, caps)
}

/// Both with the threads of a streamed row. The first walks long chunks, the second holds what it needs of gain, bias and
/// partial sums of a short one in registers while it walks the rows.
fn split([first, second]: [Kernel; 2], shape: &Shape, loads: u32, caps: &Caps) -> Result<[Rung; 2], Error> {
    let whole = |kernel| -> Result<Rung, Error> {
        let threads = streamed_threads(caps).min(threads_that_fill(shape));
        let rung = rung(kernel, shape, threads, 1, caps);
        if fits(&rung, kernel, caps) {
            return Ok(rung);
        }
        Err(Error::unsupported(
            "workgroup memory in bytes",
            caps.max_workgroup_bytes,
            "more for a row's sums",
        ))
    };
    let first = whole(first)?;
    let step_cols = first.threads_per_row * shape.step_values();
    // A quarter of the limit is left for runs, reductions and the row loop.
    let most_steps = (caps.max_loop_trips / 4 * 3 / WALK_TRIPS_PER_STEP).max(1);
    let steps =
        SPLIT_PARTIAL_COLS.div_ceil(step_cols).max(first.steps.div_ceil(SPLIT_MOST_PARTIALS)).min(most_steps);
    let first = in_chunks(first, steps);
    let partial_cols = first.steps * step_cols;
    let second = whole(second)?;
    let second = match caps.kind {
        AdapterKind::Gpu => {
            let slots = |chunks: u32| GPU_LEAST_SLOTS.div_ceil(chunks);
            let second = in_chunks(second, SPLIT_APPLY_VEC4 * 4 / shape.step_values());
            Rung { least_slots: slots(second.chunks), rows_per_slot: GPU_ROWS_PER_SLOT, ..second }
        }
        AdapterKind::Software => {
            let second = in_chunks(second, loads * shape.vector_width / shape.step_values());
            let least_slots = SOFTWARE_LEAST_SLOTS.div_ceil(second.chunks);
            Rung { least_slots, rows_per_slot: SOFTWARE_ROWS_PER_SLOT, ..second }
        }
    };
    Ok([first, second].map(|rung| Rung { partial_cols, ..rung }))
}

/// The rung of a row's chunks, of `steps` steps at most and nearly alike.
fn in_chunks(whole: Rung, steps: u32) -> Rung {
    let steps = whole.steps.div_ceil(whole.steps.div_ceil(steps));
    Rung { steps, chunks: whole.steps.div_ceil(steps), ..whole }
}

/// Columns side by side and slices of the partial sums: 4 slices on a GPU, so that narrow rows still fill a
/// workgroup's subgroups; one on a CPU, where a barrier costs more than it brings.
pub(super) fn reduce_parameters(shape: &Shape, caps: &Caps) -> Rung {
    let (most_threads, slices) = match caps.kind {
        AdapterKind::Gpu => (32, 4),
        AdapterKind::Software => (SOFTWARE_LANES, 1),
    };
    let threads_per_row = threads_that_fill(shape).min(most_threads);
    Rung {
        kernel: Kernel::BackwardReduceParameters,
        threads_per_row,
        rows_per_workgroup: slices,
        steps: shape.cols.div_ceil(threads_per_row * shape.step_values()),
        chunks: 1,
        partial_cols: 0,
        reduction: if slices == 1 { Reduction::Thread } else { Reduction::Workgroup },
        block_rows: 1,
        hold_parameters: false,
        least_slots: 1,
        rows_per_slot: 1,
    }
}

/// The rung of a kernel that holds its row in a GPU's registers, `budget` vec4 a thread, or `None` where the row is too
/// wide.
fn gpu(kernel: Kernel, shape: &Shape, budget: u32, caps: &Caps) -> Option<Rung> {
    let most = largest_power_of_two(caps.max_invocations);
    let full = shape.cols.div_ceil(budget * 4).next_power_of_two();
    let step = GPU_THREADS.iter().find(|(cols, _)| shape.cols <= *cols);
    let threads = step.map_or(full, |(_, threads)| full.max(*threads)).min(threads_that_fill(shape));
    (threads <= most).then(|| rung(kernel, shape, threads, 1, caps)).filter(|rung| fits(rung, kernel, caps))
}

/// The rung of a kernel that holds its row on a software adapter, at most `loads` a thread.
fn software(kernel: Kernel, shape: &Shape, loads: u32, caps: &Caps) -> Option<Rung> {
    let threads = if shape.loads(1) <= SOFTWARE_OWN_ROW_LOADS.min(loads) {
        1
    } else {
        software_threads(caps).min(threads_that_fill(shape))
    };
    let rung = Rung {
        hold_parameters: true,
        least_slots: SOFTWARE_LEAST_SLOTS,
        rows_per_slot: SOFTWARE_ROWS_PER_SLOT,
        ..rung(kernel, shape, threads, 1, caps)
    };
    (shape.loads(threads) <= loads && fits(&rung, kernel, caps)).then_some(rung)
}

/// One subgroup, if that has one size; else one, since a barrier costs more than the row.
fn software_threads(caps: &Caps) -> u32 {
    match caps.subgroup {
        Some(sizes) if sizes.min == sizes.max => sizes.min.min(SOFTWARE_LANES),
        Some(_) | None => 1,
    }
}

/// Loop trips of a step of `forward_streamed`, in all walks and with two parts to an access.
const WALK_TRIPS_PER_STEP: u32 = 17;

fn streamed_threads(caps: &Caps) -> u32 {
    match caps.kind {
        AdapterKind::Gpu => largest_power_of_two(caps.max_invocations).min(256),
        AdapterKind::Software => software_threads(caps),
    }
}

/// The rung of a kernel that walks its row: as many threads as a workgroup has by default, more only where the
/// loops of one thread would pass the adapter's limit.
fn streamed(kernel: Kernel, shape: &Shape, block_rows: u32, caps: &Caps) -> Result<Rung, Error> {
    let most = largest_power_of_two(caps.max_invocations);
    let mut threads = streamed_threads(caps).min(threads_that_fill(shape));
    let mut block_rows = block_rows;
    loop {
        let rung = rung(kernel, shape, threads, block_rows, caps);
        // A step's trips in all walks, with two parts to an access, once per row of a block; a quarter of the limit is left
        // for runs, reductions and the row loop.
        let trips_per_step = if kernel == Kernel::ForwardStreamed { WALK_TRIPS_PER_STEP } else { 8 };
        let trips = u64::from(rung.steps) * u64::from(trips_per_step) * u64::from(block_rows);
        if fits(&rung, kernel, caps) && trips <= u64::from(caps.max_loop_trips) / 4 * 3 {
            return Ok(rung);
        }
        if kernel == Kernel::ForwardStreamed && block_rows > 1 {
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
fn rung(kernel: Kernel, shape: &Shape, threads: u32, block_rows: u32, caps: &Caps) -> Rung {
    let (reduction, rows_per_workgroup) = reduction(threads, caps);
    Rung {
        kernel,
        threads_per_row: threads,
        rows_per_workgroup,
        steps: shape.steps(threads),
        chunks: 1,
        partial_cols: 0,
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
            if caps.kind == AdapterKind::Software && sizes.min == sizes.max && threads == sizes.min =>
        {
            (Reduction::Subgroup, 1)
        }
        Some(sizes) if threads <= sizes.min => (Reduction::Lanes, shared(workgroup)),
        // Several whole subgroups: the workgroup is the row.
        Some(sizes) if threads >= sizes.max => (Reduction::Subgroups(sizes.min), 1),
        // Between the smallest and the largest size a subgroup might mix rows.
        Some(_) | None => (Reduction::Workgroup, shared(workgroup)),
    }
}

fn fits(rung: &Rung, kernel: Kernel, caps: &Caps) -> bool {
    let invocations = rung.threads_per_row * rung.rows_per_workgroup;
    let sums = kernel.sums_bytes();
    let bytes = match rung.reduction {
        Reduction::Workgroup => sums * invocations,
        Reduction::Subgroups(min) => 2 * sums * rung.threads_per_row.div_ceil(min),
        _ => 0,
    };
    invocations <= caps.max_invocations && bytes <= caps.max_workgroup_bytes
}

/// The threads beyond which one would have no column of its own.
fn threads_that_fill(shape: &Shape) -> u32 {
    shape.cols.div_ceil(shape.step_values()).next_power_of_two()
}

fn largest_power_of_two(value: u32) -> u32 {
    1 << value.max(1).ilog2()
}
