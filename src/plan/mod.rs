//! From a [`Problem`] and the [`Caps`] of an adapter to a [`Plan`]: which kernel runs, and how its threads
//! lie on the rows. Pure arithmetic, no GPU.
//!
//! A plan depends on `cols`, dtypes, options and alignment, never on the number of rows: a row's result is
//! the same whatever comes with it. Rows only decide how often the plan is dispatched ([`Plan::dispatches`]),
//! and in backward how many partial sums of the parameter gradients there are ([`Dispatch::partial_rows`]).

mod across;
mod backward;
mod caps;
mod channels;
mod check;
mod dispatch;
mod label;
mod ladder;
mod launch;
mod numbers;
mod pooled;
pub(crate) mod quirks;
mod reduction;
mod rungs;
mod shape;
mod slots;
mod span;
mod strides;
mod sums;
mod tensor;
mod text_key;
mod traffic;
mod tuning;
mod uniform;
mod validate;

pub use crate::op::{Backward, Forward, Kernel, Operation, Role, Shape, Stored, Tensor, Used, Uses};
#[cfg(feature = "gpu")]
pub(crate) use across::ACCESS_ROWS;
pub use caps::{AdapterKind, Caps, RegisterBudget, SubgroupSizes};
use channels::{deals_heads, deals_samples, of_gain, of_rows};
pub use dispatch::Dispatch;
pub use ladder::{RowSplit, Rung};
pub use launch::{Formula, Launch};
pub use numbers::RowFactors;
pub use pooled::Pooled;
pub use quirks::{AdapterNames, Backend as AdapterBackend};
pub use reduction::Reduction;
pub(crate) use shape::{RowShape, WIDE, largest_common_power_of_two};
use slots::combines_slots;
pub use span::Span;
pub use strides::Strides;
#[cfg(feature = "gpu")]
pub(crate) use strides::{inner_columns, place_among_inner_rows};
pub use tensor::{Storage, Storages};
pub use traffic::Traffic;
pub use tuning::{TunedAdapter, Tuning, TuningEntry, TuningKey};
#[cfg(feature = "gpu")]
pub(crate) use uniform::Outer;
pub use uniform::{Numbers, Place, Uniform};

use crate::error::Error;
use crate::types::{Activation, Affine, Channels, Dtype, Normalization, Problem};

/// The rows of a problem as plans see them, and the caps to plan with.
fn shaped(problem: &Problem, vector_width: u32, caps: &Caps) -> Result<(RowShape, Caps), Error> {
    problem.validate()?;
    let caps = caps.for_plans()?;
    Ok((RowShape::new(problem, vector_width, &caps)?, caps))
}

