//! The buffers of a call that is timed.

use super::check::{Inputs, Outputs};
use super::copy::CopyKernel;
use super::workload::{Operation, Workload};
use crate::error::Error;
use crate::gpu::{BackwardBuffers, Context, ForwardBuffers, LayerNorm, Prepared, checked};
use crate::plan::Plan;
use crate::types::{Element, Statistics};
use crate::verify::OutputError;

/// Tensors end on a whole word of a copy.
pub(super) const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(CopyKernel::WORD)
}

/// The buffers of a call, and the call over them.
pub(super) struct Set {
    pub(super) call: Prepared,
    /// x and, where there is one, residual or dy.
    pub(super) inputs: Vec<wgpu::Buffer>,
    /// y, or sum and y, or dx.
    pub(super) outputs: Vec<wgpu::Buffer>,
    pub(super) gain: Option<wgpu::Buffer>,
    pub(super) bias: Option<wgpu::Buffer>,
    pub(super) statistics: Option<wgpu::Buffer>,
    pub(super) dgain: Option<wgpu::Buffer>,
    pub(super) dbias: Option<wgpu::Buffer>,
}

/// What a call reads.
struct InputBuffers {
    inputs: Vec<wgpu::Buffer>,
    gain: Option<wgpu::Buffer>,
    bias: Option<wgpu::Buffer>,
    statistics: Option<wgpu::Buffer>,
}

/// What a call writes.
struct OutputBuffers {
    outputs: Vec<wgpu::Buffer>,
    dgain: Option<wgpu::Buffer>,
    dbias: Option<wgpu::Buffer>,
}

impl Set {
    /// A set with the inputs in it, and the plans of its call.
    pub(super) fn first<T: Element, P: Element>(
        context: &Context,
        norm: &LayerNorm,
        workload: &Workload,
        inputs: &Inputs<T, P>,
    ) -> Result<(Self, Vec<Plan>), Error> {
        let rows = |label: &str, block: &[u8], bytes: u64| repeat(context, label, block, padded(bytes));
        let mut tensors = vec![rows("x", inputs.x(), workload.tensor_bytes())?];
        if workload.operation.inputs() > 1 {
            tensors.push(rows("residual or dy", inputs.second(), workload.tensor_bytes())?);
        }
        let vector = |label: &str, values: &Option<Vec<P>>| {
            values.as_ref().map(|values| context.upload(label, values)).transpose()
        };
        let is_backward = matches!(workload.operation, Operation::Backward | Operation::BackwardDx);
        // Backward reads it to make again what an activation was applied to.
        let reads_bias = !is_backward || workload.problem.activation.is_some();
        let buffers = InputBuffers {
            inputs: tensors,
            gain: vector("gain", &inputs.gain)?,
            bias: if reads_bias { vector("bias", &inputs.bias)? } else { None },
            statistics: is_backward
                .then(|| {
                    let bytes = workload.rows * size_of::<Statistics>() as u64;
                    rows("statistics", &inputs.statistics(), bytes)
                })
                .transpose()?,
        };
        let outputs = OutputBuffers::new(context, workload)?;
        Self::over(norm, workload, buffers, outputs)
    }

