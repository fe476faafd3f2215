//! The recording API: plans, pipelines and bind groups over the caller's device and buffers.

use super::buffers::{BackwardBuffers, Call, ForwardBuffers, Placed};
use super::caps::{caps_of_device, tuned_adapter};
use super::params::Params;
use super::prepared::{Prepared, Step};
use super::{check_buffer_size, checked};
use crate::error::Error;
use crate::plan::{
    AdapterKind, Backward, Caps, Dispatch, Forward, Kernel, Operation, Plan, RowSplit, Tensor, TunedAdapter,
    Tuning,
};
use crate::shader::{self, Dialect};
use crate::types::{Affine, Dtype, Normalization, Problem};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a [`LayerNorm`] computes. `cols` must be set; the rest has defaults.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormDescriptor<'a> {
    /// Names pipelines, buffers and bind groups in graphics debuggers.
    pub label: Option<&'a str>,
    /// Values in a row, 1 to [`Problem::MAX_COLS`].
    pub cols: u32,
    /// Storage of x, residual, sum, y, dy and dx. Default: f32.
    pub dtype: Dtype,
    /// Storage of gain, bias, dgain and dbias, f32 or `dtype`. Default: `dtype`.
    pub parameter_dtype: Option<Dtype>,
    /// Default: layer norm.
    pub normalization: Normalization,
    /// Default: gain and bias.
    pub affine: Affine,
    /// Added to the variance before the root; may be 0. Default: 1e-5.
    pub eps: f32,
    /// Whether subgroup operations may be used where the device has them. Default: yes. A way out, should a driver
    /// have them wrong.
    pub subgroups: bool,
    /// Plan as for this kind of adapter, whatever kind the device says that it is. Default: as it says.
    pub ladder: Option<AdapterKind>,
    /// Whether several workgroups may share a row. Default: never, so that a row's result does not depend on how many rows
    /// come with it.
    pub row_split: RowSplit,
    /// Rungs to plan from instead of the ladder, where it has entries for the device's adapter and these rows. Default: none.
    pub tuning: Option<&'a Tuning>,
    /// What pipelines are created from and added to, on devices with wgpu's feature `PIPELINE_CACHE`. Default: what the driver
    /// keeps by itself.
    pub pipeline_cache: Option<&'a wgpu::PipelineCache>,
}

impl Default for LayerNormDescriptor<'_> {
    fn default() -> Self {
        let problem = Problem::default();
        Self {
            label: None,
            cols: problem.cols,
            dtype: problem.dtype,
            parameter_dtype: None,
            normalization: problem.normalization,
            affine: problem.affine,
            eps: problem.eps,
            subgroups: true,
            ladder: None,
            row_split: RowSplit::default(),
            tuning: None,
            pipeline_cache: None,
        }
    }
}

impl LayerNormDescriptor<'_> {
    /// The problem that is described.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            cols: self.cols,
            dtype: self.dtype,
            parameter_dtype: self.parameter_dtype.unwrap_or(self.dtype),
            normalization: self.normalization,
            affine: self.affine,
            eps: self.eps,
        }
    }
}

/// A normalisation on a device. It holds the compiled pipelines: make one for each `cols`, and keep it.
#[derive(Debug)]
pub struct LayerNorm {
    device: wgpu::Device,
    label: String,
    problem: Problem,
    caps: Caps,
    row_split: RowSplit,
    adapter: TunedAdapter,
    /// That of the adapter alone.
    tuning: Tuning,
    pipeline_cache: Option<wgpu::PipelineCache>,
    /// The pipelines that calls so far have needed.
    pipelines: Mutex<HashMap<Plan, Arc<Compiled>>>,
}

/// A binding holds one element at least, of up to 16 bytes.
const LEAST_BINDING_BYTES: u64 = 16;

#[derive(Debug)]
struct Compiled {
    pipeline: Arc<wgpu::ComputePipeline>,
    layout: wgpu::BindGroupLayout,
}

