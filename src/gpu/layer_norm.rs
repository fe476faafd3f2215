//! The recording API: plans, pipelines and bind groups over the caller's device and buffers.

use super::buffers::{BackwardBuffers, ForwardBuffers};
use super::call::Call;
use super::cuts::{Layout, Stage, check_windows};
use super::kernels::Kernels;
use super::prepared::Prepared;
use crate::error::Error;
use crate::plan::{Caps, Operation, Plan, RowSplit, Strides};
use crate::types::{Activation, Affine, Channels, Dtype, Normalization, Problem};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What a [`LayerNorm`] computes. `cols` must be set; the rest has defaults. Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct LayerNormDescriptor<'a> {
    /// Names bind groups and passes in graphics debuggers, and in errors the normalization.
    pub label: Option<&'a str>,
    /// Values in a row, 1 to [`Problem::MAX_COLS`].
    #[doc(alias = "normalized_shape", alias = "hidden_size")]
    pub cols: u32,
    /// Storage of x, dx and dsum. Default: f32.
    pub dtype: Dtype,
    /// Storage of gain, bias, gate and their gradients, f32 or `dtype`. Default: `dtype`.
    pub parameter_dtype: Option<Dtype>,
    /// Storage of y and dy, as [`Problem::y_dtype`] may be. Default: `dtype`.
    pub y_dtype: Option<Dtype>,
    /// Storage of residual and sum, and of branch and dbranch, as [`Problem::residual_dtype`] may be.
    pub residual_dtype: Option<Dtype>,
    /// Default: layer norm.
    pub normalization: Normalization,
    /// Default: gain and bias, whatever the normalization. RMS norm with a gain alone is [`rms`](Self::rms),
    /// L2 with neither [`l2`](Self::l2).
    #[doc(alias = "elementwise_affine")]
    pub affine: Affine,
    /// What is applied to each value after gain and bias. Default: nothing.
    pub activation: Activation,
    /// How channels lie in rows, where gain and bias, or a gate, have a value for each channel. Default: they
    /// have one for each column.
    pub channels: Option<Channels>,
    /// Added to the variance before the root, or the least norm for L2; may be 0. Default: 1e-5, for L2 too
    /// where it is not made by [`l2`](Self::l2).
    #[doc(alias = "epsilon")]
    pub eps: f32,
    /// Which rows several workgroups share. Default: none.
    pub row_split: RowSplit,
}

impl Default for LayerNormDescriptor<'_> {
    fn default() -> Self {
        Self::of(&Problem::default())
    }
}

impl LayerNormDescriptor<'_> {
    /// Layer norm of `cols` columns in f32, with gain and bias.
    #[must_use]
    #[doc(alias = "layer_norm")]
    pub fn layer(cols: u32) -> Self {
        Self::of(&Problem::layer(cols))
    }

    /// RMS norm of `cols` columns in f32, with a gain alone, as models have it.
    #[must_use]
    #[doc(alias = "rms_norm", alias = "rmsnorm", alias = "RMSNorm")]
    pub fn rms(cols: u32) -> Self {
        Self::of(&Problem::rms(cols))
    }

    /// L2 normalization of rows of `cols` columns in f32, without gain and eps: each row divided by its
    /// Euclidean norm.
    #[must_use]
    #[doc(alias = "normalize", alias = "l2_normalize")]
    pub fn l2(cols: u32) -> Self {
        Self::of(&Problem::l2(cols))
    }

    /// Group norm, as [`Problem::group`] has it. `groups == channels` is instance norm, 1 group the norm of a
    /// whole sample.
    #[must_use]
    #[doc(alias = "group_norm", alias = "GroupNorm", alias = "instance_norm", alias = "InstanceNorm")]
    pub fn group(channels: u32, groups: u32, spatial: u32) -> Self {
        Self::of(&Problem::group(channels, groups, spatial))
    }

    /// Batch norm, as [`Problem::batch`] has it. Rows are channels: those of `[samples, channels, spatial]`
    /// lie `spatial` elements apart, with [outer columns](crate::BufferRows::with_inner_columns), one for
    /// each sample. [`ForwardBuffers::running`] keeps its statistics, and [`ForwardBuffers::mean`] takes
    /// them.
    #[must_use]
    #[doc(alias = "batch_norm", alias = "BatchNorm", alias = "BatchNormalization")]
    pub fn batch(channels: u32, samples: u32, spatial: u32) -> Self {
        Self::of(&Problem::batch(channels, samples, spatial))
    }

    /// That of a problem in f32.
    fn of(problem: &Problem) -> Self {
        Self {
            label: None,
            cols: problem.cols,
            dtype: problem.dtype,
            parameter_dtype: None,
            y_dtype: problem.y_dtype,
            residual_dtype: problem.residual_dtype,
            normalization: problem.normalization,
            affine: problem.affine,
            activation: problem.activation,
            channels: problem.channels,
            eps: problem.eps,
            row_split: RowSplit::default(),
        }
    }

    /// The problem that is described.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            cols: self.cols,
            dtype: self.dtype,
            parameter_dtype: self.parameter_dtype.unwrap_or(self.dtype),
            y_dtype: self.y_dtype,
            residual_dtype: self.residual_dtype,
            normalization: self.normalization,
            affine: self.affine,
            activation: self.activation,
            channels: self.channels,
            eps: self.eps,
        }
    }
}

