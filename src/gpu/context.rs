//! The convenience layer: for people without a pipeline of their own. Finds an adapter, uploads, runs,
//! downloads.
//!
//! Async for browsers. On native targets a call holds its thread until the GPU has done; `*_blocking` needs
//! no executor.

use super::adapters::{AdapterChoice, adapters, describe_adapter};
use super::buffers::{BackwardBuffers, ForwardBuffers};
use super::host::{HostCall, check_length};
use super::kernels::Kernels;
use super::layer_norm::LayerNorm;
use super::results::{BackwardResult, ForwardResult};
use super::{adapter_info_of_device, required_features, required_limits};
use crate::error::Error;
use crate::op::{Stored, check_source};
use crate::plan::{AdapterKind, Backward, Caps, Forward, Operation, RowSplit, SubgroupSizes, Tensor, Tuning};
use crate::types::{BackwardInputs, Element, ForwardInputs, GateOrder, Gradient, Problem};
use std::sync::{Arc, Mutex, PoisonError};

/// An open device, and the normalizations that it has been asked for, so that only the first call with a
/// problem compiles. Clones share both.
#[derive(Clone, Debug)]
pub struct Context {
    kernels: Kernels,
    norms: Arc<Mutex<Vec<Arc<LayerNorm>>>>,
    row_split: RowSplit,
}