impl LayerNorm {
    /// A normalisation on `device`. Compiles nothing yet: the first [`prepare_forward`](Self::prepare_forward) or
    /// [`prepare_backward`](Self::prepare_backward) with a new set of options or a new alignment does.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a field of the descriptor is out of its range.
    pub fn new(device: &wgpu::Device, descriptor: &LayerNormDescriptor<'_>) -> Result<Self, Error> {
        let problem = descriptor.problem();
        problem.validate()?;
        let mut caps = caps_of_device(device);
        if !descriptor.subgroups {
            caps.subgroup = None;
        }
        caps.kind = descriptor.ladder.unwrap_or(caps.kind);
        let adapter = tuned_adapter(&device.adapter_info());
        Ok(Self {
            device: device.clone(),
            label: descriptor.label.unwrap_or("layer_norm").to_owned(),
            problem,
            caps,
            row_split: descriptor.row_split,
            tuning: descriptor.tuning.map(|tuning| tuning.of_adapter(&adapter)).unwrap_or_default(),
            adapter,
            pipeline_cache: descriptor.pipeline_cache.cloned(),
            pipelines: Mutex::default(),
        })
    }

    /// What is computed.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What plans are made from.
    #[must_use]
    pub const fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The plans that [`prepare_forward`](Self::prepare_forward) runs for these buffers, in the order of their dispatches:
    /// one, or two where rows are split.
    ///
    /// # Errors
    /// Those of [`prepare_forward`](Self::prepare_forward), but for [`Error::Device`].
    pub fn plan_forward(&self, buffers: &ForwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.forward_plans(&Call::forward(&self.problem, buffers)?)
    }

    /// The plans that [`prepare_backward`](Self::prepare_backward) runs for these buffers, in the order of their dispatches:
    /// backward, or two where rows are split, and the sum of the parameter gradients if any are wanted.
    ///
    /// # Errors
    /// Those of [`prepare_backward`](Self::prepare_backward), but for [`Error::Device`].
    pub fn plan_backward(&self, buffers: &BackwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        self.backward_plans(&Call::backward(&self.problem, buffers)?, buffers)
    }

    /// Checks a forward call and makes it ready to be recorded. Compiles a pipeline if no call so far had the same
    /// options and alignment.
    ///
    /// # Errors
    /// - [`Error::MissingBuffer`], [`Error::UnusedBuffer`]: gain and bias do not match the affine, or residual and sum
    ///   each other.
    /// - [`Error::Invalid`]: a row stride is below `cols`.
    /// - [`Error::BufferUsage`], [`Error::BufferTooSmall`]: a buffer cannot hold its tensor.
    /// - [`Error::Overlap`]: an output shares a buffer with another tensor, but is not in place.
    /// - [`Error::Unsupported`]: the device lacks a limit.
    /// - [`Error::Device`]: wgpu failed to create a pipeline or buffer.
    pub fn prepare_forward(&self, buffers: &ForwardBuffers<'_>) -> Result<Prepared, Error> {
        let call = Call::forward(&self.problem, buffers)?;
        let plans = self.forward_plans(&call)?;
        self.prepare(call, &plans)
    }

    /// Checks a backward call and makes it ready to be recorded, with scratch of its own for the partial sums of dgain
    /// and dbias ([`Plan::scratch_bytes`]). Compiles pipelines if no call so far had the same options and alignment.
    ///
    /// # Errors
    /// As [`prepare_forward`](Self::prepare_forward); also [`Error::MissingBuffer`] where no gradient is wanted, and
    /// [`Error::Overlap`] where dx accumulates over an input.
    pub fn prepare_backward(&self, buffers: &BackwardBuffers<'_>) -> Result<Prepared, Error> {
        let call = Call::backward(&self.problem, buffers)?;
        let plans = self.backward_plans(&call, buffers)?;
        self.prepare(call, &plans)
    }