/// A normalization on a device, for rows of one width. It holds no parameters and costs next to nothing:
/// layers may share one or have one each, since pipelines belong to the [`Kernels`].
#[derive(Debug)]
#[doc(alias = "RMSNorm", alias = "rms_norm", alias = "LayerNormalization")]
pub struct LayerNorm {
    kernels: Kernels,
    label: Option<Arc<str>>,
    problem: Problem,
    row_split: RowSplit,
    planned: RwLock<Planned>,
}

/// The plans of calls so far, by operation and vector width, as for tensors in buffers of their own.
type Planned = HashMap<(Operation, u32, bool), Arc<[Plan]>>;

impl LayerNorm {
    /// A normalization by `kernels`. Compiles nothing yet: the first
    /// [`prepare_forward`](Self::prepare_forward) or [`prepare_backward`](Self::prepare_backward) with a new
    /// set of options or a new alignment does.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a field of the descriptor is out of its range.
    pub fn new(kernels: &Kernels, descriptor: &LayerNormDescriptor<'_>) -> Result<Self, Error> {
        Self::of(kernels, descriptor.label, descriptor.problem(), descriptor.row_split)
    }

    /// The same by its problem.
    pub(super) fn of(
        kernels: &Kernels,
        label: Option<&str>,
        problem: Problem,
        row_split: RowSplit,
    ) -> Result<Self, Error> {
        problem.validate().map_err(|error| error.labeled(label))?;
        let (kernels, label) = (kernels.clone(), label.map(Arc::from));
        Ok(Self { kernels, label, problem, row_split, planned: RwLock::default() })
    }

