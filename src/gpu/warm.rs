//! Compiling before a call is there.

use super::checked;
use super::layer_norm::LayerNorm;
use super::pipelines::Compiled;
use super::scratch::Part;
use super::uniforms::{Reserved, Uniforms};
use crate::error::Error;
use crate::plan::{
    Backward, Caps, Dispatch, Forward, Kernel, Numbers, Operation, Place, Plan, Pooled, Shape, Span, Strides,
    Tensor, Uniform, Used,
};
use std::sync::Arc;

/// What decides which kernels calls will need, beside the
/// [`LayerNormDescriptor`](crate::LayerNormDescriptor). Written with `..`, over [`default`](Self::default),
/// as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct WarmOptions<'a> {
    /// Options of the forward calls that will come: which tensors they have, and what is in place.
    pub forward: &'a [Forward],
    /// Options of the backward calls.
    pub backward: &'a [Backward],
    /// Bytes of which all offsets and row strides will be multiples, in their buffers, a power of two.
    /// Threads move up to 16 bytes at a time, 32 on some software adapters, as far as alignment and columns
    /// allow; each width is another kernel. Default: 256, as much as any binding asks for.
    pub alignment: u64,
    /// Which tensors will share a buffer, outputs among them. Default: no input lies in the buffer of an
    /// output.
    pub pooled: Pooled,
    /// Whether tensors of rows will lie inside outer ones, with columns apart, or with columns inside outer
    /// ones ([`BufferRows`](crate::BufferRows)). Columns apart are accessed one by one, with the `alignment`
    /// of an element; but where rows lie side by side, as positions whose channels come first, and all keep
    /// to multiples of four, they are [`Strides::Across`], whatever the alignment. Of columns inside outer
    /// ones as many are accessed at once as the largest power of two that divides their number, at most: warm
    /// them with the `alignment` of so many elements. Default: dense.
    pub strides: Strides,
    /// Whether dgain, dbias and dgate of heads or samples will have a stride of their own between rows
    /// ([`BufferVector::with_row_stride`](crate::BufferVector::with_row_stride)). Default: no.
    pub sums_apart: bool,
    /// Whether calls will bring scratch of their own, in the buffer that others share. Default: no.
    pub pooled_scratch: bool,
    /// The most rows of a call: the device's scratch is reserved for so many. Default: 0, none is.
    pub rows: u64,
    /// Whether each kernel is also run over a few rows of zeros, in buffers that are freed again, since some
    /// drivers (Mesa's software adapters are of them) compile when a kernel first runs and not when its
    /// pipeline is created. That is a submit to the queue, which is not waited for. Kernels with a
    /// tensor whose fewest rows take more than 64 MiB are left to their first call. Default: no.
    pub submit: bool,
}

impl Default for WarmOptions<'_> {
    fn default() -> Self {
        Self {
            forward: &[],
            backward: &[],
            alignment: 256,
            pooled: Pooled::Nothing,
            strides: Strides::Dense,
            sums_apart: false,
            pooled_scratch: false,
            rows: 0,
            submit: false,
        }
    }
}

impl WarmOptions<'_> {
    /// Whether two tensors of a call will lie in one buffer.
    fn share_a_buffer(&self, a: Tensor, b: Tensor) -> bool {
        let is_in_pool = |tensor| match (tensor, self.pooled) {
            (_, Pooled::Nothing) => false,
            (Tensor::Partials | Tensor::RowPartials, _) => self.pooled_scratch,
            (Tensor::Gain | Tensor::Bias | Tensor::Gate, pooled) => pooled == Pooled::Everything,
            _ => true,
        };
        is_in_pool(a) && is_in_pool(b)
    }
}

impl LayerNorm {
    /// Compiles what calls with such options will need, now, so that preparing them later compiles nothing.
    /// On any thread: others that need the same pipelines wait for these only. Browsers compile in the
    /// background whatever is done; there the first call may still wait.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the alignment is not one that tensors can have; [`Error::Unsupported`] where
    /// the device cannot run one of the calls; [`Error::Device`] where wgpu fails.
    pub fn warm(&self, options: &WarmOptions<'_>) -> Result<(), Error> {
        self.labeled(|| self.warm_all(options))
    }

