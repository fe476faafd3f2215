//! The convenience layer: for people without a pipeline of their own. Finds an adapter, uploads, runs, downloads.
//!
//! Async for browsers. On native targets a call holds its thread until the GPU has done; `*_blocking` needs no executor.

use super::buffers::{BackwardBuffers, BufferRows, ForwardBuffers};
use super::kernels::Kernels;
use super::layer_norm::{LayerNorm, LayerNormDescriptor};
use super::prepared::Prepared;
use super::{
    adapter_info_of_device, check_buffer_size, checked, checked_later, required_features, required_limits,
};
use crate::error::Error;
use crate::plan::{AdapterKind, Caps, RowSplit, SubgroupSizes, Tuning};
use crate::types::{BackwardInputs, Element, ForwardInputs, Problem, Rows, Statistics};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Which adapter to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The one that the environment variable `WGPU_ADAPTER_NAME` names, else a real GPU, else a software adapter.
    #[default]
    Auto,
    /// The first whose description (see [`describe_adapter`]) contains this text, in any case.
    Named(String),
}

/// One line that tells an adapter from others: name, back end, driver. Browsers tell neither name nor driver.
#[must_use]
pub fn describe_adapter(info: &wgpu::AdapterInfo) -> String {
    let name = if info.name.is_empty() { "unnamed adapter" } else { &info.name };
    let driver = if info.driver_info.is_empty() { &info.driver } else { &info.driver_info };
    let separator = if driver.is_empty() { "" } else { ", " };
    format!("{name} [{}{separator}{driver}]", info.backend)
}

/// All adapters of the back ends that `WGPU_BACKEND` names (default: all), real GPUs first. None where wgpu was compiled
/// without any back end.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    // wgpu panics then.
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.sort_by_key(|adapter| preference(&adapter.get_info()));
    adapters
}

/// Lower is better: hardware before software, the newer back ends before GL.
fn preference(info: &wgpu::AdapterInfo) -> (u8, bool) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, info.backend == wgpu::Backend::Gl)
}

/// An open device, and the normalisations that it has been asked for, so that only the first call with a problem
/// compiles. Clones share both.
#[derive(Clone, Debug)]
pub struct Context {
    kernels: Kernels,
    norms: Arc<Mutex<Vec<Arc<LayerNorm>>>>,
    row_split: RowSplit,
}

/// What [`Context::forward`] computes.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardResult<T> {
    /// `[rows, cols]`, one row after the other.
    pub y: Vec<T>,
    /// `x + residual`, `[rows, cols]`; with a residual.
    pub sum: Option<Vec<T>>,
    /// Mean and rstd of each row; empty by [`Context::forward_without_statistics`].
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Vec<Statistics>,
}

/// What [`Context::backward`] computes.
#[derive(Clone, Debug, PartialEq)]
pub struct BackwardResult<T, P> {
    /// `[rows, cols]`, one row after the other.
    #[doc(alias = "grad_input")]
    pub dx: Vec<T>,
    /// `[cols]`, where the problem has a gain.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<Vec<P>>,
    /// `[cols]`, where the problem has a bias.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<Vec<P>>,
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

    /// The same device with rows split as said, see [`LayerNormDescriptor::row_split`].
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

    /// The kernels, for normalisations of your own.
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

