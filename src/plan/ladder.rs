//! How many threads share a row, by its width: data, with the reason for each step.
//!
//! Three budgets shape the ladders. A thread holds 8 vec4 of a row comfortably in forward, and 4 in backward with
//! parameter gradients, where x and dy and two running sums are held (compiled for AMD, Intel, NVIDIA and Adreno: more
//! spills or halves the waves). A subgroup exchanges values without a barrier. And an adapter wants enough rows in
//! flight, so narrow rows share a workgroup.

use super::{AdapterKind, Caps, Kernel, Reduction, Shape};
use crate::error::Error;

/// How the threads of a kernel lie on a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    pub(super) kernel: Kernel,
    pub(super) threads_per_row: u32,
    pub(super) rows_per_workgroup: u32,
    pub(super) steps: u32,
    pub(super) reduction: Reduction,
    pub(super) block_rows: u32,
}

/// vec4s of the row that a thread holds in registers.
const FORWARD_VEC4: u32 = 8;
/// Where 8 vec4 a thread do not carry 8192 columns (128 invocations a workgroup), 16 do, without spills.
const FORWARD_VEC4_MOST: u32 = 16;
const FORWARD_CACHED_COLS: u32 = 8192;
/// x, dy, the sums of dgain and of dbias: four times this.
const BACKWARD_VEC4: u32 = 4;
/// Without the two sums.
const BACKWARD_DX_VEC4: u32 = 8;

/// A software adapter's "registers" are a core's first-level cache, but its compiler unrolls the loops over them:
/// lavapipe of Mesa 22.3.6 needs 0.3 s for 32 vec4 a thread in forward and 16 in backward, 20 s and minutes for 128.
const SOFTWARE_FORWARD_VEC4: u32 = 32;
const SOFTWARE_BACKWARD_VEC4: u32 = 16;
/// Wider rows are streamed on a software adapter: more threads cost more than a second read from cache.
const SOFTWARE_CACHED_COLS: u32 = 8192;
/// A software adapter runs a subgroup as the lanes of one SIMD unit.
const SOFTWARE_THREADS: u32 = 8;

/// GPU: up to this many columns (first) a row has this many threads (second). Narrow rows get few threads with one or
/// two vec4 each so that a subgroup holds many rows; from 128 columns on, a thread fills its budget of 8 vec4 before
/// the row gets more threads, since the reduction's cost grows with threads and not with values.
const GPU_THREADS: [(u32, u32); 4] = [(16, 4), (64, 8), (128, 16), (1024, 32)];
/// Threads of a workgroup that narrow rows share.
const GPU_WORKGROUP: u32 = 128;

/// Rows that `backward_streamed` works on between two updates of its partial sums in memory: the updates (two reads
/// and two writes of a float32 row) then cost at most a quarter of the rows' own traffic.
const STREAMED_BLOCK_ROWS: u32 = 4;

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
    let budgets = match caps.kind {
        AdapterKind::Software => [SOFTWARE_FORWARD_VEC4; 2],
        AdapterKind::Gpu if shape.cols <= FORWARD_CACHED_COLS => [FORWARD_VEC4, FORWARD_VEC4_MOST],
        AdapterKind::Gpu => [FORWARD_VEC4; 2],
    };
    budgets
        .into_iter()
        .find_map(|budget| cached(Kernel::ForwardCached, shape, budget, caps))
        .map_or_else(|| streamed(Kernel::ForwardStreamed, shape, 1, caps), Ok)
}

pub(super) fn backward(shape: &Shape, parameters: bool, caps: &Caps) -> Result<Rung, Error> {
    let budget = match (caps.kind, parameters) {
        (AdapterKind::Software, _) => SOFTWARE_BACKWARD_VEC4,
        (AdapterKind::Gpu, true) => BACKWARD_VEC4,
        (AdapterKind::Gpu, false) => BACKWARD_DX_VEC4,
    };
    let block_rows = if parameters { STREAMED_BLOCK_ROWS } else { 1 };
    cached(Kernel::BackwardCached, shape, budget, caps)
        .map_or_else(|| streamed(Kernel::BackwardStreamed, shape, block_rows, caps), Ok)
}