impl Context {
    /// Opens the adapter that was chosen.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name is empty; [`Error::NoAdapter`] where none matches;
    /// [`Error::Unsupported`] where wgpu was compiled without any back end; [`Error::Device`] where the
    /// adapter cannot be opened.
    pub async fn new(choice: &AdapterChoice) -> Result<Self, Error> {
        if wgpu::Instance::enabled_backend_features().is_empty() {
            let needs = "at least one: by the feature `backends`, or by one of wgpu's own, such as `vulkan`";
            return Err(Error::unsupported("the set of back ends in this build of wgpu", "empty", needs));
        }
        let name = match choice {
            AdapterChoice::Named(name) => Some(name.clone()),
            AdapterChoice::Auto => std::env::var("WGPU_ADAPTER_NAME").ok(),
        };
        // Which every description contains.
        if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err(Error::invalid("the adapter's name", "empty", "a part of its description"));
        }
        let adapters = adapters().await;
        let matches = |adapter: &&wgpu::Adapter| match &name {
            Some(name) => describe_adapter(&adapter.get_info()).to_lowercase().contains(&name.to_lowercase()),
            None => true,
        };
        match adapters.iter().find(matches) {
            Some(adapter) => Self::open(adapter).await,
            None => Err(Error::NoAdapter {
                requested: name.unwrap_or_else(|| "auto".to_owned()),
                present: adapters.iter().map(|adapter| describe_adapter(&adapter.get_info())).collect(),
            }),
        }
    }

    /// Opens an adapter with all that the kernels can use of it.
    ///
    /// # Errors
    /// [`Error::Device`] where it cannot be opened.
    pub async fn open(adapter: &wgpu::Adapter) -> Result<Self, Error> {
        Self::open_with(adapter, required_features(adapter)).await
    }

    /// Opens an adapter without the optional features: no subgroup operations, no 16-bit floats.
    ///
    /// # Errors
    /// [`Error::Device`] where it cannot be opened.
    pub async fn open_plain(adapter: &wgpu::Adapter) -> Result<Self, Error> {
        Self::open_with(adapter, wgpu::Features::empty()).await
    }

    async fn open_with(adapter: &wgpu::Adapter, required_features: wgpu::Features) -> Result<Self, Error> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-layernorm"),
            required_features,
            required_limits: required_limits(adapter),
            ..wgpu::DeviceDescriptor::default()
        };
        match adapter.request_device(&descriptor).await {
            Ok((device, queue)) => Ok(Self::from_device(device, queue)),
            Err(error) => Err(Error::Device { doing: "opening the adapter", message: error.to_string() }),
        }
    }

    /// Uses a device that is there already.
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::from_kernels(Kernels::new(&device, &queue))
    }

    /// Uses kernels that are there already, and their device.
    #[must_use]
    pub fn from_kernels(kernels: Kernels) -> Self {
        Self { kernels, norms: Arc::default(), row_split: RowSplit::default() }
    }

    /// The same device with plans as for this kind of adapter, see
    /// [`KernelsDescriptor::ladder`](super::KernelsDescriptor::ladder).
    #[must_use]
    pub fn with_ladder(self, kind: AdapterKind) -> Self {
        Self { kernels: self.kernels.with_ladder(kind), norms: Arc::default(), ..self }
    }

    /// The same device with plans as for subgroups of these sizes, see
    /// [`KernelsDescriptor::subgroup_sizes`](super::KernelsDescriptor::subgroup_sizes).
    #[must_use]
    pub fn with_subgroup_sizes(self, sizes: SubgroupSizes) -> Self {
        Self { kernels: self.kernels.with_subgroup_sizes(sizes), norms: Arc::default(), ..self }
    }

    /// The same device with rows split as said, see
    /// [`LayerNormDescriptor::row_split`](crate::LayerNormDescriptor::row_split).
    #[must_use]
    pub fn with_row_split(self, row_split: RowSplit) -> Self {
        Self { norms: Arc::default(), row_split, ..self }
    }

    /// The same device with plans from a table, see
    /// [`KernelsDescriptor::tuning`](super::KernelsDescriptor::tuning).
    #[must_use]
    pub fn with_tuning(self, tuning: Tuning) -> Self {
        Self { kernels: self.kernels.with_tuning(&tuning), norms: Arc::default(), ..self }
    }

    /// The kernels, for normalizations of your own.
    #[must_use]
    pub const fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        self.kernels.device()
    }

    /// The device's queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        self.kernels.queue()
    }

    /// What plans are made from.
    #[must_use]
    pub fn caps(&self) -> Caps {
        *self.kernels.caps()
    }

    /// [`describe_adapter`] of the device's adapter.
    #[must_use]
    pub fn description(&self) -> String {
        describe_adapter(&adapter_info_of_device(self.device()))
    }

    /// Normalizes host rows: see the formulas in the [crate's documentation](crate). On native targets it
    /// holds its thread until the GPU has done, so an executor wants it on a thread for blocking work.
    ///
    /// # Errors
    /// As [`LayerNorm::prepare_forward`], the lengths of x and residual in elements; also [`Error::Invalid`]
    /// where the types of the slices are not the problem's.
    pub async fn forward<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
    ) -> Result<ForwardResult<T>, Error> {
        self.forward_with(problem, inputs, true).await
    }

    /// As [`Context::forward`], but without statistics, which are empty then. It is faster, and a binding
    /// less.
    ///
    /// # Errors
    /// As [`Context::forward`].
    pub async fn forward_without_statistics<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
    ) -> Result<ForwardResult<T>, Error> {
        self.forward_with(problem, inputs, false).await
    }

    async fn forward_with<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
        with_statistics: bool,
    ) -> Result<ForwardResult<T>, Error> {
        check_types::<T, P>(problem)?;
        let norm = self.layer_norm(problem)?;
        let residual = inputs.residual.is_some();
        let row_gain = inputs.row_gain.is_some();
        let forward = Forward {
            residual,
            gate: inputs.gate.is_some(),
            statistics: with_statistics,
            row_gain,
            given_statistics: inputs.mean.is_some(),
            running_statistics: inputs.running.is_some(),
            gate_input: inputs.gate_input.map(|_| inputs.gate_order),
            ..Forward::default()
        };
        let call = HostCall::new(self, Operation::Forward(forward), problem, inputs.rows, &inputs.given())?;
        let buffers = ForwardBuffers::from_given(inputs.rows as u64, &forward, |tensor| call.given(tensor));
        let mut buffers = buffers.ok_or_else(no_x)?;
        if let (Some(running), Some(given)) = (&mut buffers.running, &inputs.running) {
            (running.momentum, running.kept) = (given.momentum, given.kept);
        }
        let prepared = norm.prepare_forward(&buffers)?;
        let results = call.run(self, &[&prepared]).await?;
        Ok(ForwardResult {
            y: results.of(Tensor::Y).unwrap_or_default(),
            sum: results.of(Tensor::Sum),
            statistics: results.of(Tensor::Statistics).unwrap_or_default(),
            running_mean: results.of(Tensor::RunningMean),
            running_variance: results.of(Tensor::RunningVariance),
        })
    }

    /// The gradients of host rows. The statistics that backward needs are computed first, on the GPU too;
    /// from y ([`BackwardInputs::from_y`]) they are the rstd that is given. Holds its thread as
    /// [`Context::forward`] does.
    ///
    /// # Errors
    /// As [`Context::forward`].
    pub async fn backward<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &BackwardInputs<'_, T, P>,
    ) -> Result<BackwardResult<T, P>, Error> {
        check_types::<T, P>(problem)?;
        check_source(problem, inputs)?;
        let norm = self.layer_norm(problem)?;
        let rows = inputs.rows as u64;
        let from_y = inputs.y.is_some();
        let affine = problem.affine;
        let wanted = |is_there: bool| is_there.then_some(Gradient::Overwrite);
        let backward = Backward {
            dx: wanted(true),
            dsum: inputs.dsum.is_some(),
            dbranch: inputs.gate.is_some(),
            dgate: wanted(inputs.branch.is_some()),
            dgain: wanted(affine.has_gain()),
            dbias: wanted(affine.has_bias()),
            row_gain: inputs.row_gain.is_some(),
            drow_gain: wanted(inputs.row_gain.is_some()),
            given_statistics: inputs.mean.is_some(),
            from_y,
            gate_input: inputs.gate_input.map(|_| inputs.gate_order),
            clamped: from_y && affine.has_gain() && problem.channels.is_none() && inputs.dsum.is_none(),
            ..Backward::default()
        };
        let mut given = inputs.given().to_vec();
        // Nobody reads the mean.
        let rstds = inputs.rstd.unwrap_or_default().iter().take(inputs.rows);
        let saved: Vec<f32> = rstds.flat_map(|rstd| [0.0, *rstd]).collect();
        if let Some(rstd) = inputs.rstd {
            check_length("rstd", rstd.len(), inputs.rows as u128)?;
            given.push(("statistics", Some(saved[..].into())));
        }
        let call = HostCall::new(self, Operation::Backward(backward), problem, inputs.rows, &given)?;
        let place = |tensor| match tensor {
            Tensor::X | Tensor::Statistics | Tensor::Mean | Tensor::Variance => call.given(tensor),
            // A gate before the norm is part of what is normalized.
            Tensor::GateInput if inputs.gate_order == GateOrder::Before => call.given(tensor),
            _ => None,
        };
        let of_gate = inputs.gate_input.map(|_| GateOrder::Before);
        let of_statistics = Forward { gate_input: of_gate, ..Forward::default() };
        let forward = match from_y {
            true => None,
            false => {
                let forward = ForwardBuffers::from_given(rows, &of_statistics, place);
                Some(norm.prepare_forward(&forward.ok_or_else(no_x)?)?)
            }
        };
        let buffers = BackwardBuffers::from_given(rows, &backward, |tensor| call.given(tensor));
        let buffers = BackwardBuffers { least_gain: inputs.least_gain, ..buffers.ok_or_else(no_x)? };
        let backward = norm.prepare_backward(&buffers)?;
        let calls: Vec<_> = forward.iter().chain([&backward]).collect();
        let results = call.run(self, &calls).await?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it counts columns")]
        let count = |clamped: Vec<f32>| clamped.first().map(|clamped| *clamped as u32);
        Ok(BackwardResult {
            dx: results.of(Tensor::Dx).unwrap_or_default(),
            dgate_input: results.of(Tensor::DgateInput),
            dgain: results.of(Tensor::Dgain),
            dbias: results.of(Tensor::Dbias),
            drow_gain: results.of(Tensor::DrowGain),
            clamped: results.of(Tensor::Clamped).filter(|_| rows > 0).and_then(count),
            dbranch: results.of(Tensor::Dbranch),
            dgate: results.of(Tensor::Dgate),
        })
    }

    /// The normalization of a problem: the one that earlier calls have used, if any have.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is.
    pub fn layer_norm(&self, problem: &Problem) -> Result<Arc<LayerNorm>, Error> {
        let mut norms = self.norms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(norm) = norms.iter().find(|norm| norm.problem() == problem) {
            return Ok(Arc::clone(norm));
        }
        let norm = Arc::new(LayerNorm::of(&self.kernels, None, *problem, self.row_split)?);
        norms.push(Arc::clone(&norm));
        Ok(norm)
    }
}