    /// Normalises host rows: see the formulas in the [crate's documentation](crate). On native targets it holds its thread
    /// until the GPU has done, so an executor wants it on a thread for blocking work.
    ///
    /// # Errors
    /// As [`LayerNorm::prepare_forward`], the lengths of x and residual in elements; also [`Error::Invalid`] where the
    /// types of the slices are not the problem's.
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
        check_vector("gain", problem, problem.affine.has_gain(), inputs.gain)?;
        check_vector("bias", problem, problem.affine.has_bias(), inputs.bias)?;
        check_rows("x", problem, inputs.rows, &inputs.x)?;
        inputs.residual.map_or(Ok(()), |residual| check_rows("residual", problem, inputs.rows, &residual))?;
        let rows = inputs.rows as u64;
        let row_bytes = rows * u64::from(problem.cols) * u64::from(problem.dtype.size());
        let x = self.upload("x", inputs.x.data)?;
        let y = self.create("y", row_bytes)?;
        let residual = inputs.residual.map(|residual| self.upload("residual", residual.data)).transpose()?;
        let sum = inputs.residual.map(|_| self.create("sum", row_bytes)).transpose()?;
        let gain = inputs.gain.map(|gain| self.upload("gain", gain)).transpose()?;
        let bias = inputs.bias.map(|bias| self.upload("bias", bias)).transpose()?;
        let statistics = with_statistics
            .then(|| self.create("statistics", rows * size_of::<Statistics>() as u64))
            .transpose()?;
        let prepared = norm.prepare_forward(&ForwardBuffers {
            residual: residual.as_ref().zip(inputs.residual).map(|(buffer, rows)| strided(buffer, rows)),
            gain: gain.as_ref().map(Into::into),
            bias: bias.as_ref().map(Into::into),
            sum: sum.as_ref().map(Into::into),
            statistics: statistics.as_ref().map(Into::into),
            ..ForwardBuffers::new(rows, strided(&x, inputs.x), &y)
        })?;
        let outputs: Vec<_> = [Some(&y), sum.as_ref(), statistics.as_ref()].into_iter().flatten().collect();
        let mut bytes = self.run(&[&prepared], &outputs).await?.into_iter();
        let mut next = || bytes.next().unwrap_or_default();
        let values = inputs.rows * problem.cols as usize;
        Ok(ForwardResult {
            y: decode(&next(), values),
            sum: inputs.residual.map(|_| decode(&next(), values)),
            statistics: statistics.map(|_| decode(&next(), inputs.rows)).unwrap_or_default(),
        })
    }

    /// The gradients of host rows. The statistics that backward needs are computed first, on the GPU too. Holds its thread as
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
        let norm = self.layer_norm(problem)?;
        check_vector("gain", problem, problem.affine.has_gain(), inputs.gain)?;
        check_rows("x", problem, inputs.rows, &inputs.x)?;
        check_rows("dy", problem, inputs.rows, &inputs.dy)?;
        let rows = inputs.rows as u64;
        let row_bytes = rows * u64::from(problem.cols) * u64::from(problem.dtype.size());
        let parameter_bytes = u64::from(problem.cols) * u64::from(problem.parameter_dtype.size());
        let x = self.upload("x", inputs.x.data)?;
        let dy = self.upload("dy", inputs.dy.data)?;
        let gain = inputs.gain.map(|gain| self.upload("gain", gain)).transpose()?;
        let statistics = self.create("statistics", rows * size_of::<Statistics>() as u64)?;
        // Holds y, which nobody asked for, before it holds dx.
        let dx = self.create("dx", row_bytes)?;
        let affine = problem.affine;
        let dgain = affine.has_gain().then(|| self.create("dgain", parameter_bytes)).transpose()?;
        let dbias = affine.has_bias().then(|| self.create("dbias", parameter_bytes)).transpose()?;
        let without_affine = Problem { affine: crate::Affine::None, ..*problem };
        let forward = self.layer_norm(&without_affine)?.prepare_forward(&ForwardBuffers {
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(rows, strided(&x, inputs.x), &dx)
        })?;
        let backward = norm.prepare_backward(&BackwardBuffers {
            gain: gain.as_ref().map(Into::into),
            dx: Some((&dx).into()),
            dgain: dgain.as_ref().map(Into::into),
            dbias: dbias.as_ref().map(Into::into),
            ..BackwardBuffers::new(rows, strided(&x, inputs.x), strided(&dy, inputs.dy), &statistics)
        })?;
        let outputs: Vec<_> = [Some(&dx), dgain.as_ref(), dbias.as_ref()].into_iter().flatten().collect();
        let mut bytes = self.run(&[&forward, &backward], &outputs).await?.into_iter();
        let mut next = || bytes.next().unwrap_or_default();
        let cols = problem.cols as usize;
        Ok(BackwardResult {
            dx: decode(&next(), inputs.rows * cols),
            dgain: dgain.as_ref().map(|_| decode(&next(), cols)),
            dbias: dbias.as_ref().map(|_| decode(&next(), cols)),
        })
    }

    /// Submits prepared calls in one pass and downloads buffers, which must have been created with `COPY_SRC`. Holds its thread
    /// as [`Context::forward`] does.
    ///
    /// # Errors
    /// [`Error::Device`] where wgpu fails or the device is lost.
    pub async fn run(&self, calls: &[&Prepared], outputs: &[&wgpu::Buffer]) -> Result<Vec<Vec<u8>>, Error> {
        // In browsers this is also where a kernel that does not compile shows.
        let staging = checked_later(self.device(), "running the kernels", || {
            let mut encoder =
                self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                for call in calls {
                    call.record(&mut pass);
                }
            }
            let staging: Vec<wgpu::Buffer> = outputs
                .iter()
                .map(|output| {
                    let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
                        label: Some("wgpu-layernorm/staging"),
                        size: output.size(),
                        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                        mapped_at_creation: false,
                    });
                    encoder.copy_buffer_to_buffer(output, 0, &staging, 0, output.size());
                    staging
                })
                .collect();
            self.queue().submit([encoder.finish()]);
            staging
        })
        .await?;
        // On a lost device all of that has failed without a word.
        let map = || staging.iter().map(Mapped::request).collect();
        let mapped: Vec<Mapped> = checked(self.device(), "downloading the results", map)?;
        #[cfg(not(target_arch = "wasm32"))]
        self.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|error| download_error(&error))?;
        let mut downloads = Vec::with_capacity(staging.len());
        for (staging, mapped) in staging.iter().zip(mapped) {
            mapped.await.map_err(|error| download_error(&error))?;
            let bytes = staging.get_mapped_range(..).map_err(|error| download_error(&error))?.to_vec();
            downloads.push(bytes);
        }
        Ok(downloads)
    }

    /// The normalisation of a problem: the one that earlier calls have used, if any have.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is.
    pub fn layer_norm(&self, problem: &Problem) -> Result<Arc<LayerNorm>, Error> {
        let mut norms = self.norms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(norm) = norms.iter().find(|norm| norm.problem() == problem) {
            return Ok(Arc::clone(norm));
        }
        let descriptor = LayerNormDescriptor {
            cols: problem.cols,
            dtype: problem.dtype,
            parameter_dtype: Some(problem.parameter_dtype),
            normalization: problem.normalization,
            affine: problem.affine,
            eps: problem.eps,
            row_split: self.row_split,
            ..LayerNormDescriptor::default()
        };
        let norm = Arc::new(LayerNorm::new(&self.kernels, &descriptor)?);
        norms.push(Arc::clone(&norm));
        Ok(norm)
    }

    /// A buffer with the given contents, for shaders to read and write and to be downloaded.
    pub(crate) fn upload<E: bytemuck::Pod>(&self, label: &str, values: &[E]) -> Result<wgpu::Buffer, Error> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let buffer = self.create(label, bytes.len() as u64)?;
        // `write_buffer` takes whole words; a 16-bit tensor may end in half of one.
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        checked(self.device(), "uploading", || {
            self.queue().write_buffer(&buffer, 0, words);
            if !rest.is_empty() {
                let mut last = [0; 4];
                last[..rest.len()].copy_from_slice(rest);
                self.queue().write_buffer(&buffer, words.len() as u64, &last);
            }
        })?;
        Ok(buffer)
    }

    /// An empty buffer, for shaders to read and write and to be downloaded.
    pub(crate) fn create(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer, Error> {
        let size = bytes.next_multiple_of(4).max(4);
        check_buffer_size(&self.kernels.shared().limits, label, size)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        checked(self.device(), "creating a buffer", || {
            self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        })
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
fn check_types<T: Element, P: Element>(problem: &Problem) -> Result<(), Error> {
    if T::DTYPE != problem.dtype {
        return Err(Error::invalid("type of x", T::DTYPE, problem.dtype));
    }
    if P::DTYPE != problem.parameter_dtype {
        return Err(Error::invalid("type of gain and bias", P::DTYPE, problem.parameter_dtype));
    }
    Ok(())
}

/// Whether a slice holds its rows, before buffers for as many rows of results are created. In 128 bits, where no stride
/// and number of rows can overflow.
fn check_rows<T>(
    buffer: &'static str,
    problem: &Problem,
    rows: usize,
    place: &Rows<'_, T>,
) -> Result<(), Error> {
    let cols = u128::from(problem.cols);
    // A stride below cols is refused later, by name.
    let stride = (place.stride as u128).max(cols);
    let needs = rows.checked_sub(1).map_or(0, |before_last| before_last as u128 * stride + cols);
    if needs > place.data.len() as u128 {
        return Err(Error::BufferTooSmall {
            buffer,
            has: place.data.len() as u64,
            needs: u64::try_from(needs).unwrap_or(u64::MAX),
            unit: "elements",
        });
    }
    Ok(())
}

/// Here and not by the buffer's size, which is rounded up to whole words.
fn check_vector<T>(
    buffer: &'static str,
    problem: &Problem,
    is_used: bool,
    values: Option<&[T]>,
) -> Result<(), Error> {
    match values {
        Some(values) if is_used && values.len() < problem.cols as usize => Err(Error::BufferTooSmall {
            buffer,
            has: values.len() as u64,
            needs: problem.cols.into(),
            unit: "elements",
        }),
        _ => Ok(()),
    }
}

fn strided<'a, T>(buffer: &'a wgpu::Buffer, rows: Rows<'_, T>) -> BufferRows<'a> {
    BufferRows { buffer, offset: 0, stride: Some(rows.stride as u64) }
}

fn decode<V: bytemuck::Pod>(bytes: &[u8], count: usize) -> Vec<V> {
    bytemuck::pod_collect_to_vec(&bytes[..count * size_of::<V>()])
}

fn download_error(error: &dyn std::error::Error) -> Error {
    Error::Device { doing: "downloading the results", message: error.to_string() }
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// A buffer that is being mapped for reading.
#[derive(Debug)]
struct Mapped(Arc<Mutex<(Option<MapResult>, Option<Waker>)>>);

impl Mapped {
    fn request(buffer: &wgpu::Buffer) -> Self {
        let shared = Arc::new(Mutex::new((None, None::<Waker>)));
        let mapped = Self(Arc::clone(&shared));
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = Some(result);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        mapped
    }
}

impl Future for Mapped {
    type Output = MapResult;

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<MapResult> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