    /// The dispatches of all plans of a call, with their scratch.
    fn prepare(&self, call: Call<'_>, plans: &[Plan]) -> Result<Prepared, Error> {
        let row_partials = plans.iter().map(Plan::row_partials).max().unwrap_or(0);
        let rows_scratch = match plans.iter().find(|plan| plan.row_partials() > 0) {
            None => None,
            Some(plan) => Some(self.scratch(Tensor::RowPartials, plan.row_partials_bytes(call.rows))?),
        };
        let call = match &rows_scratch {
            None => call,
            Some(buffer) => call.with_row_partials(row_partials, buffer),
        };
        let spans = call.spans();
        let mut partials = None;
        let mut partial_rows = 0;
        let mut steps = Vec::new();
        for plan in plans {
            let dispatches = if plan.kernel == Kernel::BackwardReduceParameters {
                vec![plan.reduce_dispatch(partial_rows, &self.caps)]
            } else {
                plan.dispatches(call.rows, &spans, &self.caps)?
            };
            if plan.writes(Tensor::Partials) && plan.parameter_gradients() > 0 {
                partial_rows = dispatches.iter().map(|dispatch| dispatch.partial_rows).max().unwrap_or(0);
                partials = Some(self.scratch(Tensor::Partials, plan.scratch_bytes(&dispatches))?);
            }
            steps.extend(self.steps(plan, &dispatches, &call, partials.as_ref())?);
        }
        Ok(Prepared { steps, scratch: rows_scratch.into_iter().chain(partials).collect() })
    }