/// How one kernel runs. Equal plans are equal shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The kernel.
    pub kernel: Kernel,
    /// What it is for.
    pub operation: Operation,
    /// Values in a row; in `backward_channel_sums`, of a channel of it.
    pub cols: u32,
    /// Layer norm, RMS norm or L2.
    pub normalization: Normalization,
    /// Which of gain and bias there are.
    pub affine: Affine,
    /// What is applied to each value after them.
    pub activation: Activation,
    /// How channels lie in rows, where gain and bias have a value for each.
    pub channels: Option<Channels>,
    /// How tensors lie in their buffers, see [`Plan::storage`].
    pub storages: Storages,
    /// Neighboring elements that a thread reads or writes at once: 1, 2, 4, 8 or 16.
    pub vector_width: u32,
    /// Threads that share a row, a power of two. In `backward_reduce_parameters`: threads side by side over
    /// columns.
    pub threads_per_row: u32,
    /// Rows of a workgroup at a time. In `backward_reduce_parameters`: slices that the partial sums are dealt
    /// to; in `backward_channel_sums`: channels of its row.
    pub rows_per_workgroup: u32,
    /// Accesses that a thread makes to walk a row, or its chunk of one, once.
    pub steps: u32,
    /// Chunks of columns that a row is dealt to, each to another workgroup: 1 but in the split kernels.
    pub chunks: u32,
    /// Columns that each of a row's partial moments or sums stands for; 0 but in the split kernels. See
    /// [`Plan::row_partials`].
    pub partial_cols: u32,
    /// How the threads of a row add up.
    pub reduction: Reduction,
    /// Rows that the streamed kernels, and `backward_split_sums`, work on at a time; 1 elsewhere.
    pub block_rows: u32,
    /// Whether gain and bias stay in registers while a slot walks its rows.
    pub hold_parameters: bool,
    /// Whether loops over steps, runs and parts are written out in the text, for compilers that do not
    /// [unroll](Caps::unrolls_loops) them.
    pub unroll: bool,
    /// Whether of the loops that are written out those which run once a slot stay loops over short runs: to
    /// the compiler of a software adapter an access to memory costs as much time there as in a loop over
    /// rows.
    pub short: bool,
    /// Whether what float16 cannot hold is branched to, as suits a GPU: a software adapter runs both sides of
    /// a branch for all lanes. (For bfloat16 there is one value less to tell apart, and it made no difference
    /// there.)
    pub branch: bool,
    /// Whether the slots of a workgroup leave one partial sum of the parameter gradients, and not one each;
    /// in `backward_reduce_parameters`, whether there are slices to add up.
    pub combine_slots: bool,
    /// With more rows than this, slots get more rows each before there are more slots, see [`Plan::slots`].
    pub least_slots: u32,
    /// The rows of a slot from which on there are more slots instead.
    pub rows_per_slot: u32,
    /// The most partial sums of the parameter gradients that a dispatch leaves, or reads.
    pub max_partial_rows: u32,
    /// Gradients that a partial sum is of: of dgain, dbias and dgate, in this order, those that are wanted of
    /// the call. Those of the operation, but where two reductions share the partial sums.
    pub partial_gradients: u32,
    /// Which inputs are bound as outputs are; see [`Plan::with_pooled`].
    pub pooled: Pooled,
    /// How rows and columns may lie, see [`Plan::with_strides`].
    pub strides: Strides,
}

impl Plan {
    /// Partial sums that a thread of `backward_reduce_parameters` loads at a time.
    pub(crate) const REDUCE_BATCH: u32 = 4;

    /// Rows of a slot that are added up plainly where it [sums blocks](Plan::sums_blocks): of equal terms
    /// they are off by up to two units, and four such blocks by one more (docs/numerics.md).
    pub(crate) const SUMMED_ROWS: u32 = 8;

    /// The widest `vector_width` that rows of `dtype` and `cols` can have: 16 bytes, if cols is a multiple.
    #[must_use]
    pub const fn max_vector_width(dtype: Dtype, cols: u32) -> u32 {
        largest_common_power_of_two(16 / dtype.size(), cols as u64)
    }

    /// The plan of a forward call whose rows allow accesses of `vector_width` elements (see
    /// [`Span::vector_width`]). Where statistics are given, a row is shared by several workgroups.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem, the width or the caps are; [`Error::Unsupported`] where no
    /// kernel fits the adapter's limits.
    pub fn forward(
        problem: &Problem,
        forward: Forward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        Operation::Forward(forward).check_problem(problem)?;
        if forward.given_statistics {
            let [_, apply] = Self::forward_split(problem, forward, vector_width, caps)?;
            return Ok(apply);
        }
        let (shape, caps) = &shaped(problem, vector_width, caps)?;
        // Of the trips that an adapter lets an invocation make, codes take less than half again.
        let trips = if forward.codes.is_some() { caps.max_loop_trips / 2 } else { caps.max_loop_trips };
        let rung = ladder::forward(shape, forward.residual, &Caps { max_loop_trips: trips, ..*caps })?;
        Self::with(problem, Operation::Forward(forward), shape, rung, caps)
    }