/// Columns side by side and slices of the partial sums: 4 slices on a GPU, so that narrow rows still fill a
/// workgroup's subgroups; one on a CPU, where a barrier costs more than it brings.
pub(super) fn reduce_parameters(shape: &Shape, caps: &Caps) -> Rung {
    let (most_threads, slices) = match caps.kind {
        AdapterKind::Gpu => (32, 4),
        AdapterKind::Software => (SOFTWARE_THREADS, 1),
    };
    let threads_per_row = threads_that_fill(shape).min(most_threads);
    Rung {
        kernel: Kernel::BackwardReduceParameters,
        threads_per_row,
        rows_per_workgroup: slices,
        steps: shape.cols.div_ceil(threads_per_row * shape.step_values()),
        reduction: if slices == 1 { Reduction::Thread } else { Reduction::Workgroup },
        block_rows: 1,
    }
}

/// The rung of a kernel that holds its row in registers, `budget` vec4 a thread, or `None` where the row is too wide.
fn cached(kernel: Kernel, shape: &Shape, budget: u32, caps: &Caps) -> Option<Rung> {
    let most = largest_power_of_two(caps.max_invocations);
    let full = shape.cols.div_ceil(budget * 4).next_power_of_two();
    let threads = match caps.kind {
        AdapterKind::Software if shape.cols > SOFTWARE_CACHED_COLS => return None,
        AdapterKind::Software => full.max(SOFTWARE_THREADS),
        AdapterKind::Gpu => {
            let rung = GPU_THREADS.iter().find(|(cols, _)| shape.cols <= *cols);
            rung.map_or(full, |(_, threads)| full.max(*threads))
        }
    };
    let threads = threads.min(threads_that_fill(shape));
    (threads <= most).then(|| rung(kernel, shape, threads, 1, caps)).filter(|rung| fits(rung, kernel, caps))
}

/// The rung of a kernel that walks its row: as many threads as a workgroup has by default, more only where the
/// loops of one thread would pass the adapter's limit.
fn streamed(kernel: Kernel, shape: &Shape, block_rows: u32, caps: &Caps) -> Result<Rung, Error> {
    let most = largest_power_of_two(caps.max_invocations);
    let first = match caps.kind {
        AdapterKind::Gpu => most.min(256),
        AdapterKind::Software => SOFTWARE_THREADS,
    };
    let mut threads = first.min(threads_that_fill(shape));
    loop {
        let rung = rung(kernel, shape, threads, block_rows, caps);
        // Per step: one trip in each of up to three walks, and as many for the parts of an access, each once per row of
        // a block; a quarter is left for runs, reductions and the row loop.
        let trips = u64::from(rung.steps) * 9 * u64::from(block_rows);
        if fits(&rung, kernel, caps) && trips <= u64::from(caps.max_loop_trips) / 4 * 3 {
            return Ok(rung);
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

fn rung(kernel: Kernel, shape: &Shape, threads: u32, block_rows: u32, caps: &Caps) -> Rung {
    let (reduction, rows_per_workgroup) = reduction(threads, caps);
    Rung {
        kernel,
        threads_per_row: threads,
        rows_per_workgroup,
        steps: shape.cols.div_ceil(threads * shape.step_values()),
        reduction,
        block_rows,
    }
}

/// How `threads` threads add up, and how many such rows share a workgroup.
fn reduction(threads: u32, caps: &Caps) -> (Reduction, u32) {
    let shared =
        |workgroup: u32| (workgroup.min(largest_power_of_two(caps.max_invocations)) / threads).max(1);
    let workgroup = match caps.kind {
        AdapterKind::Gpu => GPU_WORKGROUP,
        // A workgroup of one subgroup beats wider ones at every shape tried on lavapipe.
        AdapterKind::Software => SOFTWARE_THREADS,
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
    let sums = if matches!(kernel, Kernel::ForwardCached | Kernel::ForwardStreamed) { 8 } else { 16 };
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
