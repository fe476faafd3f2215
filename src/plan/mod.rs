//! From a [`Problem`] and the [`Caps`] of an adapter to a [`Plan`]: which kernel runs, and how its threads lie on the
//! rows. Pure arithmetic, no GPU.
//!
//! A plan depends on `cols`, dtypes, options and alignment, never on the number of rows: a row's result is the same
//! whatever comes with it. Rows only decide how often the plan is dispatched ([`Plan::dispatches`]), and in backward
//! how many partial sums of the parameter gradients there are ([`Dispatch::partial_rows`]).

mod caps;
mod dispatch;
mod label;
mod ladder;
mod launch;
mod pooled;
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "adapters name themselves to wgpu"))]
pub(crate) mod quirks;
mod reduction;
mod shape;
mod tensor;
mod text_key;
mod traffic;
mod tuning;
mod uniform;
mod validate;

pub use crate::op::{Backward, Forward, Kernel, Operation, Role, Shape, Stored, Tensor, Used, Uses};
pub use caps::{AdapterKind, Caps, SubgroupSizes};
pub use dispatch::{Dispatch, Span};
pub use ladder::Rung;
pub use launch::{Formula, Launch};
pub use pooled::Pooled;
pub use reduction::Reduction;
pub(crate) use shape::{RowShape, WIDE, largest_common_power_of_two};
pub use tensor::{Storage, Storages};
pub use traffic::Traffic;
pub use tuning::{TunedAdapter, Tuning, TuningEntry, TuningKey};
pub use uniform::{Place, Uniform};

use crate::error::Error;
use crate::types::{Affine, Dtype, Normalization, Problem};

/// Whether several workgroups may share a row, in a call of two dispatches: for rows so few and wide that rows alone leave
/// most of an adapter idle.
///
/// A row that is split is summed in another order than one that is not, so that the last bits of y, the statistics and dx
/// may differ between the two, within the same tolerances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowSplit {
    /// Never.
    #[default]
    Never,
    /// Always. It pays where rows are too wide for registers and there are no more than
    /// [`RowSplit::most_rows`].
    Always,
}

impl RowSplit {
    /// The most rows with which it pays to split them on such an adapter: with more, each core has rows
    /// enough of its own.
    #[must_use]
    pub const fn most_rows(kind: AdapterKind) -> u64 {
        ladder::split_most_rows(kind)
    }
}

/// How one kernel runs. Equal plans are equal shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The kernel.
    pub kernel: Kernel,
    /// What it is for.
    pub operation: Operation,
    /// Values in a row.
    pub cols: u32,
    /// Layer norm or RMS norm.
    pub normalization: Normalization,
    /// Which of gain and bias there are.
    pub affine: Affine,
    /// How tensors lie in their buffers, see [`Plan::storage`].
    pub storages: Storages,
    /// Neighbouring elements that a thread reads or writes at once: 1, 2, 4, 8 or 16.
    pub vector_width: u32,
    /// Threads that share a row, a power of two. In `backward_reduce_parameters`: threads side by side over columns.
    pub threads_per_row: u32,
    /// Rows of a workgroup at a time. In `backward_reduce_parameters`: slices that the partial sums are dealt to.
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
    /// Whether of the loops that are written out those which run once a slot stay loops over short runs: to the compiler of a
    /// software adapter an access to memory costs as much time there as in a loop over rows.
    pub short: bool,
    /// Whether what float16 cannot hold is branched to, as suits a GPU: a software adapter runs both sides of a branch for all
    /// lanes. (For bfloat16 there is one value less to tell apart, and it made no difference there.)
    pub branch: bool,
    /// Whether the slots of a workgroup leave one partial sum of the parameter gradients, and not one each; in
    /// `backward_reduce_parameters`, whether there are slices to add up.
    pub combine_slots: bool,
    /// With more rows than this, slots get more rows each before there are more slots, see [`Plan::slots`].
    pub least_slots: u32,
    /// The rows of a slot from which on there are more slots instead.
    pub rows_per_slot: u32,
    /// The most partial sums of the parameter gradients that a dispatch leaves.
    pub max_partial_rows: u32,
    /// Which inputs are bound as outputs are; see [`Plan::with_pooled`].
    pub pooled: Pooled,
}

/// Four float32.
const ROW_PARTIAL_BYTES: u64 = 16;
/// Of a thread's part of a slot's partial sum in workgroup memory: four float32.
const SLOT_SUM_BYTES: u32 = 16;

