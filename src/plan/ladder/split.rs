//! Rows that several workgroups share.

use super::gpu::{GPU_THREADS_IN_FLIGHT, gpu_walk};
use super::software::{SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT, software_budget};
use super::{Rung, fits, rung, streamed_threads, threads_that_fill, walk_trips_per_step};
use crate::error::Error;
use crate::plan::{AdapterKind, Caps, Kernel, Plan, RowShape};
use crate::types::by_name;
use std::fmt;
use std::str::FromStr;

/// GPU: workgroups that keep it busy, a row each.
const GPU_SPLIT_MOST_ROWS: u64 = 512;

/// Which rows several workgroups share, in a call of two dispatches: for rows so few and wide that rows alone
/// leave most of an adapter idle.
///
/// A row that is split is summed in another order than one that is not, so that the last bits of y, the
/// statistics and dx may differ between the two, within the same tolerances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowSplit {
    /// None, but rows whose mean and variance are given, which need no sums before.
    #[default]
    Never,
    /// Those that are too wide for a workgroup's registers, whatever their number. It pays up to
    /// [`RowSplit::most_rows`]. Rows that registers hold are read once, and would be read twice.
    Wide,
}

impl fmt::Display for RowSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RowSplit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("row split", &Self::ALL, Self::name, name)
    }
}

impl RowSplit {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Never, Self::Wide];

    /// `never` or `wide`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Wide => "wide",
        }
    }

    /// Whether the rows of a plan for rows as a whole are split instead: not those whose y is written in
    /// codes, whose backward is from y, or from which dgate is wanted.
    #[must_use]
    pub const fn splits(self, whole: &Plan) -> bool {
        matches!(self, Self::Wide)
            && matches!(whole.kernel, Kernel::ForwardStreamed | Kernel::BackwardStreamed)
            && !whole.wants_whole_rows()
    }

    /// The most rows with which it pays to split them on such an adapter: with more, each core has rows
    /// enough of its own.
    #[must_use]
    pub const fn most_rows(kind: AdapterKind) -> u64 {
        match kind {
            AdapterKind::Gpu => GPU_SPLIT_MOST_ROWS,
            AdapterKind::Software => SOFTWARE_LEAST_SLOTS as u64,
        }
    }
}

/// Columns of a chunk whose moments or sums are taken by the first of the split kernels: a few dozen chunks
/// to the widest rows of models, and on a GPU as many vec4 a thread as its registers hold.
const SPLIT_PARTIAL_COLS: u32 = 8192;

/// The most chunks there, as far as a thread's loops may be that long: each chunk of the second kernel reads
/// what all of them have left.
const SPLIT_MOST_PARTIALS: u32 = 64;

/// vec4s of gain, bias or partial sums that a thread of the second kernel holds on a GPU; half as many where
/// backward accesses one element at a time, or two, which spills on gfx1100 with all gradients accumulated,
/// or with gain and bias of each row and an activation (Mesa 22.3.6).
const SPLIT_APPLY_VEC4: u32 = 4;

/// The same on a software adapter, whatever its loads.
const SOFTWARE_SPLIT_VEC4: u32 = 16;

/// The part of a row that a workgroup has, for each kernel of a call.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Chunks {
    /// Steps of one.
    pub(in crate::plan) steps: u32,
    pub(in crate::plan) count: u32,
    pub(in crate::plan) partial_cols: u32,
}

impl Chunks {
    /// The row as a whole.
    pub(in crate::plan) const fn one(shape: &RowShape, threads: u32) -> Self {
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
pub(in crate::plan) fn forward_split(shape: &RowShape, caps: &Caps) -> Result<[(Rung, Chunks); 2], Error> {
    let kernels = [Kernel::ForwardSplitStatistics, Kernel::ForwardSplitApply];
    split(kernels, shape, caps)
}

/// The rungs of `backward_split_sums` and `backward_split_apply`.
pub(in crate::plan) fn backward_split(shape: &RowShape, caps: &Caps) -> Result<[(Rung, Chunks); 2], Error> {
    let kernels = [Kernel::BackwardSplitSums, Kernel::BackwardSplitApply];
    split(kernels, shape, caps)
}

/// Both with the threads of a streamed row. The first walks long chunks, the second holds what it needs of
/// gain, bias and partial sums of a short one in registers while it walks the rows.
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
            let by_few = shape.vector_width <= 2 && kernels[1] == Kernel::BackwardSplitApply;
            let vec4 = if by_few { SPLIT_APPLY_VEC4 / 2 } else { SPLIT_APPLY_VEC4 };
            (vec4 * 4 / shape.step_values(), gpu_walk(second, GPU_THREADS_IN_FLIGHT))
        }
        AdapterKind::Software => {
            let values =
                (software_budget(caps).split_loads * shape.vector_width).min(4 * SOFTWARE_SPLIT_VEC4);
            let steps = values / shape.step_values();
            let (least_slots, rows_per_slot) = (SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT);
            (steps, Rung { least_slots, rows_per_slot, ..second })
        }
    };
    let of_second = Chunks::of(shape, threads, steps);
    let second = Rung { least_slots: second.least_slots.div_ceil(of_second.count), ..second };
    let partial_cols = of_first.steps * step_cols;
    Ok([(first, Chunks { partial_cols, ..of_first }), (second, Chunks { partial_cols, ..of_second })])
}