    /// What is computed.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The kernels that it was made from.
    #[must_use]
    pub const fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// What plans are made from.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        self.kernels.caps()
    }

    /// The plans that [`prepare_forward`](Self::prepare_forward) runs for these buffers, in the order of
    /// their dispatches: one, or two where rows are split.
    ///
    /// # Errors
    /// Those of [`prepare_forward`](Self::prepare_forward), but for [`Error::Device`].
    pub fn plan_forward(&self, buffers: &ForwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.labeled(|| self.forward_plans(&Call::forward(&self.problem, buffers)?, buffers))
    }

    /// The plans that [`prepare_backward`](Self::prepare_backward) runs for these buffers, in the order of
    /// their dispatches: backward, or two where rows are split, and the sum of the parameter gradients if any
    /// are wanted. Where rows have several channels, the sums over those come first, and backward only where
    /// something else is wanted. Where mean and variance were given, rows are split, and the first of the two
    /// is left out if dx alone is wanted.
    ///
    /// # Errors
    /// Those of [`prepare_backward`](Self::prepare_backward), but for [`Error::Device`].
    pub fn plan_backward(&self, buffers: &BackwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.labeled(|| self.backward_plans(&Call::backward(&self.problem, buffers)?, buffers))
    }

    /// Bytes that [`ForwardBuffers::scratch`] must have for a call, wherever in a buffer they begin; 0 but
    /// where rows are split. Whatever is given as scratch there does not matter.
    ///
    /// # Errors
    /// Those of [`prepare_forward`](Self::prepare_forward), but for [`Error::Device`].
    pub fn forward_scratch_bytes(&self, buffers: &ForwardBuffers<'_>) -> Result<u64, Error> {
        self.labeled(|| {
            let call = Call::forward(&self.problem, buffers)?;
            let plans = self.forward_plans(&call, buffers)?;
            Ok(Layout::new(&call, plans.iter(), self.caps())?.own_scratch_bytes())
        })
    }

    /// Bytes that [`BackwardBuffers::scratch`] must have for a call, wherever in a buffer they begin; 0 where
    /// neither dgain nor dbias is wanted, but where rows are split, or `drow_gain` is wanted of rows whose
    /// mean and variance were given. Whatever is given as scratch there does not matter.
    ///
    /// # Errors
    /// Those of [`prepare_backward`](Self::prepare_backward), but for [`Error::Device`].
    pub fn backward_scratch_bytes(&self, buffers: &BackwardBuffers<'_>) -> Result<u64, Error> {
        self.labeled(|| {
            let call = Call::backward(&self.problem, buffers)?;
            let plans = self.backward_plans(&call, buffers)?;
            Ok(Layout::new(&call, plans.iter(), self.caps())?.own_scratch_bytes())
        })
    }

    /// Checks a forward call and makes it ready to be recorded. Compiles a pipeline if no call so far, of any
    /// normalization by these [`Kernels`], had the same text.
    ///
    /// # Errors
    /// - [`Error::MissingBuffer`], [`Error::UnusedBuffer`]: gain and bias do not match the affine, residual
    ///   and sum each other, or mean, variance and running statistics each other, the normalization or the
    ///   residual.
    /// - [`Error::Invalid`]: a row stride is below `cols`, or strides give two elements one place; outer rows
    ///   have no inner ones, or not as many in all tensors, and outer columns likewise, which also lie beside
    ///   no outer rows and in no group of several channels; rows are groups, and not those of whole samples;
    ///   a momentum is not 0 to 1, or running statistics are those of one column.
    /// - [`Error::BufferUsage`], [`Error::BufferTooSmall`]: a buffer cannot hold its tensor.
    /// - [`Error::Overlap`]: an output shares bytes with another tensor, but is not in place. In browsers two
    ///   tensors of a buffer also must not be bound by overlapping windows, which begin at a multiple of the
    ///   device's storage alignment, if one of them is written.
    /// - [`Error::Unsupported`]: the device lacks a limit.
    /// - [`Error::Device`]: wgpu failed to create a pipeline or buffer.
    pub fn prepare_forward(&self, buffers: &ForwardBuffers<'_>) -> Result<Prepared, Error> {
        self.labeled(|| {
            let call = Call::forward(&self.problem, buffers)?;
            let plans = self.forward_plans(&call, buffers)?;
            self.prepare(&call, &plans)
        })
    }

    /// Checks a backward call and makes it ready to be recorded. The partial sums of dgain and dbias lie in
    /// scratch that all calls of the device share, or in the caller's. Compiles pipelines as
    /// [`prepare_forward`](Self::prepare_forward) does.
    ///
    /// # Errors
    /// As [`prepare_forward`](Self::prepare_forward); also [`Error::MissingBuffer`] where no gradient is
    /// wanted, or dx and `drow_gain` without `row_gain`, [`Error::UnusedBuffer`] where dsum has no dx that is
    /// overwritten, [`Error::Overlap`] where dx accumulates over an input, and [`Error::Invalid`] for
    /// statistics that were given where the normalization has no mean, or gain and bias are those of columns.
    pub fn prepare_backward(&self, buffers: &BackwardBuffers<'_>) -> Result<Prepared, Error> {
        self.labeled(|| {
            let call = Call::backward(&self.problem, buffers)?;
            let plans = self.backward_plans(&call, buffers)?;
            self.prepare(&call, &plans)
        })
    }

    /// The label, if there is one, on what goes wrong.
    pub(super) fn labeled<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        work().map_err(|error| error.labeled(self.label.as_deref()))
    }

    /// The dispatches of all plans of a call, bound.
    fn prepare(&self, call: &Call<'_>, plans: &[Plan]) -> Result<Prepared, Error> {
        let layout = Layout::new(call, plans.iter(), self.caps())?;
        layout.check_own_scratch()?;
        let (mut stages, mut cuts) = (Vec::new(), Vec::new());
        for (number, plan) in plans.iter().enumerate() {
            if !layout.has_dispatches(number) {
                continue;
            }
            let compiled = self.kernels.shared().compiled(plan)?;
            let label = format!("{}/{}", self.label.as_deref().unwrap_or("layer_norm"), plan.kernel.name());
            let first = cuts.len();
            let of_plan = layout.cuts(number, stages.len(), plan, &call.numbers)?;
            if self.kernels.shared().is_browser {
                check_windows(plan, &of_plan)?;
            }
            cuts.extend(of_plan);
            stages.push(Stage { plan: *plan, compiled, label, cuts: first..cuts.len() });
        }
        Prepared::new(&self.kernels, self.label.clone(), call.rows, layout.scratch, stages, cuts)
    }

    fn forward_plans(&self, call: &Call<'_>, buffers: &ForwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.plans(forward_operation(call, buffers), call)
    }

    fn backward_plans(&self, call: &Call<'_>, buffers: &BackwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.plans(backward_operation(call, buffers), call)
    }

    /// What a call over these buffers asks for.
    #[cfg(feature = "verify")]
    pub(crate) fn forward_asked(&self, buffers: &ForwardBuffers<'_>) -> Result<Operation, Error> {
        self.labeled(|| Ok(forward_operation(&Call::forward(&self.problem, buffers)?, buffers)))
    }

    /// What a call over these buffers asks for.
    #[cfg(feature = "verify")]
    pub(crate) fn backward_asked(&self, buffers: &BackwardBuffers<'_>) -> Result<Operation, Error> {
        self.labeled(|| Ok(backward_operation(&Call::backward(&self.problem, buffers)?, buffers)))
    }

    /// The plans of a call, in the order of their dispatches.
    fn plans(&self, operation: Operation, call: &Call<'_>) -> Result<Vec<Plan>, Error> {
        let plans = self.planned(operation, call.vector_width(), call.strides())?;
        let is_plain = !call.shares_buffers && call.strides() == Strides::Dense;
        if is_plain && call.cols_of_sums().is_none() {
            return Ok(plans.to_vec());
        }
        let as_given = |plan: &Plan| {
            let plan = plan.with_strides(call.strides()).with_pooled(call.pooled(plan));
            if call.cols_of_sums().is_some() { plan.with_sums_apart() } else { plan }
        };
        Ok(plans.iter().map(as_given).collect())
    }

    /// The same for tensors in buffers of their own.
    pub(super) fn planned(
        &self,
        operation: Operation,
        vector_width: u32,
        strides: Strides,
    ) -> Result<Arc<[Plan]>, Error> {
        let key = (operation, vector_width, strides == Strides::Across);
        if let Some(plans) = self.planned.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(plans));
        }
        let (problem, caps) = (&self.problem, self.caps());
        let whole = |operation| self.kernels.plan(problem, operation, vector_width, strides);
        let sums = match operation {
            Operation::Backward(backward) if backward.has_parameters() => Some(backward),
            _ => None,
        };
        // Of channels, a kernel of its own takes the sums: first, as dx may be written over x or dy.
        let of_channels = sums.filter(|_| problem.has_channel_sums());
        let mut plans = Vec::new();
        if let Some(backward) = of_channels {
            plans.push(Plan::channel_sums(problem, backward, vector_width, caps)?);
        }
        if of_channels.is_none() || operation.finishes_rows() {
            let plan = whole(operation)?;
            match (!plan.is_across() && self.row_split.splits(&plan), operation) {
                (_, Operation::Backward(backward)) if backward.given_statistics => {
                    let of_both = Plan::backward_split(problem, backward, vector_width, caps)?;
                    plans.extend(&of_both[usize::from(!backward.needs_row_sums())..]);
                }
                (true, Operation::Forward(forward)) => {
                    plans.extend(Plan::forward_split(problem, forward, vector_width, caps)?);
                }
                (true, Operation::Backward(backward)) => {
                    // It may take a binding more than the device has.
                    match Plan::backward_split(problem, backward, vector_width, caps) {
                        Err(error) if error.is_unsupported() => plans.push(plan),
                        of_both => plans.extend(of_both?),
                    }
                }
                _ => plans.push(plan),
            }
        }
        if let Some(backward) = sums {
            plans.push(whole(Operation::ReduceParameters(backward))?);
            plans.extend(Plan::reduce_shared(problem, backward, vector_width, caps)?);
        }
        let plans: Arc<[Plan]> = plans.into();
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        planned.insert(key, Arc::clone(&plans));
        Ok(plans)
    }
}

fn forward_operation(call: &Call<'_>, buffers: &ForwardBuffers<'_>) -> Operation {
    Operation::Forward(buffers.options(|input| call.lies_in(input)))
}

fn backward_operation(call: &Call<'_>, buffers: &BackwardBuffers<'_>) -> Operation {
    Operation::Backward(buffers.options(|input| call.lies_in(input)))
}