    /// The plan of a backward call whose rows allow accesses of `vector_width` elements.
    ///
    /// Where rows of the problem have several channels, [`Plan::channel_sums`] has dgain and dbias, and this
    /// one leaves them out. Where statistics were given to forward, this is the second of
    /// [`Plan::backward_split`], which wants the first where sums over rows are wanted.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is; [`Error::Unsupported`] where no kernel fits the adapter's
    /// limits.
    pub fn backward(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        Operation::Backward(backward).check_problem(problem)?;
        if backward.given_statistics {
            let [_, apply] = Self::backward_split(problem, backward, vector_width, caps)?;
            return Ok(apply);
        }
        let vector_width = backward::width(problem, &backward, vector_width, caps);
        let (shape, caps) = &shaped(problem, vector_width, caps)?;
        let backward = of_rows(problem, backward);
        let rung = backward::rung(shape, &backward, problem, caps)?;
        Self::with(&of_gain(problem, &backward), Operation::Backward(backward), shape, rung, caps)
    }

    /// The plans of a forward call whose rows are shared by several workgroups each, in the order of their
    /// dispatches. y is not written in codes there: [`Plan::forward`] has a kernel for it, however wide rows
    /// are.
    ///
    /// # Errors
    /// As [`Plan::forward`].
    pub fn forward_split(
        problem: &Problem,
        forward: Forward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<[Self; 2], Error> {
        Operation::Forward(forward).check_problem(problem)?;
        let (shape, caps) = &shaped(problem, vector_width, caps)?;
        if let Some(codes) = forward.codes {
            let needs = "y without codes: their unit needs all of a row";
            return Err(Error::unsupported("the output of split rows", format!("{codes} codes"), needs));
        }
        let [statistics, apply] = ladder::forward_split(shape, caps)?;
        let of_sum = match forward.gate {
            true => Problem { parameter_dtype: problem.parameter_dtype, ..problem.without_affine() },
            false => problem.without_affine(),
        };
        Ok([
            Self::in_chunks(
                &of_sum,
                Operation::Forward(forward.of_split_statistics()),
                shape,
                statistics,
                caps,
            )?,
            Self::in_chunks(problem, Operation::Forward(forward.of_split_apply()), shape, apply, caps)?,
        ])
    }

    /// The plans of a backward call whose rows are shared by several workgroups each, in the order of their
    /// dispatches; [`Plan::reduce_parameters`] comes after them where dgain or dbias is wanted. Not from y,
    /// and not with dgate: [`Plan::backward`] has a kernel for those, however wide rows are.
    ///
    /// Of channels, as [`Plan::backward`].
    ///
    /// # Errors
    /// As [`Plan::backward`].
    pub fn backward_split(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<[Self; 2], Error> {
        Operation::Backward(backward).check_problem(problem)?;
        let vector_width = backward::width(problem, &backward, vector_width, caps);
        let (shape, caps) = &shaped(problem, vector_width, caps)?;
        if !backward.splits_rows() {
            let takes = if backward.from_y { "y" } else { "a branch" };
            let needs = "x, and no branch: with those AMD's compiler spills registers";
            return Err(Error::unsupported("what backward of split rows reads", takes, needs));
        }
        let backward = of_rows(problem, backward);
        let [sums, apply] = ladder::backward_split(shape, caps)?;
        let of_sums = backward.of_split_sums();
        Ok([
            Self::in_chunks(&of_gain(problem, &of_sums), Operation::Backward(of_sums), shape, sums, caps)?,
            Self::in_chunks(&of_gain(problem, &backward), Operation::Backward(backward), shape, apply, caps)?,
        ])
    }

    /// The plan of a kernel that has whole rows.
    fn with(
        problem: &Problem,
        operation: Operation,
        shape: &RowShape,
        rung: Rung,
        caps: &Caps,
    ) -> Result<Self, Error> {
        let whole = ladder::Chunks::one(shape, rung.threads_per_row);
        Self::in_chunks(problem, operation, shape, (rung, whole), caps)
    }

    fn in_chunks(
        problem: &Problem,
        operation: Operation,
        shape: &RowShape,
        (rung, chunks): (Rung, ladder::Chunks),
        caps: &Caps,
    ) -> Result<Self, Error> {
        // Of channels, the next row has others.
        let rung = match problem.channels {
            Some(channels)
                if problem.affine.has_gain()
                    && !channels.shares_affine
                    && !deals_heads(Some(channels), &operation, rung.kernel)
                    && !deals_samples(Some(channels), &operation, problem.affine, &rung) =>
            {
                Rung { hold_parameters: false, block_rows: 1, ..rung }
            }
            _ => rung,
        };
        let used = operation.used(rung.kernel, problem.affine, problem.activation);
        let has_partials = used.iter().any(|used| used.tensor == Tensor::RowPartials);
        let storage = |dtype| Storage::of(dtype, shape.vector_width, caps.shader_f16);
        let plan = Self {
            kernel: rung.kernel,
            operation,
            cols: shape.cols,
            normalization: problem.normalization,
            affine: problem.affine,
            activation: problem.activation,
            channels: problem.channels,
            storages: Storages::new(|stored| storage(stored.dtype(problem))),
            vector_width: shape.vector_width,
            threads_per_row: rung.threads_per_row,
            rows_per_workgroup: rung.rows_per_workgroup,
            steps: chunks.steps,
            chunks: chunks.count,
            partial_cols: if has_partials { chunks.partial_cols } else { 0 },
            reduction: rung.reduction,
            block_rows: rung.block_rows,
            hold_parameters: rung.hold_parameters,
            unroll: caps.kind == AdapterKind::Software || !caps.unrolls_loops,
            short: caps.kind == AdapterKind::Software && caps.short_texts,
            branch: caps.kind == AdapterKind::Gpu && Stored::narrowest(problem) == Dtype::F16,
            combine_slots: rung.rows_per_workgroup > 1
                && match operation {
                    Operation::Forward(_) => false,
                    Operation::Backward(backward) => {
                        let by_row = problem.channels.is_some_and(Channels::is_one_a_row);
                        backward.has_parameters() && !by_row && combines_slots(rung.kernel, caps.kind)
                    }
                    Operation::ReduceParameters(_) => true,
                },
            least_slots: rung.least_slots,
            rows_per_slot: rung.rows_per_slot,
            max_partial_rows: ladder::max_partial_rows(
                if deals_heads(problem.channels, &operation, rung.kernel) {
                    problem.gates()
                } else {
                    problem.parameters()
                },
                operation.parameter_gradients(),
                caps,
            ),
            partial_gradients: operation.parameter_gradients(),
            pooled: Pooled::Nothing,
            strides: if shape.across { Strides::Across } else { Strides::Dense },
        };
        for used in plan.used() {
            if plan.storage(used.tensor) != plan.storage(used.bound) {
                let field = format!("storage of {}, which lies in {}", used.tensor.name(), used.bound.name());
                let (has, needs) = (plan.storage(used.tensor).name(), plan.storage(used.bound).name());
                return Err(Error::invalid(field, has, needs));
            }
        }
        // Without partial sums a slot walks no more rows than this, so that its loops end before the adapter
        // ends them.
        let most_rows = u64::from(caps.max_loop_trips) / plan.loop_trips_per_row().max(1);
        let most_rows = u32::try_from(most_rows).unwrap_or(u32::MAX) / plan.block_rows * plan.block_rows;
        // Where each slot leaves a partial sum, fewer of the widest rows' fit the scratch than a workgroup
        // has slots.
        let leaves_sums = plan.writes(Tensor::Partials) && plan.has_slot_sums();
        let most_slots = match leaves_sums && !plan.combine_slots {
            true => 1 << plan.max_partial_rows.ilog2(),
            false => u32::MAX,
        };
        let rows_per_workgroup = plan.rows_per_workgroup.min(most_slots);
        let most_blocks = match plan.kernel {
            Kernel::BackwardStreamed if leaves_sums => ladder::MOST_STREAMED_BLOCKS * plan.block_rows,
            Kernel::BackwardCached if plan.sums_blocks() => ladder::MOST_STREAMED_BLOCKS * Self::SUMMED_ROWS,
            _ => u32::MAX,
        };
        let most_rows = most_rows.min(most_blocks);
        let rows_per_slot = plan.rows_per_slot.min(most_rows).max(1);
        let plan = Self { rows_per_workgroup, rows_per_slot, ..plan };
        plan.check(caps)?;
        Ok(plan)
    }
}
