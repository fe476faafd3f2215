//! How many threads share a row, by its width: data, with the reason for each step.
//!
//! Three budgets shape the ladders. A thread holds 8 vec4 of a row comfortably in forward, 16 at most, and 4 in backward with
//! parameter gradients, where x and dy and two running sums are held (compiled for AMD, Intel, NVIDIA and Adreno: more
//! spills or halves the waves). A subgroup exchanges values without a barrier. And an adapter wants enough rows in
//! flight, so narrow rows share a workgroup.

use super::numbers::SLOT_SUM_BYTES;
use super::{AdapterKind, Caps, Kernel, Operation, Plan, Reduction, RowShape, SubgroupSizes};
use crate::error::Error;
use crate::types::Problem;

/// What the ladder decides of a plan: how the threads of a kernel lie on a row, and how slots walk the rows. The fields are
/// those of [`Plan`] with the same names.
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

/// No kernel holds more vec4s of a row in a thread: on a GPU they would spill, on a software adapter the text, whose loops are
/// written out, would grow beyond what compiles in a second.
const MOST_VEC4: u32 = 64;
/// The most rows that a streamed kernel works on at a time, each with its statistics in registers.
pub(super) const MOST_BLOCK_ROWS: u32 = 16;
/// Threads of a row and rows of a workgroup, each: above any limit of an adapter, and far below where products of the two
/// overflow.
pub(super) const MOST_INVOCATIONS: u32 = 1 << 12;
/// The most rows of a workgroup, over all its slots, before there are more workgroups: far below where a shader's count of
/// rows, in 32 bits, overflows.
pub(super) const MOST_WORKGROUP_ROWS: u32 = 1 << 20;