    /// A set with the same inputs in other buffers; gain and bias, which all rows share, are shared by all
    /// sets.
    pub(super) fn another(
        &self,
        context: &Context,
        norm: &LayerNorm,
        workload: &Workload,
    ) -> Result<Self, Error> {
        let copy = |buffer: &wgpu::Buffer| -> Result<wgpu::Buffer, Error> {
            let copy = context.create("input", buffer.size())?;
            checked(context.device(), "copying the inputs", || {
                let mut encoder =
                    context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size());
                context.queue().submit([encoder.finish()]);
            })?;
            Ok(copy)
        };
        let buffers = InputBuffers {
            inputs: self.inputs.iter().map(copy).collect::<Result<_, _>>()?,
            gain: self.gain.clone(),
            bias: self.bias.clone(),
            statistics: self.statistics.as_ref().map(copy).transpose()?,
        };
        Ok(Self::over(norm, workload, buffers, OutputBuffers::new(context, workload)?)?.0)
    }

    /// A call over the same buffers, by another normalization.
    pub(super) fn call_of(&self, norm: &LayerNorm, workload: &Workload) -> Result<(Self, Vec<Plan>), Error> {
        let inputs = InputBuffers {
            inputs: self.inputs.clone(),
            gain: self.gain.clone(),
            bias: self.bias.clone(),
            statistics: self.statistics.clone(),
        };
        let outputs = OutputBuffers {
            outputs: self.outputs.clone(),
            dgain: self.dgain.clone(),
            dbias: self.dbias.clone(),
        };
        Self::over(norm, workload, inputs, outputs)
    }

    /// Prepares the call.
    fn over(
        norm: &LayerNorm,
        workload: &Workload,
        inputs: InputBuffers,
        outputs: OutputBuffers,
    ) -> Result<(Self, Vec<Plan>), Error> {
        let InputBuffers { inputs, gain, bias, statistics } = inputs;
        let OutputBuffers { outputs, dgain, dbias } = outputs;
        let Workload { operation, rows, .. } = *workload;
        let (call, plans) = match (&inputs[..], &outputs[..], &statistics) {
            ([x, residual @ ..], [others @ .., y], None) => {
                let buffers = ForwardBuffers {
                    residual: residual.first().map(Into::into),
                    gain: gain.as_ref().map(Into::into),
                    bias: bias.as_ref().map(Into::into),
                    sum: others.first().map(Into::into),
                    ..ForwardBuffers::new(rows, x, y)
                };
                (norm.prepare_forward(&buffers)?, norm.plan_forward(&buffers)?)
            }
            ([x, dy], [dx], Some(statistics)) => {
                let buffers = BackwardBuffers {
                    gain: gain.as_ref().map(Into::into),
                    bias: bias.as_ref().map(Into::into),
                    dx: Some(dx.into()),
                    dgain: dgain.as_ref().map(Into::into),
                    dbias: dbias.as_ref().map(Into::into),
                    ..BackwardBuffers::new(rows, x, dy, statistics)
                };
                (norm.prepare_backward(&buffers)?, norm.plan_backward(&buffers)?)
            }
            _ => return Err(Error::invalid("operation", operation.name(), "one whose tensors are known")),
        };
        Ok((Self { call, inputs, outputs, gain, bias, statistics, dgain, dbias }, plans))
    }

    /// Runs the call once, over outputs full of NaN, and judges what it has written.
    pub(super) async fn check<T: Element, P: Element>(
        &self,
        context: &Context,
        inputs: &Inputs<T, P>,
    ) -> Result<(Vec<OutputError>, Vec<String>), Error> {
        let buffers: Vec<_> = self.outputs.iter().chain(&self.dgain).chain(&self.dbias).collect();
        // What an earlier call has left here would pass for this one's.
        let poison = vec![0xff; POISON_BYTES];
        buffers.iter().for_each(|buffer| fill(context, buffer, &poison));
        let downloads = context.run(&[&self.call], &buffers).await?;
        let (rows, parameters) = downloads.split_at(self.outputs.len());
        let mut parameters = parameters.iter().map(Vec::as_slice);
        inputs.judge(&Outputs {
            rows: rows.iter().map(Vec::as_slice).collect(),
            dgain: self.dgain.as_ref().and_then(|_| parameters.next()),
            dbias: self.dbias.as_ref().and_then(|_| parameters.next()),
        })
    }
}

impl OutputBuffers {
    fn new(context: &Context, workload: &Workload) -> Result<Self, Error> {
        let Workload { operation, problem, .. } = *workload;
        let outputs: Vec<wgpu::Buffer> = (0..operation.outputs())
            .map(|_| context.create("output", padded(workload.tensor_bytes())))
            .collect::<Result<_, _>>()?;
        let parameter = |wanted: bool, label: &str| {
            let bytes = u64::from(problem.parameters()) * u64::from(problem.parameter_dtype.size());
            (wanted && operation == Operation::Backward).then(|| context.create(label, bytes)).transpose()
        };
        let dgain = parameter(problem.affine.has_gain(), "dgain")?;
        let dbias = parameter(problem.affine.has_bias(), "dbias")?;
        Ok(Self { outputs, dgain, dbias })
    }
}

/// A part of what outputs are filled with before a check: all bits set, a NaN in every storage.
const POISON_BYTES: usize = 1 << 20;

/// A buffer of `bytes` bytes, a multiple of 4, that hold `block` again and again.
fn repeat(context: &Context, label: &str, block: &[u8], bytes: u64) -> Result<wgpu::Buffer, Error> {
    let buffer = context.create(label, bytes)?;
    fill(context, &buffer, block);
    Ok(buffer)
}

/// Fills a buffer with `block` again and again. Sent in parts, so that the host needs no memory for all of
/// it.
fn fill(context: &Context, buffer: &wgpu::Buffer, block: &[u8]) {
    const PART_BYTES: u64 = 32 << 20;
    let bytes = buffer.size();
    // Two blocks are a multiple of 4 bytes, as writes have to be.
    let tile = if block.len().is_multiple_of(4) { block.to_vec() } else { block.repeat(2) };
    let (mut offset, mut sent) = (0, 0);
    while offset < bytes {
        let count = (bytes - offset).min(tile.len() as u64);
        #[allow(clippy::cast_possible_truncation, reason = "at most the length of the tile")]
        context.queue().write_buffer(buffer, offset, &tile[..count as usize]);
        offset += count;
        sent += count;
        if sent >= PART_BYTES {
            sent = 0;
            context.queue().submit([]);
        }
    }
}