    fn scratch(&self, tensor: Tensor, bytes: u64) -> Result<wgpu::Buffer, Error> {
        // A binding cannot be empty, not even where there are no rows.
        let size = bytes.max(LEAST_BINDING_BYTES);
        check_buffer_size(&self.device, tensor.name(), size)?;
        checked(&self.device, "creating the scratch buffer", || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{}/{}", self.label, tensor.name())),
                size,
                // A copy, so that `verify` can poison it.
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }

    fn forward_plans(&self, call: &Call<'_>) -> Result<Vec<Plan>, Error> {
        let outputs = [Tensor::Y, Tensor::Sum];
        let forward = Forward {
            residual: call.get(Tensor::Residual).is_some(),
            statistics: call.get(Tensor::Statistics).is_some(),
            x_in: call.alias(Tensor::X, &outputs),
            residual_in: call.alias(Tensor::Residual, &outputs),
        };
        let (problem, vector_width, caps) = (&self.problem, call.vector_width(), &self.caps);
        let whole = self.plan(Operation::Forward(forward), vector_width)?;
        if self.row_split.splits(call.rows, &whole, caps) {
            return Ok(Plan::forward_split(problem, forward, vector_width, caps)?.into());
        }
        Ok(vec![whole])
    }

    fn plan(&self, operation: Operation, vector_width: u32) -> Result<Plan, Error> {
        self.tuning.plan(&self.adapter, &self.problem, operation, vector_width, &self.caps)
    }

    /// Whether a plan of this normalisation is another than the ladder's. Split rows are always the ladder's.
    pub(crate) fn is_tuned(&self, plan: &Plan) -> bool {
        let by_ladder = Plan::by_ladder(&self.problem, plan.operation, plan.vector_width, &self.caps);
        plan.partial_cols == 0 && by_ladder.as_ref() != Ok(plan)
    }

    fn backward_plans(&self, call: &Call<'_>, buffers: &BackwardBuffers<'_>) -> Result<Vec<Plan>, Error> {
        let backward = Backward {
            dx: buffers.dx.map(|_| buffers.dx_gradient),
            dgain: buffers.dgain.map(|_| buffers.parameter_gradient),
            dbias: buffers.dbias.map(|_| buffers.parameter_gradient),
            x_in_dx: call.alias(Tensor::X, &[Tensor::Dx]).is_some(),
            dy_in_dx: call.alias(Tensor::Dy, &[Tensor::Dx]).is_some(),
        };
        let (problem, vector_width, caps) = (&self.problem, call.vector_width(), &self.caps);
        let whole = self.plan(Operation::Backward(backward), vector_width)?;
        let mut plans = if self.row_split.splits(call.rows, &whole, caps) {
            Plan::backward_split(problem, backward, vector_width, caps)?.into()
        } else {
            vec![whole]
        };
        if backward.has_parameters() {
            plans.push(self.plan(Operation::ReduceParameters(backward), vector_width)?);
        }
        Ok(plans)
    }

    /// Pipeline, uniforms and bind groups of a plan's dispatches.
    fn steps(
        &self,
        plan: &Plan,
        dispatches: &[Dispatch],
        call: &Call<'_>,
        partials: Option<&wgpu::Buffer>,
    ) -> Result<Vec<Step>, Error> {
        if dispatches.is_empty() {
            return Ok(Vec::new());
        }
        let compiled = self.compiled(plan)?;
        let alignment = self.device.limits().min_uniform_buffer_offset_alignment as usize;
        let uniform_stride = size_of::<Params>().next_multiple_of(alignment);
        let windows: Vec<Vec<Window<'_>>> =
            dispatches.iter().map(|dispatch| self.windows(plan, dispatch, call, partials)).collect();
        let mut bytes = vec![0; uniform_stride * dispatches.len()];
        for ((dispatch, windows), uniform) in
            dispatches.iter().zip(&windows).zip(bytes.chunks_mut(uniform_stride))
        {
            let params = params(plan, dispatch, call, windows, self.problem.eps);
            uniform[..size_of::<Params>()].copy_from_slice(bytemuck::bytes_of(&params));
        }
        let uniforms = self.uniforms(&bytes)?;
        checked(&self.device, "creating bind groups", || {
            (0..)
                .zip(dispatches)
                .zip(&windows)
                .map(|((i, dispatch), windows)| {
                    let uniform = wgpu::BindGroupEntry {
                        binding: 0,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &uniforms,
                            offset: i * uniform_stride as u64,
                            size: wgpu::BufferSize::new(size_of::<Params>() as u64),
                        }),
                    };
                    let storage = (1..).zip(windows).map(|(binding, window)| wgpu::BindGroupEntry {
                        binding,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: window.buffer,
                            offset: window.begin,
                            size: wgpu::BufferSize::new(window.length),
                        }),
                    });
                    let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
                    let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some(&format!("{}/{}", self.label, plan.kernel.name())),
                        layout: &compiled.layout,
                        entries: &entries,
                    });
                    Step {
                        pipeline: Arc::clone(&compiled.pipeline),
                        bind_group,
                        workgroups: dispatch.workgroups,
                    }
                })
                .collect()
        })
    }

    /// Not by `create_buffer_init`, which panics where the device is lost.
    fn uniforms(&self, bytes: &[u8]) -> Result<wgpu::Buffer, Error> {
        let doing = "creating the uniform buffer";
        let buffer = checked(&self.device, doing, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{}/params", self.label)),
                size: bytes.len() as u64,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            })
        })?;
        buffer
            .get_mapped_range_mut(..)
            .map_err(|error| Error::Device { doing, message: error.to_string() })?
            .copy_from_slice(bytes);
        buffer.unmap();
        Ok(buffer)
    }

    /// The part of each bound buffer that a dispatch accesses, in the order of the bindings.
    fn windows<'b>(
        &self,
        plan: &Plan,
        dispatch: &Dispatch,
        call: &Call<'b>,
        partials: Option<&'b wgpu::Buffer>,
    ) -> Vec<Window<'b>> {
        let window = |tensor| {
            if let Some(placed) = call.get(tensor) {
                let (first, rows) = rows_of(placed, dispatch);
                let (begin, length) = placed.span.window(first, rows, self.caps.storage_alignment);
                return Some(Window { tensor, buffer: placed.buffer, begin, length });
            }
            let buffer = partials?;
            Some(Window { tensor, buffer, begin: 0, length: buffer.size() })
        };
        plan.tensors().into_iter().filter_map(window).collect()
    }

    fn compiled(&self, plan: &Plan) -> Result<Arc<Compiled>, Error> {
        // A thread that panicked while it held the lock left a map that is still whole.
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = pipelines.get(plan) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(self.compile(plan)?);
        pipelines.insert(*plan, Arc::clone(&compiled));
        Ok(compiled)
    }

    fn compile(&self, plan: &Plan) -> Result<Compiled, Error> {
        let is_browser = self.device.adapter_info().backend == wgpu::Backend::BrowserWebGpu;
        let dialect = if is_browser { Dialect::Browser } else { Dialect::Naga };
        let shader = shader::assemble(plan, dialect)?;
        let label = format!("{}/{}", self.label, shader.label);
        let label = Some(label.as_str());
        let entry = |binding, ty, min_binding_size| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size },
            count: None,
        };
        let params_bytes = wgpu::BufferSize::new(size_of::<Params>() as u64);
        let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform, params_bytes))
            .chain(shader.bindings.iter().map(|binding| {
                let read_only = !binding.writable;
                entry(binding.binding, wgpu::BufferBindingType::Storage { read_only }, None)
            }))
            .collect();
        checked(&self.device, "compiling a kernel", || {
            let layout = self
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
            let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label,
                source: wgpu::ShaderSource::Wgsl(shader.source.into()),
            });
            let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(shader::ENTRY_POINT),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Every word of workgroup memory is written before it is read.
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: self.pipeline_cache.as_ref(),
            });
            Compiled { pipeline: Arc::new(pipeline), layout }
        })
    }
}