    fn warm_all(&self, options: &WarmOptions<'_>) -> Result<(), Error> {
        let forward = options.forward.iter().map(|forward| Operation::Forward(*forward));
        let backward = options.backward.iter().map(|backward| Operation::Backward(*backward));
        let operations: Vec<Operation> = forward.chain(backward).collect();
        self.check_alignment(options.alignment, &operations)?;
        let shared = self.kernels().shared();
        // Rows of samples are rows inside outer ones, as they are numbered.
        let strides = match self.problem().channels {
            Some(channels) if channels.is_blocked() => options.strides.max(Strides::Rows),
            _ => options.strides,
        };
        let mut scratch = [0; 2];
        let mut compiled: Vec<(Plan, Arc<Compiled>)> = Vec::new();
        for operation in operations {
            // Calls across have columns apart.
            let vector_width = match strides {
                Strides::Across => 1,
                _ => self.vector_width(operation, options.alignment),
            };
            for plan in self.planned(operation, vector_width, strides)?.iter() {
                let plan = plan
                    .with_strides(strides)
                    .with_pooled(plan.pooled_by(|a, b| options.share_a_buffer(a, b)));
                let plan = if options.sums_apart { plan.with_sums_apart() } else { plan };
                compiled.push((plan, shared.compiled(&plan)?));
                if plan.writes(Tensor::Partials) && plan.parameter_gradients() > 0 {
                    let bytes = &mut scratch[Part::Partials as usize];
                    *bytes = plan.most_scratch_bytes(options.rows).max(*bytes);
                }
                let bytes = &mut scratch[Part::RowPartials as usize];
                *bytes = plan.row_partials_bytes(options.rows).max(*bytes);
            }
        }
        if !options.pooled_scratch {
            shared.reserve_scratch(scratch)?;
        }
        if options.submit {
            self.run_over_few_rows(&compiled)?;
        }
        Ok(())
    }

    /// That elements of all tensors can lie at multiples of so many bytes.
    fn check_alignment(&self, alignment: u64, operations: &[Operation]) -> Result<(), Error> {
        let of_calls = operations.iter().flat_map(|operation| self.wide_element_bytes(*operation));
        // x is in all calls.
        let least = of_calls.fold(self.problem().dtype.size(), u32::max);
        if alignment < least.into() || !alignment.is_power_of_two() {
            return Err(Error::invalid("alignment", alignment, format!("a power of two from {least} on")));
        }
        Ok(())
    }

    /// The widest access that a call's tensors allow at multiples of so many bytes.
    fn vector_width(&self, operation: Operation, alignment: u64) -> u32 {
        let width = |element_bytes: u32| {
            let elements = alignment / u64::from(element_bytes);
            let cols = self.problem().cols;
            Span { offset: elements, stride: elements, cols, element_bytes, ..Span::default() }.vector_width()
        };
        self.wide_element_bytes(operation).map(width).min().unwrap_or(8)
    }

    /// Bytes of an element of each tensor that a call accesses several elements of at once. The others,
    /// parameters of channels with several columns among them, are accessed one by one.
    fn wide_element_bytes(&self, operation: Operation) -> impl Iterator<Item = u32> {
        let problem = *self.problem();
        let is_wide = move |used: &Used| match used.shape {
            Shape::Rows => true,
            Shape::Cols | Shape::Gates => !problem.has_single_parameters(),
            _ => false,
        };
        let used = operation.of_call(problem.affine, problem.activation).into_iter().filter(is_wide);
        used.map(move |used| used.stored.dtype(&problem).size())
    }