impl Plan {
    /// Partial sums that a thread of `backward_reduce_parameters` loads at a time.
    pub(crate) const REDUCE_BATCH: u32 = 4;

    /// The widest `vector_width` that rows of `dtype` and `cols` can have: 16 bytes, if cols is a multiple.
    #[must_use]
    pub const fn max_vector_width(dtype: Dtype, cols: u32) -> u32 {
        largest_common_power_of_two(16 / dtype.size(), cols as u64)
    }

    /// The plan of a forward call whose rows allow accesses of `vector_width` elements (see [`Span::vector_width`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem, the width or the caps are; [`Error::Unsupported`] where no kernel fits the adapter's limits.
    pub fn forward(
        problem: &Problem,
        forward: Forward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let shape = RowShape::new(problem, vector_width, caps)?;
        let rung = ladder::forward(&shape, caps)?;
        Self::with(problem, Operation::Forward(forward), &shape, rung, caps)
    }

    /// The plan of a backward call whose rows allow accesses of `vector_width` elements.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is; [`Error::Unsupported`] where no kernel fits the adapter's limits.
    pub fn backward(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let shape = RowShape::new(problem, vector_width, caps)?;
        let rung = ladder::backward(&shape, backward.has_parameters(), caps)?;
        Self::with(problem, Operation::Backward(backward), &shape, rung, caps)
    }

    /// The plans of a forward call whose rows are shared by several workgroups each, in the order of their dispatches.
    ///
    /// # Errors
    /// As [`Plan::forward`].
    pub fn forward_split(
        problem: &Problem,
        forward: Forward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<[Self; 2], Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let shape = RowShape::new(problem, vector_width, caps)?;
        let [statistics, apply] = ladder::forward_split(&shape, caps)?;
        let in_sum = |input: Option<Tensor>| input.filter(|output| *output == Tensor::Sum);
        // It binds no y: an input that lies there is read where it is.
        let of_statistics = Forward {
            residual: forward.residual,
            without_sum: forward.without_sum,
            without_y: false,
            statistics: false,
            x_in: in_sum(forward.x_in),
            residual_in: in_sum(forward.residual_in),
        };
        let without_affine = Problem { affine: Affine::None, parameter_dtype: problem.dtype, ..*problem };
        // With a residual its input is the stored sum, whatever lies in y.
        let of_apply = match forward.stores_sum() {
            true => Forward { x_in: None, residual_in: None, ..forward },
            false => forward,
        };
        Ok([
            Self::in_chunks(&without_affine, Operation::Forward(of_statistics), &shape, statistics, caps)?,
            Self::in_chunks(problem, Operation::Forward(of_apply), &shape, apply, caps)?,
        ])
    }

    /// The plans of a backward call whose rows are shared by several workgroups each, in the order of their dispatches;
    /// [`Plan::reduce_parameters`] comes after them where dgain or dbias is wanted.
    ///
    /// # Errors
    /// As [`Plan::backward`].
    pub fn backward_split(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<[Self; 2], Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let shape = RowShape::new(problem, vector_width, caps)?;
        let [sums, apply] = ladder::backward_split(&shape, caps)?;
        // It writes no gradient: x and dy are read where they are. Each option is named, so that a new one has to be decided.
        let of_sums =
            Backward { dx: None, dsum: false, dgain: None, dbias: None, x_in_dx: false, dy_in_dx: false };
        Ok([
            Self::in_chunks(problem, Operation::Backward(of_sums), &shape, sums, caps)?,
            Self::in_chunks(problem, Operation::Backward(backward), &shape, apply, caps)?,
        ])
    }

    /// The plan that sums the partial sums which [`Plan::backward`] leaves.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is; [`Error::Unsupported`] where no kernel fits the adapter's limits.
    pub fn reduce_parameters(
        problem: &Problem,
        backward: Backward,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let parameters = Stored::all(problem, problem.parameter_dtype);
        let shape = RowShape::new(&parameters, vector_width, caps)?;
        // Of partial sums a thread reads a vec4 at a time, whatever the storage of dgain and dbias.
        let shape = RowShape { vector_width: shape.vector_width.min(4), wide: false, ..shape };
        let rung = ladder::reduce_parameters(&shape, caps);
        Self::with(&parameters, Operation::ReduceParameters(backward), &shape, rung, caps)
    }