/// A part of a buffer.
#[derive(Debug)]
struct Window<'a> {
    tensor: Tensor,
    buffer: &'a wgpu::Buffer,
    begin: u64,
    length: u64,
}

/// The rows of a tensor that a dispatch accesses: gain and bias have one, which serves all.
fn rows_of(placed: &Placed<'_>, dispatch: &Dispatch) -> (u64, u64) {
    match placed.span.stride {
        0 => (0, 1),
        _ => (dispatch.first_row, dispatch.rows.into()),
    }
}

fn params(plan: &Plan, dispatch: &Dispatch, call: &Call<'_>, windows: &[Window<'_>], eps: f32) -> Params {
    let mut params = Params {
        rows: dispatch.rows,
        workgroups_x: dispatch.workgroups[0],
        slot_rows: plan.slot_rows(dispatch.rows.into()),
        earlier_partial_rows: dispatch.earlier_partial_rows,
        eps,
        one: 1.0,
        ..Params::default()
    };
    for window in windows {
        let Some(placed) = call.get(window.tensor) else { continue };
        let (first, _) = rows_of(placed, dispatch);
        // `Plan::dispatches` keeps windows, and with them starts and strides that matter, below 2^32 bytes. The
        // stride of a single row may be longer, and is not used.
        let elements = (placed.span.row_byte(first) - window.begin) / u64::from(placed.span.element_bytes);
        let start = u32::try_from(elements).unwrap_or(u32::MAX);
        let rows = [start, u32::try_from(placed.span.stride).unwrap_or(u32::MAX)];
        match window.tensor {
            Tensor::X => params.x = rows,
            Tensor::Residual => params.residual = rows,
            Tensor::Y => params.y = rows,
            Tensor::Sum => params.sum = rows,
            Tensor::Dy => params.dy = rows,
            Tensor::Dx => params.dx = rows,
            Tensor::Gain => params.gain = start,
            Tensor::Bias => params.bias = start,
            Tensor::Statistics => params.statistics = start,
            Tensor::Dgain => params.dgain = start,
            Tensor::Dbias => params.dbias = start,
            Tensor::RowPartials => params.row_partials = start,
            Tensor::Partials => {}
        }
    }
    // An input that lies exactly in an output is bound, and so placed, through it, if the kernel writes that output.
    let rows_in = |output| match output {
        Tensor::Y => Some(params.y),
        Tensor::Sum => Some(params.sum),
        Tensor::Dx => Some(params.dx),
        _ => None,
    };
    let (x_in, residual_in, dy_in) = match plan.operation {
        Operation::Forward(forward) => (forward.x_in, forward.residual_in, None),
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            let in_dx = |is_there: bool| is_there.then_some(Tensor::Dx);
            (in_dx(backward.x_in_dx), None, in_dx(backward.dy_in_dx))
        }
    };
    let (x, residual, dy) = (x_in.and_then(rows_in), residual_in.and_then(rows_in), dy_in.and_then(rows_in));
    params.x = x.unwrap_or(params.x);
    params.residual = residual.unwrap_or(params.residual);
    params.dy = dy.unwrap_or(params.dy);
    params
}