    /// Runs each kernel over a few rows of zeros, in buffers that nobody sees. Over no rows it would not do:
    /// where the branches of a text depend on numbers of the uniform, some drivers compile it for those that
    /// a dispatch has, and without rows nothing is left of it.
    fn run_over_few_rows(&self, compiled: &[(Plan, Arc<Compiled>)]) -> Result<(), Error> {
        let shared = self.kernels().shared();
        let numbers = Numbers { unit: 1.0, ..Numbers::new(self.problem().eps) };
        let trials = compiled.iter().map(|(plan, compiled)| Ok((Trial::new(plan, self.caps())?, compiled)));
        let trials: Vec<_> = trials.collect::<Result<_, Error>>()?;
        // What is too large for that is compiled by its first call.
        let most_bytes = self.caps().max_binding_bytes.min(MOST_TRIAL_BYTES);
        let trials: Vec<_> = trials.into_iter().filter(|(trial, _)| trial.bytes <= most_bytes).collect();
        let reserve =
            |(trial, _): &(Trial<'_>, _)| shared.uniforms.reserve(&shared.device, &trial.uniform(&numbers));
        let reserved: Vec<Reserved> = trials.iter().map(reserve).collect::<Result<_, Error>>()?;
        let size = trials.iter().map(|(trial, _)| trial.bytes).max().unwrap_or(0);
        checked(&shared.device, "running kernels over a few rows", || {
            Uniforms::write(&shared.queue, &reserved);
            let mut encoder =
                shared.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut buffers: Vec<wgpu::Buffer> = Vec::new();
            for ((trial, compiled), Reserved { slot, .. }) in trials.iter().zip(&reserved) {
                let count = trial.plan.tensors().len();
                while buffers.len() < count {
                    buffers.push(shared.device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some("layer_norm/warm"),
                        size,
                        usage: wgpu::BufferUsages::STORAGE,
                        mapped_at_creation: false,
                    }));
                }
                let uniform = wgpu::BufferBinding {
                    buffer: &slot.chunk.buffer,
                    offset: 0,
                    size: wgpu::BufferSize::new(Uniform::BYTES as u64),
                };
                let uniform =
                    wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) };
                let storage = (1..).zip(&buffers[..count]).map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                });
                let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
                let bind_group = shared.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("layer_norm/warm"),
                    layout: &compiled.layout,
                    entries: &entries,
                });
                pass.set_pipeline(&compiled.pipeline);
                pass.set_bind_group(0, &bind_group, &[slot.offset]);
                let [x, y] = trial.dispatch.workgroups;
                pass.dispatch_workgroups(x, y, 1);
            }
            drop(pass);
            shared.queue.submit([encoder.finish()]);
        })?;
        shared.uniforms.publish(&reserved);
        Ok(())
    }
}

/// The most bytes of a buffer for rows that nobody sees.
const MOST_TRIAL_BYTES: u64 = 64 << 20;

/// A dispatch over as few rows as a plan's may have, each tensor in a buffer of its own.
struct Trial<'a> {
    plan: &'a Plan,
    dispatch: Dispatch,
    places: Vec<Place>,
    /// Of the longest buffer.
    bytes: u64,
}

impl<'a> Trial<'a> {
    fn new(plan: &'a Plan, caps: &Caps) -> Result<Self, Error> {
        let inner_rows = plan.inner_rows(&[])?.max(plan.access_rows());
        let dispatch = match plan.kernel {
            Kernel::BackwardReduceParameters => plan.reduce_dispatch(1, caps),
            _ => Dispatch { inner_rows, ..plan.dispatch(0, inner_rows, 0, caps) },
        };
        let row_cols = u32::try_from(plan.row_cols()).unwrap_or(u32::MAX);
        let place_and_bytes = |tensor: &Tensor| {
            let (row_stride, column_stride) = match plan.shape(*tensor) {
                Some(Shape::Rows) if plan.is_across() => (1, inner_rows),
                Some(Shape::Rows) => (row_cols, 1),
                Some(Shape::Codes) => (Shape::words(row_cols), 1),
                Some(Shape::Statistics) => (2, 1),
                Some(Shape::PerRow) => (1, 1),
                Some(Shape::RowPartials) => (4 * plan.row_partials(), 1),
                Some(Shape::Cols | Shape::Gates | Shape::One | Shape::Partials) | None => (0, 1),
            };
            let place = match plan.shape(*tensor) {
                Some(Shape::Partials) => plan.place_of_partials(),
                _ => Place { row_stride, column_stride, ..Place::default() },
            };
            let elements = match plan.shape(*tensor) {
                Some(Shape::Partials) => plan.trial_partials(&dispatch),
                Some(shape) if shape.is_of_parameters() => plan.values_of(shape).into(),
                Some(Shape::One) => 1,
                _ if plan.is_across() => u64::from(inner_rows) * u64::from(row_cols.max(2)),
                _ => u64::from(inner_rows) * u64::from(row_stride),
            };
            (place, 4 * elements)
        };
        let (places, bytes): (Vec<Place>, Vec<u64>) = plan.tensors().iter().map(place_and_bytes).unzip();
        // Accesses are of 32 bytes at most.
        let bytes = bytes.into_iter().max().unwrap_or(0).next_multiple_of(32).max(32);
        Ok(Self { plan, dispatch, places, bytes })
    }

    fn uniform(&self, numbers: &Numbers) -> Uniform {
        self.plan.uniform_of(&self.dispatch, &self.places, numbers)
    }
}