/// The same, waiting for the result. Not in browsers, where the page cannot wait.
#[cfg(not(target_arch = "wasm32"))]
impl Context {
    /// [`Context::new`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::new`].
    pub fn new_blocking(choice: &AdapterChoice) -> Result<Self, Error> {
        pollster::block_on(Self::new(choice))
    }

    /// [`Context::forward`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::forward`].
    pub fn forward_blocking<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
    ) -> Result<ForwardResult<T>, Error> {
        pollster::block_on(self.forward(problem, inputs))
    }

    /// [`Context::forward_without_statistics`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::forward`].
    pub fn forward_without_statistics_blocking<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
    ) -> Result<ForwardResult<T>, Error> {
        pollster::block_on(self.forward_without_statistics(problem, inputs))
    }

    /// [`Context::backward`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::backward`].
    pub fn backward_blocking<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &BackwardInputs<'_, T, P>,
    ) -> Result<BackwardResult<T, P>, Error> {
        pollster::block_on(self.backward(problem, inputs))
    }
}

/// That the types of the host's slices are those of the problem.
pub(super) fn check_types<T: Element, P: Element>(problem: &Problem) -> Result<(), Error> {
    if T::DTYPE != problem.dtype {
        return Err(Error::invalid("type of x", T::DTYPE, problem.dtype));
    }
    if !Stored::is_one(problem) {
        let needs = "one for all rows; `LayerNorm` takes each tensor in its own";
        return Err(Error::invalid("the types of rows of a problem for `Context`", "several", needs));
    }
    if P::DTYPE != problem.parameter_dtype {
        return Err(Error::invalid("type of gain and bias", P::DTYPE, problem.parameter_dtype));
    }
    Ok(())
}

/// What no caller sees: x is in every call.
pub(super) fn no_x() -> Error {
    Error::MissingBuffer { buffer: "x", why: "the call has none" }
}
