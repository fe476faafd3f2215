//! Runs a norm forward and backward, on the CPU or on an adapter, and times each direction.

use super::norm::{Measured, Norm, Results};
use crate::compute::{self, Compute};
use crate::failure::Failure;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wgpu_layernorm::reference::{BackwardInputs, ForwardInputs};
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    BackwardBuffers, Context, Element, ForwardBuffers, LayerNorm, LayerNormDescriptor, Prepared, Rows,
    Statistics,
};

/// Times are medians of as many.
pub(super) const REPEATS: usize = 5;

/// How long a submission should take, so that what it costs to submit and to wait counts for little.
pub(super) const SUBMISSION: Duration = Duration::from_millis(10);

/// Calls in a submission at most.
const MAX_CALLS: u32 = 1000;

pub(super) fn measure<T: Element>(compute: &Compute, norm: &Norm<T>) -> Result<Measured<T>, Failure> {
    match compute {
        Compute::Cpu => measure_on_cpu(norm),
        Compute::Adapter(context) => measure_on_adapter(context, norm),
    }
}

fn measure_on_cpu<T: Element>(norm: &Norm<T>) -> Result<Measured<T>, Failure> {
    let stride = norm.problem.cols as usize;
    let (x, dy) = (Rows { data: &norm.x[..], stride }, Rows { data: &norm.dy[..], stride });
    let (gain, bias) = (Some(&norm.gain[..]), Some(&norm.bias[..]));
    let inputs = ForwardInputs { gain, bias, ..ForwardInputs::new(norm.rows, x) };
    let forward = || compute::forward_on_cpu(&norm.problem, &inputs);
    let inputs = BackwardInputs { gain, ..BackwardInputs::new(norm.rows, x, dy) };
    let backward = || compute::backward_on_cpu(&norm.problem, &inputs);

    let (y, gradients) = (forward()?, backward()?);
    let results = Results {
        y: y.y,
        statistics: y.statistics,
        dx: gradients.dx,
        dgain: gradients.dgain.unwrap_or_default(),
        dbias: gradients.dbias.unwrap_or_default(),
    };
    Ok(Measured {
        results,
        forward: median_time(|| forward().map(drop))?,
        backward: median_time(|| backward().map(drop))?,
    })
}

fn measure_on_adapter<T: Element>(context: &Context, norm: &Norm<T>) -> Result<Measured<T>, Failure> {
    let errors = DeviceErrors::watch(context.device());
    let upload = |label, values: &[T]| {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let buffer = create(context, label, bytes.len());
        context.queue().write_buffer(&buffer, 0, bytes);
        buffer
    };
    let (x, dy) = (upload("x", &norm.x), upload("dy", &norm.dy));
    let (gain, bias) = (upload("gain", &norm.gain), upload("bias", &norm.bias));
    let like = |label, values: &[T]| create(context, label, size_of_val(values));
    let (y, dx) = (like("y", &norm.x), like("dx", &norm.x));
    let (dgain, dbias) = (like("dgain", &norm.gain), like("dbias", &norm.bias));
    let statistics = create(context, "statistics", norm.rows * size_of::<Statistics>());
    errors.check()?;

    let layer_norm = LayerNorm::new(
        context.kernels(),
        &LayerNormDescriptor {
            label: Some(&norm.name),
            cols: norm.problem.cols,
            dtype: T::DTYPE,
            eps: norm.problem.eps,
            ..LayerNormDescriptor::default()
        },
    )?;
    let rows = norm.rows as u64;
    let forward = layer_norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        statistics: Some((&statistics).into()),
        ..ForwardBuffers::new(rows, &x, &y)
    })?;
    let backward = layer_norm.prepare_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(rows, &x, &dy, &statistics)
    })?;

    let outputs = [&y, &statistics, &dx, &dgain, &dbias];
    let mut downloads = pollster::block_on(context.run(&[&forward, &backward], &outputs))?.into_iter();
    let mut next = || downloads.next().unwrap_or_default();
    let results = Results {
        y: bytemuck::pod_collect_to_vec(&next()),
        statistics: bytemuck::pod_collect_to_vec(&next()),
        dx: bytemuck::pod_collect_to_vec(&next()),
        dgain: bytemuck::pod_collect_to_vec(&next()),
        dbias: bytemuck::pod_collect_to_vec(&next()),
    };
    let measured =
        Measured { results, forward: time(context, &forward)?, backward: time(context, &backward)? };
    errors.check()?;
    Ok(measured)
}

fn create(context: &Context, label: &str, bytes: usize) -> wgpu::Buffer {
    context.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// The time of one call among many in a submission. The call has run before, so everything is warm.
fn time(context: &Context, call: &Prepared) -> Result<Duration, Failure> {
    let start = Instant::now();
    submit(context, call, 1)?;
    let alone = start.elapsed();
    let calls = SUBMISSION.as_nanos() / alone.as_nanos().max(1);
    let calls = u32::try_from(calls).unwrap_or(MAX_CALLS).clamp(1, MAX_CALLS);
    Ok(median_time(|| submit(context, call, calls))? / calls)
}

/// Runs a call several times and waits for the end.
fn submit(context: &Context, call: &Prepared, times: u32) -> Result<(), Failure> {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..times {
            call.record(&mut pass);
        }
    }
    context.queue().submit([encoder.finish()]);
    match context.device().poll(wgpu::PollType::wait_indefinitely()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::FailedRun(format!("waiting for the device failed: {error}"))),
    }
}

fn median_time(mut work: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let mut times = [Duration::ZERO; REPEATS];
    for time in &mut times {
        let start = Instant::now();
        work()?;
        *time = start.elapsed();
    }
    times.sort_unstable();
    Ok(times[REPEATS / 2])
}

/// What wgpu reports about calls made here, which by default would panic.
struct DeviceErrors(Arc<Mutex<Option<String>>>);

impl DeviceErrors {
    fn watch(device: &wgpu::Device) -> Self {
        let first = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&first);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut first = shared.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.to_string());
        }));
        Self(first)
    }

    fn check(&self) -> Result<(), Failure> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(error) => Err(Failure::FailedRun(format!("the device failed: {error}"))),
        }
    }
}