    /// The plan of a forward or backward call that runs as `rung` says, and not as the ladder does. What holds of plans holds
    /// of this one too.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is, or where no kernel could run so on any device; [`Error::Unsupported`] where a
    /// limit of the adapter is exceeded.
    pub fn with_rung(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        rung: Rung,
        caps: &Caps,
    ) -> Result<Self, Error> {
        problem.validate()?;
        let caps = &caps.for_plans()?;
        let shape = RowShape::new(problem, vector_width, caps)?;
        rung.validate(&shape, operation.name())?;
        Self::with(problem, operation, &shape, rung, caps)
    }

    /// The rungs that are worth measuring for a forward or backward call, that of the ladder first: see
    /// [`Plan::with_rung`], which makes another legal plan of each.
    ///
    /// # Errors
    /// Those of [`Plan::forward`] and [`Plan::backward`].
    pub fn candidates(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Vec<Rung>, Error> {
        ladder::candidates(problem, operation, vector_width, caps)
    }

    /// What of the plan is not decided by problem, operation and caps.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        Rung {
            kernel: self.kernel,
            threads_per_row: self.threads_per_row,
            rows_per_workgroup: self.rows_per_workgroup,
            reduction: self.reduction,
            block_rows: self.block_rows,
            hold_parameters: self.hold_parameters,
            least_slots: self.least_slots,
            rows_per_slot: self.rows_per_slot,
        }
    }

    /// The plan of any operation as the ladder makes it.
    pub(crate) fn by_ladder(
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Self, Error> {
        match operation {
            Operation::Forward(forward) => Self::forward(problem, forward, vector_width, caps),
            Operation::Backward(backward) => Self::backward(problem, backward, vector_width, caps),
            Operation::ReduceParameters(backward) => {
                Self::reduce_parameters(problem, backward, vector_width, caps)
            }
        }
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
        let storage = |dtype| Storage::of(dtype, shape.vector_width, caps.shader_f16);
        let plan = Self {
            kernel: rung.kernel,
            operation,
            cols: problem.cols,
            normalization: problem.normalization,
            affine: problem.affine,
            storages: Storages::new(|stored| storage(stored.dtype(problem))),
            vector_width: shape.vector_width,
            threads_per_row: rung.threads_per_row,
            rows_per_workgroup: rung.rows_per_workgroup,
            steps: chunks.steps,
            chunks: chunks.count,
            partial_cols: chunks.partial_cols,
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
                        backward.has_parameters() && combines_slots(rung.kernel, caps.kind)
                    }
                    Operation::ReduceParameters(_) => true,
                },
            least_slots: rung.least_slots,
            rows_per_slot: rung.rows_per_slot,
            max_partial_rows: ladder::max_partial_rows(problem.cols, caps),
            pooled: Pooled::Nothing,
        };
        for used in plan.used() {
            if plan.storage(used.tensor) != plan.storage(used.bound) {
                let field = format!("storage of {}, which lies in {}", used.tensor.name(), used.bound.name());
                let (has, needs) = (plan.storage(used.tensor).name(), plan.storage(used.bound).name());
                return Err(Error::invalid(field, has, needs));
            }
        }
        // Without partial sums a slot walks no more rows than this, so that its loops end before the adapter ends them.
        let most_rows = u64::from(caps.max_loop_trips) / plan.loop_trips_per_row().max(1);
        let most_rows = u32::try_from(most_rows).unwrap_or(u32::MAX) / plan.block_rows * plan.block_rows;
        // Where each slot leaves a partial sum, fewer of the widest rows' fit the scratch than a workgroup has slots.
        let most_slots = match plan.writes(Tensor::Partials) && !plan.combine_slots {
            true => 1 << plan.max_partial_rows.ilog2(),
            false => u32::MAX,
        };
        let rows_per_workgroup = plan.rows_per_workgroup.min(most_slots);
        let most_blocks = match plan.kernel {
            Kernel::BackwardStreamed if plan.parameter_gradients() > 0 => ladder::MOST_STREAMED_BLOCKS,
            _ => u32::MAX,
        };
        let most_rows = most_rows.min(most_blocks.saturating_mul(plan.block_rows));
        let rows_per_slot = plan.rows_per_slot.min(most_rows).max(1);
        let plan = Self { rows_per_workgroup, rows_per_slot, ..plan };
        plan.check(caps)?;
        log::debug!("{plan:?}");
        Ok(plan)
    }

    /// Whether the plan keeps every limit of an adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first limit that is exceeded; those of [`Plan::validate`] and [`Caps::validate`].
    pub fn check(&self, caps: &Caps) -> Result<(), Error> {
        self.validate()?;
        caps.validate()?;
        let at_most = |what: &str, has: u64, needs: u64| {
            if needs <= has {
                Ok(())
            } else {
                Err(Error::unsupported(what, has, format!("at least {needs}")))
            }
        };
        at_most("invocations per workgroup", caps.max_invocations.into(), self.workgroup_size().into())?;
        at_most("workgroup memory in bytes", caps.max_workgroup_bytes.into(), self.workgroup_bytes().into())?;
        at_most(
            "storage buffers per shader stage",
            caps.max_storage_buffers.into(),
            self.tensors().len() as u64,
        )?;
        let trips = self.loop_trips_per_row() * u64::from(self.block_rows);
        at_most("loop trips per invocation", caps.max_loop_trips.into(), trips)?;
        at_most(
            "workgroups of a dispatch, for one row,",
            dispatch::most_workgroups(caps),
            self.chunks.into(),
        )?;
        if matches!(self.operation, Operation::Backward(_)) && self.parameter_gradients() > 0 {
            let bytes = self.partials_bytes(self.partial_rows(self.most_slots()));
            at_most(
                "bytes of a storage binding, for the partial sums of dgain and dbias,",
                caps.max_binding_bytes,
                bytes,
            )?;
        }
        if self.uses_native_f16() && !caps.shader_f16 {
            return Err(Error::unsupported("feature shader-f16", "missing", "it"));
        }
        if self.uses_int64() && !caps.shader_int64 {
            return Err(Error::unsupported("feature SHADER_INT64", "missing", "it"));
        }
        match (self.reduction, caps.subgroup) {
            (Reduction::Workgroup, _) => Ok(()),
            // In `backward_reduce_parameters` the threads lie side by side over columns, and slots add up over slices.
            (Reduction::Thread, _)
                if self.threads_per_row == 1 || self.kernel == Kernel::BackwardReduceParameters =>
            {
                Ok(())
            }
            (Reduction::Lanes, Some(sizes)) if caps.full_subgroups && self.threads_per_row <= sizes.min => {
                Ok(())
            }
            (Reduction::Adaptive, Some(_)) => Ok(()),
            (Reduction::Subgroup, Some(sizes))
                if caps.full_subgroups
                    && sizes.min == sizes.max
                    && self.threads_per_row == sizes.min
                    && self.rows_per_workgroup == 1 =>
            {
                Ok(())
            }
            (Reduction::Subgroups(min), Some(sizes))
                if min <= (if caps.full_subgroups { sizes.min } else { SubgroupSizes::LEAST })
                    && self.threads_per_row >= sizes.max
                    && self.rows_per_workgroup == 1 =>
            {
                Ok(())
            }
            (reduction, sizes) => Err(Error::unsupported(
                "subgroup size",
                sizes.map_or("none".to_owned(), |sizes| format!("{} to {}", sizes.min, sizes.max)),
                format!("one that suits {reduction:?} over {} threads", self.threads_per_row),
            )),
        }
    }

    /// Invocations of a workgroup.
    #[must_use]
    pub const fn workgroup_size(&self) -> u32 {
        self.threads_per_row.saturating_mul(self.rows_per_workgroup)
    }

    /// vec4s that one access moves: 2 for 16 bytes of a 16-bit type or 32 of float32, 4 for 32 bytes of a 16-bit type, else 1.
    #[must_use]
    pub const fn parts(&self) -> u32 {
        shape::parts(self.vector_width)
    }

    /// Columns that the threads of a row cover in one step.
    #[must_use]
    pub const fn step_cols(&self) -> u32 {
        self.threads_per_row.saturating_mul(self.parts() * 4)
    }

    /// Partial moments or sums that a row has in scratch; 0 but in the split kernels.
    #[must_use]
    pub const fn row_partials(&self) -> u32 {
        match self.partial_cols {
            0 => 0,
            cols => self.cols.div_ceil(cols),
        }
    }

    /// float32 values of a row that a thread holds or walks.
    #[must_use]
    pub const fn values_per_thread(&self) -> u32 {
        self.steps.saturating_mul(self.parts() * 4)
    }

    /// Whether the shader needs `enable f16;`.
    #[must_use]
    pub fn uses_native_f16(&self) -> bool {
        self.storages.any(&[Storage::NativeF16])
    }

    /// Whether the shader accesses memory in words of 64 bits, see [`Caps::shader_int64`].
    #[must_use]
    pub fn uses_int64(&self) -> bool {
        self.storages.is_one()
            && matches!((self.storages[Stored::AsRows], self.vector_width), (Storage::F32, 8) | (_, 16))
    }

    /// Whether the shader uses subgroup operations.
    #[must_use]
    pub const fn uses_subgroups(&self) -> bool {
        matches!(
            self.reduction,
            Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroup | Reduction::Subgroups(_)
        )
    }

    /// Bytes of workgroup memory.
    #[must_use]
    pub const fn workgroup_bytes(&self) -> u32 {
        let sums = self.kernel.sums_bytes();
        let reduction = self.reduction.workgroup_bytes(self.workgroup_size(), sums);
        let slots = if self.combine_slots { self.workgroup_size().saturating_mul(SLOT_SUM_BYTES) } else { 0 };
        reduction.saturating_add(slots)
    }

    /// Steps of a run: what the streamed kernels, and the first of the split ones, hold of a row at a time.
    #[must_use]
    pub const fn run_steps(&self) -> u32 {
        let vec4 = match self.operation {
            Operation::Forward(_) => ladder::RUN_VEC4,
            _ => ladder::BACKWARD_VEC4,
        };
        vec4 / self.parts()
    }

    /// The most loop trips that one row costs an invocation, if the compiler unrolls nothing.
    #[must_use]
    pub fn loop_trips_per_row(&self) -> u64 {
        let steps = u64::from(self.steps);
        let trips = steps * (1 + u64::from(self.parts()));
        let runs = steps.div_ceil(self.run_steps().into());
        // The partial sums of all subgroups, or the levels of the tree, per reduction.
        let reduction = match self.reduction {
            Reduction::Thread | Reduction::Subgroup => 0,
            Reduction::Lanes | Reduction::Workgroup => u64::from(self.threads_per_row.max(2).ilog2()),
            Reduction::Adaptive => u64::from(self.threads_per_row),
            Reduction::Subgroups(min) => u64::from(self.threads_per_row.div_ceil(min.max(1))),
        };
        let row_partials = u64::from(self.row_partials().div_ceil(self.threads_per_row.max(1)));
        // Levels of the tree over the slots of a workgroup.
        let slots = if self.combine_slots { u64::from(self.rows_per_workgroup.max(1).ilog2()) } else { 0 };
        match self.kernel {
            Kernel::ForwardCached => 1 + 6 * trips + 2 * reduction,
            // Two walks for the moments, one of them scaled, each with two loops over a run, and four components.
            Kernel::ForwardStreamed | Kernel::ForwardSplitStatistics => {
                8 + 5 * trips + steps + 2 * runs + 3 * reduction
            }
            // The partial moments up to three times, once a scale, in two loops each.
            Kernel::ForwardSplitApply => 4 + 6 * trips + 6 * row_partials + 3 * reduction,
            // Two more walks where a row is large. Their loops over parts do not count: adapters with a limit
            // get texts in which those are written out.
            Kernel::BackwardCached => 1 + 7 * trips + 2 * steps + 2 * reduction + 2 * trips * slots,
            // Two walks in whole runs, each with a loop for what serves a block, and the update of the
            // partial sums; and two of large rows.
            Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
                let run_steps = runs * u64::from(self.run_steps());
                let whole_runs = 2 * run_steps * (1 + u64::from(self.parts())) + 3 * run_steps + 4 * runs;
                6 + whole_runs + 2 * steps + 2 * reduction
            }
            Kernel::BackwardSplitApply => 1 + 7 * trips + steps + row_partials + 2 * reduction,
            Kernel::BackwardReduceParameters => {
                let batch = u64::from(Self::REDUCE_BATCH);
                let batches = u64::from(self.max_partial_rows)
                    .div_ceil(u64::from(self.rows_per_workgroup.max(1)) * batch);
                batches * (1 + batch * (2 + 2 * u64::from(self.parts())))
                    + 2 * u64::from(self.parts()) * (1 + slots)
            }
        }
    }

    /// Rows of dgain and dbias that each workgroup leaves as partial sums: dgain, dbias or both.
    #[must_use]
    pub const fn parameter_gradients(&self) -> u32 {
        match self.operation {
            Operation::Forward(_) => 0,
            Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
                backward.dgain.is_some() as u32 + backward.dbias.is_some() as u32
            }
        }
    }

    /// Rows that a dispatch of `rows` rows works on side by side, a multiple of `rows_per_workgroup`. Each workgroup has some
    /// rows.
    #[must_use]
    pub fn slots(&self, rows: u64) -> u32 {
        let workgroup_rows = u64::from(self.rows_per_workgroup.max(1)) * u64::from(self.slot_rows(rows));
        u32::try_from(rows.div_ceil(workgroup_rows))
            .unwrap_or(u32::MAX)
            .saturating_mul(self.rows_per_workgroup)
    }

    /// Rows that a slot walks of a dispatch of `rows` rows, one below the other, a multiple of `block_rows`. They are several
    /// where it gains from that: where it leaves partial sums of the parameter gradients, or keeps gain and bias in
    /// registers.
    #[must_use]
    pub fn slot_rows(&self, rows: u64) -> u32 {
        let wanted = (rows / u64::from(self.least_slots.max(1))).clamp(1, self.rows_per_slot.max(1).into());
        let least = rows.div_ceil(self.most_slots().into());
        let blocks = wanted.max(least).div_ceil(self.block_rows.max(1).into());
        let slot_rows = blocks.saturating_mul(self.block_rows.max(1).into());
        u32::try_from(slot_rows).unwrap_or(u32::MAX)
    }

    /// The most slots of a dispatch, a multiple of `rows_per_workgroup`, by the partial sums that they leave.
    fn most_slots(&self) -> u32 {
        let rows_per_workgroup = self.rows_per_workgroup.max(1);
        let most_workgroups = match (self.parameter_gradients(), self.combine_slots) {
            (0, _) => u32::MAX / rows_per_workgroup,
            (_, false) => (self.max_partial_rows / rows_per_workgroup).max(1),
            (_, true) => self.max_partial_rows.max(1),
        };
        most_workgroups.saturating_mul(rows_per_workgroup)
    }

    /// The partial sums of the parameter gradients that `slots` slots leave: whole workgroups of them.
    pub(crate) const fn partial_rows(&self, slots: u32) -> u32 {
        match (self.parameter_gradients(), self.combine_slots) {
            (0, _) => 0,
            (_, false) => slots,
            (_, true) => match self.rows_per_workgroup {
                0 => 0,
                rows_per_workgroup => slots / rows_per_workgroup,
            },
        }
    }

    /// The most partial sums of the parameter gradients that a dispatch of at most `rows` rows leaves. Fewer
    /// rows may leave more of them: slots get more rows each before there are more slots.
    #[must_use]
    pub fn most_partial_rows(&self, rows: u64) -> u32 {
        // With s rows to a slot there are rows / s slots, and s is the multiple of `block_rows` from rows /
        // least_slots on, but never more than `rows_per_slot`. It lags behind the rows by less than one:
        // there are (b + 1) / b times `least_slots` slots at most, b the least s, until s stays and slots
        // grow with the rows.
        let (block, least) = (u64::from(self.block_rows), u64::from(self.least_slots));
        let few = rows.div_ceil(block).min((least * (block + 1)).div_ceil(block));
        let slots = few.max(rows.div_ceil(u64::from(self.rows_per_slot).next_multiple_of(block)));
        let slots = u32::try_from(slots.next_multiple_of(self.rows_per_workgroup.into())).unwrap_or(u32::MAX);
        self.partial_rows(slots.min(self.most_slots()))
    }

    /// Bytes of scratch that a call of at most `rows` rows a dispatch needs for the partial sums of its
    /// dispatches.
    #[must_use]
    pub fn most_scratch_bytes(&self, rows: u64) -> u64 {
        self.partials_bytes(self.most_partial_rows(rows))
    }

    /// Bytes of scratch that a call needs for the partial sums of its dispatches.
    #[must_use]
    pub fn scratch_bytes(&self, dispatches: &[Dispatch]) -> u64 {
        let partial_rows = dispatches.iter().map(|dispatch| dispatch.partial_rows).max().unwrap_or(0);
        self.partials_bytes(partial_rows)
    }

    /// Bytes of scratch that the two split kernels of a call need for the partial moments or sums of its rows.
    #[must_use]
    pub const fn row_partials_bytes(&self, rows: u64) -> u64 {
        rows.saturating_mul(self.row_partials() as u64 * ROW_PARTIAL_BYTES)
    }

    fn partials_bytes(&self, partial_rows: u32) -> u64 {
        (u64::from(partial_rows) * u64::from(self.cols))
            .saturating_mul(4 * u64::from(self.parameter_gradients()))
    }
}

/// Whether the slots of a workgroup put their partial sums together where there are several. The streamed kernel updates its own
/// in memory, and on a CPU barriers cost more than the partial sums do.
const fn combines_slots(kernel: Kernel, kind: AdapterKind) -> bool {
    matches!((kernel, kind), (Kernel::BackwardCached, AdapterKind::Gpu))
}