impl Rung {
    /// Whether a kernel can run so on some device: what [`Plan::check`] takes for granted.
    pub(super) fn validate(&self, shape: &RowShape, operation: &str) -> Result<(), Error> {
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

/// vec4s of the row that a thread holds in registers.
const FORWARD_VEC4: u32 = 8;
/// Where 8 vec4 a thread do not carry 8192 columns (128 invocations a workgroup), 16 do, without spills. So they do 16384 with
/// 256 threads, which beats more threads (H200: 1024x16384 at 0.85 of the copy, 0.70 with 512, 0.63 with 1024).
const FORWARD_VEC4_MOST: u32 = 16;
const FORWARD_FEW_THREADS: u32 = 256;
/// x, dy, the sums of dgain and of dbias: four times this.
pub(super) const BACKWARD_VEC4: u32 = 4;
/// A workgroup of 1024 leaves a thread of AMD's GCN 5 64 registers, of which the two sums spill more than 180 (Mesa
/// 22.3.6); Intel's compiler spills there too.
const BACKWARD_MOST_THREADS: u32 = 512;
/// Without the two sums.
const BACKWARD_DX_VEC4: u32 = 8;

/// What a software adapter's compiler carries. It turns each access to memory into a loop over the lanes of a SIMD unit, some
/// 300 bytes of code for a load and 200 for a store, and the loops over steps are written out.
#[derive(Debug)]
struct SoftwareBudget {
    /// A row is held up to this many loads a thread: as far as compiling it takes a few seconds.
    forward_loads: u32,
    /// Of x and of dy, each.
    backward_loads: u32,
    /// Of a chunk, in the second of the split kernels.
    split_loads: u32,
    /// Rows that `forward_streamed` works on at a time: gain and bias are loaded once for all of them.
    forward_block_rows: u32,
    /// Rows that `backward_streamed` and `backward_split_sums` work on at a time, and load the gain for.
    backward_block_rows: u32,
}

/// Of subgroups with [`SOFTWARE_LANES`] lanes or more. On lavapipe of Mesa 22.3.6
/// - rows of 1024, 2048 and 4096 columns compiled in 1.4, 4.3 and 21 s in forward and 3.2, 19 and 91 s in backward before texts
///   were short (now 0.5 and 1.6 s at 1024); held, 2048x4096 ran at 0.65 and 0.56 of the copy, streamed at 0.55 and 0.36;
/// - forward 2048x4096 ran at 0.53 of the copy with blocks of 4 rows, 0.55 with 8;
/// - backward 2048x4096 and 256x16384 ran, in runs of 16 vec4, at 0.34 and 0.32 with blocks of 4 rows, 0.40 and 0.38 with 8, 0.38
///   and 0.20 with 16, which leave the second-level cache.
const WITH_LANES: SoftwareBudget = SoftwareBudget {
    forward_loads: 32,
    backward_loads: 32,
    split_loads: 32,
    forward_block_rows: 8,
    backward_block_rows: 8,
};

/// Of subgroups with fewer lanes. SwiftShader (4 lanes) compiles 16 loads with gain and bias held within a second, 24 in five,
/// 32 in more than a minute. Loops that are not written out compile at once, and run ten times as long (8192x256: 0.05 of the
/// copy, 0.43 written out; 4096x448 streamed: 0.13; SwiftShader of Chromium 156).
const FEW_LANES: SoftwareBudget = SoftwareBudget {
    forward_loads: 24,
    backward_loads: 16,
    split_loads: 16,
    forward_block_rows: 4,
    backward_block_rows: 4,
};

/// Without subgroup operations. On llvmpipe's GL naga adds no bound to loops, and Mesa unrolls those over the rows of a block:
/// `backward_streamed` compiles in 11 s with 8 rows, in 2 with 2.
const NO_LANES: SoftwareBudget = SoftwareBudget { backward_block_rows: 2, ..FEW_LANES };

/// vec4s of a row that a thread holds on a software adapter, whatever its loads: more take seconds to compile.
const SOFTWARE_VEC4: u32 = 32;
/// Up to this many loads a thread holds a row of its own, and a subgroup as many rows as it has lanes: no sums over lanes,
/// which cost as much as loads (65536x64: 0.86 of the copy, 0.45 with a subgroup a row).
const SOFTWARE_OWN_ROW_LOADS: u32 = 16;
/// A software adapter runs a subgroup as the lanes of one SIMD unit; without subgroup operations, as many rows.
const SOFTWARE_LANES: u32 = 8;
/// Slots that keep the cores of a CPU busy, and rows that a slot walks before there are more of them: gain and bias are
/// loaded once a slot (4096x1024: 0.47 of the copy with 4 rows, 0.54 with 16, 0.61 with 64).
const SOFTWARE_LEAST_SLOTS: u32 = 64;
const SOFTWARE_ROWS_PER_SLOT: u32 = 64;

/// Threads that keep a GPU busy (H200, backward with gradients of parameters, 4096x4096: 62 us, 67 with twice as many).
const GPU_THREADS_IN_FLIGHT: u32 = 1 << 16;
/// GPU, where a slot walks several rows: rows of a workgroup before there are more workgroups than it takes to keep the GPU busy.
/// A workgroup's partial sums, written and read again in float32, cost what one and a third of its rows cost.
const GPU_WORKGROUP_ROWS: u32 = 64;

/// GPU: up to this many columns (first) a row has this many threads (second). Narrow rows get few threads with one or
/// two vec4 each so that a subgroup holds many rows; from 128 columns on, a thread fills its budget of 8 vec4 before
/// the row gets more threads, since the reduction's cost grows with threads and not with values.
const GPU_THREADS: [(u32, u32); 4] = [(16, 4), (64, 8), (128, 16), (1024, 32)];
/// Threads of a workgroup that is one row: fewer leave most of a core idle.
const LEAST_ROW_WORKGROUP: u32 = 64;
/// Threads of a workgroup that narrow rows share.
const GPU_WORKGROUP: u32 = 128;

/// vec4s of a run where a thread holds nothing else of a row.
pub(super) const RUN_VEC4: u32 = 8;
/// GPU: rows that `backward_streamed` works on between two updates of its partial sums in memory: the updates (two reads
/// and two writes of a float32 row) then cost at most a quarter of the rows' own traffic.
const GPU_BACKWARD_BLOCK_ROWS: u32 = 4;

/// GPU: workgroups of `backward_reduce_parameters`, as far as columns go.
const GPU_REDUCE_LEAST_WORKGROUPS: u32 = 128;
/// Its threads side by side, least and most, with a vec4 each: 32 bytes, which memory is read in, to 128, a cache line.
const GPU_REDUCE_THREADS: (u32, u32) = (2, 8);
/// The most threads of its workgroups.
const GPU_REDUCE_MOST_THREADS: u32 = 512;

/// GPU: workgroups that keep it busy, a row each.
const GPU_SPLIT_MOST_ROWS: u64 = 512;

/// Rows up to which it pays to split them.
pub(super) const fn split_most_rows(kind: AdapterKind) -> u64 {
    match kind {
        AdapterKind::Gpu => GPU_SPLIT_MOST_ROWS,
        AdapterKind::Software => SOFTWARE_LEAST_SLOTS as u64,
    }
}

/// Columns of a chunk whose moments or sums are taken by the first of the split kernels: a few dozen chunks to the widest rows
/// of models, and on a GPU as many vec4 a thread as its registers hold.
const SPLIT_PARTIAL_COLS: u32 = 8192;
/// The most chunks there, as far as a thread's loops may be that long: each chunk of the second kernel reads what all of them
/// have left.
const SPLIT_MOST_PARTIALS: u32 = 64;
/// vec4s of gain, bias or partial sums that a thread of the second kernel holds on a GPU; half as many where backward accesses one
/// element at a time, which spills on gfx1100 with all gradients accumulated (Mesa 22.3.6).
const SPLIT_APPLY_VEC4: u32 = 4;

/// Scratch for partial sums stays below this.
const MOST_SCRATCH_BYTES: u64 = 64 << 20;

/// Partial sums of the parameter gradients that fill the largest GPU, a workgroup each.
const MOST_PARTIAL_ROWS: u32 = 1024;

/// Blocks of rows that a slot of `backward_streamed` adds to its partial sums in memory, which are not compensated: of like terms
/// so many are off by up to 1 unit, and the rows of a block by up to 2. With 8 blocks of 8 rows the case of like rows was off by
/// 4.1 units on lavapipe, of which xhat has 1.9. A slot's first block reads no sums, so more slots cost little: 2048x4096 and
/// 256x16384 there are as fast as with 64 slots for all rows.
pub(super) const MOST_STREAMED_BLOCKS: u32 = 4;

/// The most partial sums of the parameter gradients, within the scratch budget and one storage binding.
pub(super) fn max_partial_rows(cols: u32, caps: &Caps) -> u32 {
    let row_bytes = 2 * 4 * u64::from(cols);
    let fit = MOST_SCRATCH_BYTES.min(caps.max_binding_bytes) / row_bytes;
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, MOST_PARTIAL_ROWS)
}

pub(super) fn forward(shape: &RowShape, caps: &Caps) -> Result<Rung, Error> {
    let rung = match caps.kind {
        AdapterKind::Software => {
            software(Kernel::ForwardCached, shape, software_budget(caps).forward_loads, caps)
                .filter(|rung| shape.vec4(rung.threads_per_row) <= SOFTWARE_VEC4)
        }
        AdapterKind::Gpu => {
            let max_invocations = caps.max_invocations.min(FORWARD_FEW_THREADS);
            let few_threads = Caps { max_invocations, ..*caps };
            let rungs =
                [(FORWARD_VEC4, &few_threads), (FORWARD_VEC4_MOST, &few_threads), (FORWARD_VEC4, caps)];
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

pub(super) fn backward(shape: &RowShape, parameters: bool, caps: &Caps) -> Result<Rung, Error> {
    let rung = match (caps.kind, parameters) {
        (AdapterKind::Software, _) => {
            software(Kernel::BackwardCached, shape, software_budget(caps).backward_loads, caps)
                .filter(|rung| shape.vec4(rung.threads_per_row) <= SOFTWARE_VEC4)
        }
        (AdapterKind::Gpu, true) => {
            let max_invocations = caps.max_invocations.min(BACKWARD_MOST_THREADS);
            gpu(Kernel::BackwardCached, shape, BACKWARD_VEC4, &Caps { max_invocations, ..*caps })
        }
        (AdapterKind::Gpu, false) => gpu(Kernel::BackwardCached, shape, BACKWARD_DX_VEC4, caps),
    };
    let block_rows = match (caps.kind, parameters) {
        (AdapterKind::Software, _) => software_budget(caps).backward_block_rows,
        (AdapterKind::Gpu, true) => GPU_BACKWARD_BLOCK_ROWS,
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

/// The part of a row that a workgroup has, for each kernel of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    /// Steps of one.
    pub(super) steps: u32,
    pub(super) count: u32,
    pub(super) partial_cols: u32,
}

impl Chunks {
    /// The row as a whole.
    pub(super) const fn one(shape: &RowShape, threads: u32) -> Self {
        Self { steps: shape.steps(threads), count: 1, partial_cols: 0 }
    }

    /// Of `steps` steps at most, and nearly alike.
    const fn of(shape: &RowShape, threads: u32, steps: u32) -> Self {
        let whole = shape.steps(threads);
        let steps = whole.div_ceil(whole.div_ceil(steps));
        Self { steps, count: whole.div_ceil(steps), partial_cols: 0 }
    }
}

/// The rungs of `forward_split_statistics` and `forward_split_apply`.
pub(super) fn forward_split(shape: &RowShape, caps: &Caps) -> Result<[(Rung, Chunks); 2], Error> {
    let kernels = [Kernel::ForwardSplitStatistics, Kernel::ForwardSplitApply];
    split(kernels, shape, caps)
}

/// The rungs of `backward_split_sums` and `backward_split_apply`.
pub(super) fn backward_split(shape: &RowShape, caps: &Caps) -> Result<[(Rung, Chunks); 2], Error> {
    let kernels = [Kernel::BackwardSplitSums, Kernel::BackwardSplitApply];
    split(kernels, shape, caps)
}

/// Both with the threads of a streamed row. The first walks long chunks, the second holds what it needs of gain, bias and
/// partial sums of a short one in registers while it walks the rows.
fn split(kernels: [Kernel; 2], shape: &RowShape, caps: &Caps) -> Result<[(Rung, Chunks); 2], Error> {
    let threads = streamed_threads(caps).min(threads_that_fill(shape));
    let step_cols = threads * shape.step_values();
    let wanted =
        SPLIT_PARTIAL_COLS.div_ceil(step_cols).max(shape.steps(threads).div_ceil(SPLIT_MOST_PARTIALS));
    // A quarter of the limit is left for runs, reductions and the row loop.
    let most_steps =
        |block_rows| caps.max_loop_trips / 4 * 3 / (walk_trips_per_step(kernels[0]) * block_rows);
    let mut block_rows = match (caps.kind, kernels[0]) {
        (AdapterKind::Software, Kernel::BackwardSplitSums) => software_budget(caps).backward_block_rows,
        _ => 1,
    };
    while block_rows > 1 && most_steps(block_rows) < wanted {
        block_rows /= 2;
    }
    let first = rung(kernels[0], threads, block_rows, caps);
    let second = rung(kernels[1], threads, 1, caps);
    if !fits(&first, first.kernel, caps) || !fits(&second, second.kernel, caps) {
        return Err(Error::unsupported(
            "workgroup memory in bytes",
            caps.max_workgroup_bytes,
            "more for a row's sums",
        ));
    }
    let of_first = Chunks::of(shape, threads, wanted.min(most_steps(block_rows)).max(1));
    let (steps, second) = match caps.kind {
        AdapterKind::Gpu => {
            let backward_by_one = shape.vector_width == 1 && kernels[1] == Kernel::BackwardSplitApply;
            let vec4 = if backward_by_one { SPLIT_APPLY_VEC4 / 2 } else { SPLIT_APPLY_VEC4 };
            (vec4 * 4 / shape.step_values(), gpu_walk(second, GPU_THREADS_IN_FLIGHT))
        }
        AdapterKind::Software => {
            let steps = software_budget(caps).split_loads * shape.vector_width / shape.step_values();
            let (least_slots, rows_per_slot) = (SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT);
            (steps, Rung { least_slots, rows_per_slot, ..second })
        }
    };
    let of_second = Chunks::of(shape, threads, steps);
    let second = Rung { least_slots: second.least_slots.div_ceil(of_second.count), ..second };
    let partial_cols = of_first.steps * step_cols;
    Ok([(first, Chunks { partial_cols, ..of_first }), (second, Chunks { partial_cols, ..of_second })])
}

/// Columns side by side and slices of the partial sums. On a GPU narrow rows have few threads, so that there are several
/// workgroups all the same, and many slices: the time is that of one thread's loads, one batch after the other. On a CPU there is
/// one slice: a barrier costs more than it brings.
pub(super) fn reduce_parameters(shape: &RowShape, caps: &Caps) -> Rung {
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

/// The rung of a kernel that holds its row in a GPU's registers, `budget` vec4 a thread, or `None` where the row is too
/// wide.
fn gpu(kernel: Kernel, shape: &RowShape, budget: u32, caps: &Caps) -> Option<Rung> {
    let most = largest_power_of_two(caps.max_invocations);
    let full = shape.cols.div_ceil(budget * 4).next_power_of_two();
    let step = GPU_THREADS.iter().find(|(cols, _)| shape.cols <= *cols);
    let threads = step.map_or(full, |(_, threads)| full.max(*threads)).min(threads_that_fill(shape));
    (threads <= most).then(|| rung(kernel, threads, 1, caps)).filter(|rung| fits(rung, kernel, caps))
}

/// Workgroups of some rows each, `threads` threads in all before they have more than one.
fn gpu_walk(rung: Rung, threads: u32) -> Rung {
    let workgroups = (threads / (rung.threads_per_row * rung.rows_per_workgroup)).max(1);
    Rung {
        least_slots: workgroups * rung.rows_per_workgroup,
        rows_per_slot: (GPU_WORKGROUP_ROWS / rung.rows_per_workgroup).max(1),
        ..rung
    }
}

/// The rung of a kernel that holds its row on a software adapter, at most `loads` a thread.
fn software(kernel: Kernel, shape: &RowShape, loads: u32, caps: &Caps) -> Option<Rung> {
    // A thread's registers count here, whatever its loads.
    let own_row_loads = if shape.wide { SOFTWARE_OWN_ROW_LOADS / 2 } else { SOFTWARE_OWN_ROW_LOADS };
    let threads = if shape.loads(1) <= own_row_loads.min(loads) {
        1
    } else {
        software_threads(caps).min(threads_that_fill(shape))
    };
    let rung = Rung {
        hold_parameters: true,
        least_slots: SOFTWARE_LEAST_SLOTS,
        rows_per_slot: SOFTWARE_ROWS_PER_SLOT,
        ..rung(kernel, threads, 1, caps)
    };
    (shape.loads(threads) <= loads && fits(&rung, kernel, caps)).then_some(rung)
}

const fn software_budget(caps: &Caps) -> &'static SoftwareBudget {
    match caps.subgroup {
        Some(sizes) if sizes.min >= SOFTWARE_LANES => &WITH_LANES,
        Some(_) => &FEW_LANES,
        None => &NO_LANES,
    }
}

/// One subgroup, if that has one size; else one, since a barrier costs more than the row.
fn software_threads(caps: &Caps) -> u32 {
    match caps.subgroup {
        Some(sizes) if sizes.min == sizes.max => sizes.min.min(SOFTWARE_LANES),
        Some(_) | None => 1,
    }
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

/// The rung of a kernel that walks its row: as many threads as a workgroup has by default, more only where the
/// loops of one thread would exceed the adapter's limit.
fn streamed(kernel: Kernel, shape: &RowShape, block_rows: u32, caps: &Caps) -> Result<Rung, Error> {
    let most = largest_power_of_two(caps.max_invocations);
    let mut threads = streamed_threads(caps).min(threads_that_fill(shape));
    let mut block_rows = block_rows;
    loop {
        let rung = rung(kernel, threads, block_rows, caps);
        // A step's trips in all walks, with two parts to an access, once per row of a block; a quarter of the limit is left
        // for runs, reductions and the row loop.
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
    let bytes = rung.reduction.workgroup_bytes(invocations, kernel.sums_bytes());
    let combines_slots = rung.rows_per_workgroup > 1 && super::combines_slots(kernel, caps.kind);
    let slot_bytes = if combines_slots { SLOT_SUM_BYTES * invocations } else { 0 };
    invocations <= caps.max_invocations && bytes + slot_bytes <= caps.max_workgroup_bytes
}

/// The threads beyond which one would have no column of its own.
fn threads_that_fill(shape: &RowShape) -> u32 {
    shape.cols.div_ceil(shape.step_values()).next_power_of_two()
}

fn largest_power_of_two(value: u32) -> u32 {
    1 << value.max(1).ilog2()
}

/// The rungs that tuning tries for a call beside the ladder's own, which is the first. Each gives another legal plan. They
/// are some families and not all that is legal: what was found to lose everywhere (see the constants above) is left out.
///
/// # Errors
/// Those of the ladder's own plan.
pub(super) fn candidates(
    problem: &Problem,
    operation: Operation,
    vector_width: u32,
    caps: &Caps,
) -> Result<Vec<Rung>, Error> {
    let own = Plan::by_ladder(problem, operation, vector_width, caps)?;
    let (cached, streamed, held_vec4) = match operation {
        Operation::Forward(_) => (Kernel::ForwardCached, Kernel::ForwardStreamed, FORWARD_VEC4_MOST),
        _ => (Kernel::BackwardCached, Kernel::BackwardStreamed, BACKWARD_DX_VEC4),
    };
    let shape = RowShape::new(problem, vector_width, caps)?;
    let (most_vec4, workgroups, most_threads) = match caps.kind {
        AdapterKind::Gpu => (held_vec4, &[64, 128, 256][..], caps.max_invocations),
        // Barriers lose, see SOFTWARE_LANES and docs/lab/software-adapters.md.
        AdapterKind::Software => {
            (MOST_VEC4, &[SOFTWARE_LANES, 4 * SOFTWARE_LANES][..], software_threads(caps))
        }
    };
    // Whether parameters are held, least_slots and rows_per_slot; on a GPU what gpu_walk makes of so many threads, or a row each.
    let walks: &[(bool, u32, u32)] = match (caps.kind, own.parameter_gradients()) {
        (AdapterKind::Software, _) => &[
            (true, SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT),
            (true, SOFTWARE_LEAST_SLOTS, 16),
            (false, 1, 1),
        ],
        (AdapterKind::Gpu, 0) => &[(false, 1, 1), (true, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS)],
        (AdapterKind::Gpu, _) => &[
            (false, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS),
            (true, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS),
            (false, GPU_THREADS_IN_FLIGHT / 4, GPU_WORKGROUP_ROWS),
        ],
    };
    let mut rungs = vec![own.rung()];
    let mut plans = vec![own];
    let mut add = |rung: Rung| {
        if let Ok(plan) = Plan::with_rung(problem, operation, vector_width, rung, caps)
            && !plans.contains(&plan)
        {
            plans.push(plan);
            rungs.push(rung);
        }
    };
    let threads = (0..).map(|log2| 1 << log2);
    for threads in threads.take_while(|threads| *threads <= most_threads.min(threads_that_fill(&shape))) {
        for &workgroup in workgroups {
            let rows_per_workgroup = match reduction(threads, caps) {
                (Reduction::Subgroup | Reduction::Subgroups(_), rows) => rows,
                _ => (workgroup / threads).max(1),
            };
            for &(hold_parameters, least_slots, rows_per_slot) in walks {
                let walked = |kernel, block_rows, hold_parameters| {
                    let rung = Rung {
                        rows_per_workgroup,
                        hold_parameters,
                        least_slots,
                        rows_per_slot,
                        ..rung(kernel, threads, block_rows, caps)
                    };
                    match (caps.kind, rows_per_slot) {
                        (AdapterKind::Gpu, 2..) => gpu_walk(rung, least_slots),
                        _ => rung,
                    }
                };
                if shape.vec4(threads) <= most_vec4 {
                    add(walked(cached, 1, hold_parameters));
                }
                for block_rows in [1, 2, 4, 8] {
                    // A row that a thread could hold is not walked twice by one thread alone.
                    if !hold_parameters && shape.steps(threads) > 1 {
                        add(walked(streamed, block_rows, false));
                    }
                }
            }
        }
    }
    Ok(rungs)
}
