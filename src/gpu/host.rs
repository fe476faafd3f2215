//! Host slices on a device: uploading, running, downloading.

use super::buffers::Given;
use super::context::Context;
use super::prepared::Prepared;
use super::{check_buffer_size, checked, checked_later};
use crate::error::Error;
use crate::op::{Role, Shape};
use crate::plan::{Forward, Operation, Tensor};
use crate::types::{HostTensor, Problem};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// The tensors of a call whose inputs are the host's.
#[derive(Debug)]
pub(super) struct HostCall {
    tensors: Vec<OnDevice>,
}

#[derive(Debug)]
struct OnDevice {
    tensor: Tensor,
    buffer: wgpu::Buffer,
    /// Elements from one row's start to the next.
    stride: Option<u64>,
    /// Values of an output.
    is_output: bool,
    bytes: u64,
}

impl HostCall {
    /// Uploads what is given, and creates what the operation writes, or reads without being given it.
    pub(super) fn new(
        context: &Context,
        operation: Operation,
        problem: &Problem,
        rows: usize,
        given: &[(&'static str, Option<HostTensor<'_>>)],
    ) -> Result<Self, Error> {
        // Statistics that are given are those of forward, which runs before backward too.
        let forward = Operation::Forward(Forward { given_statistics: true, ..Forward::default() });
        let [used, of_forward] =
            [operation, forward].map(|operation| operation.of_call(problem.affine, problem.activation));
        let shape_of =
            |name: &str| Some(used.iter().chain(&of_forward).find(|used| used.tensor.name() == name)?.shape);
        // All lengths, before buffers for as many rows of results are created.
        for (name, values) in given {
            let Some(values) = values else { continue };
            match (values.stride, shape_of(name)) {
                (Some(stride), _) => check_rows(name, problem, rows, values.elements, stride)?,
                (None, Some(Shape::Statistics)) => check_length(name, values.elements, 2 * rows as u128)?,
                (None, Some(Shape::PerRow)) => check_length(name, values.elements, rows as u128)?,
                (None, Some(Shape::Gates)) => check_length(name, values.elements, problem.gates().into())?,
                (None, Some(_)) => check_length(name, values.elements, problem.parameters().into())?,
                (None, None) => {}
            }
        }
        let mut tensors = Vec::new();
        for (name, values) in given {
            let tensor = operation.tensor(name).or_else(|| forward.tensor(name));
            let (Some(values), Some(tensor)) = (values, tensor) else { continue };
            let buffer = context.upload(name, values.bytes)?;
            let stride = values.stride.map(|stride| stride as u64);
            // Running statistics are read and written.
            let is_output = used.iter().any(|used| used.tensor == tensor && used.role == Role::Output);
            tensors.push(OnDevice { tensor, buffer, stride, is_output, bytes: values.bytes.len() as u64 });
        }
        for used in &used {
            if tensors.iter().any(|there| there.tensor == used.tensor) {
                continue;
            }
            let is_output = used.role == Role::Output;
            if !is_output && used.shape != Shape::Statistics {
                continue;
            }
            let cols = u64::from(problem.cols);
            let elements = match used.shape {
                Shape::Cols => problem.parameters().into(),
                Shape::Gates => problem.gates().into(),
                Shape::PerRow => rows as u64,
                Shape::One => 1,
                Shape::Statistics => 2 * rows as u64,
                Shape::Codes => (rows as u64).saturating_mul(Shape::words(problem.cols).into()),
                _ => (rows as u64).saturating_mul(cols),
            };
            let bytes = elements.saturating_mul(used.stored.dtype(problem).size().into());
            let buffer = context.create(used.tensor.name(), bytes)?;
            tensors.push(OnDevice { tensor: used.tensor, buffer, stride: None, is_output, bytes });
        }
        Ok(Self { tensors })
    }

    pub(super) fn given(&self, tensor: Tensor) -> Option<Given<'_>> {
        let there = self.tensors.iter().find(|there| there.tensor == tensor)?;
        Some(Given::at_element(&there.buffer, 0, there.stride))
    }

    /// Runs calls over the tensors, and downloads what they have written.
    pub(super) async fn run(&self, context: &Context, calls: &[&Prepared]) -> Result<Results, Error> {
        let outputs: Vec<&OnDevice> = self.tensors.iter().filter(|there| there.is_output).collect();
        let buffers: Vec<&wgpu::Buffer> = outputs.iter().map(|output| &output.buffer).collect();
        let downloads = context.run(calls, &buffers).await?;
        let named = outputs.iter().zip(downloads).map(|(output, mut bytes)| {
            // A buffer ends with a whole word.
            bytes.truncate(usize::try_from(output.bytes).unwrap_or(usize::MAX));
            (output.tensor, bytes)
        });
        Ok(Results(named.collect()))
    }
}

/// What calls have written.
#[derive(Debug)]
pub(super) struct Results(Vec<(Tensor, Vec<u8>)>);

impl Results {
    /// The values of a tensor, if it was written.
    pub(super) fn of<V: bytemuck::Pod>(&self, tensor: Tensor) -> Option<Vec<V>> {
        let (_, bytes) = self.0.iter().find(|(written, _)| *written == tensor)?;
        Some(bytemuck::pod_collect_to_vec(bytes))
    }
}

/// That a slice holds its rows. In 128 bits, where no stride and number of rows can overflow.
fn check_rows(
    buffer: &'static str,
    problem: &Problem,
    rows: usize,
    elements: usize,
    stride: usize,
) -> Result<(), Error> {
    let cols = u128::from(problem.cols);
    // A stride below cols is refused later, by name.
    let stride = (stride as u128).max(cols);
    let needs = rows.checked_sub(1).map_or(0, |before_last| before_last as u128 * stride + cols);
    check_length(buffer, elements, needs)
}

/// Here and not by the buffer's size, which is rounded up to whole words.
pub(super) fn check_length(buffer: &'static str, elements: usize, needs: u128) -> Result<(), Error> {
    if needs > elements as u128 {
        let (has, needs) = (elements as u64, u64::try_from(needs).unwrap_or(u64::MAX));
        return Err(Error::BufferTooSmall { buffer, has, needs, unit: "elements" });
    }
    Ok(())
}

impl Context {
    /// Submits prepared calls in one pass and downloads buffers, which must have been created with
    /// `COPY_SRC`. Holds its thread as [`Context::forward`] does.
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
        check_buffer_size(&self.kernels().shared().limits, label, size)?;
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
