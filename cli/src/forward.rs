//! `layernorm forward`: normalizes a tensor of a safetensors file.

use crate::call::{Call, Common, FactorFlags, GateFlags};
use crate::codes::{self, CodesFlags};
use crate::failure::Failure;
use crate::tensors::{self, TensorInfo};
use clap::{Args, ValueEnum};
use half::{bf16, f16};
use wgpu_layernorm::reference::ForwardInputs;
use wgpu_layernorm::{Dtype, Element, KeptVariance, Real, Rows, Running};

/// Normalize a tensor: y = gain * (x - mean) * rstd + bias, for each row.
///
/// The last dimension of x is a row (or --cols values are), all leading dimensions are rows. With
/// --normalization channel x is [samples, channels, ...], and the channels of each position are a row; with
/// --heads parts of the last dimension are, and y has the rest of x as it is. With --normalization group and
/// instance x is [samples, channels, ...] too, a group of a sample is a row, and gain and bias have a value
/// for each channel; with batch a channel of all samples is one. With --normalization weight x is v and
/// --gain is g, one for each index of --axis; y is w, and --statistics writes norm. x and the residual are
/// F32, F16 or BF16; gain and bias, one value for each column or channel, or with --heads for each value of
/// each head, are of the same type or F32. OUT gets y, in the shape and type of x; with --residual also sum
/// (x + residual as stored, which is what gets normalized); with --statistics also mean and rstd of each row,
/// F32, in the shape of the leading dimensions (group and instance: [samples, groups]; heads: [..., H]). With
/// --activation silu, y is z * sigmoid(z), z being what is said above. In training, batch norm also writes
/// running_mean and running_variance, of those that are given. With --codes OUT has codes in place of y, I8
/// or F8_E4M3 in the shape of x, and without --unit units, F32 in the shape of mean. With --scale and --shift
/// in place of gain and bias each sample has its own. With --gate-input, gated RMS norm: groups of columns
/// are --heads, with a gain of each. With --gate the sum is residual + gate * x.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm forward tests/fixtures/minilm_layer_norms.safetensors y.safetensors --eps 1e-12 \\
      --x 00.embeddings.LayerNorm.x --gain 00.embeddings.LayerNorm.gain --bias 00.embeddings.LayerNorm.bias")]
pub(crate) struct Forward {
    /// Tensor to normalize, [..., cols], or with group, instance and channel [samples, channels, ...]
    #[arg(long, value_name = "NAME")]
    x: String,

    #[command(flatten)]
    factors: FactorFlags,

    #[command(flatten)]
    gated: GateFlags,

    /// Added to x before normalizing, in the shape and type of x
    #[arg(long, value_name = "NAME")]
    residual: Option<String>,

    /// What x is multiplied by before the residual is added: `[cols]`, or with x `[samples, ..., cols]`
    /// `[samples, cols]`, or a row for each row. Of the type of gain or scale
    #[arg(long, value_name = "NAME", requires = "residual")]
    gate: Option<String>,

    /// Write mean and rstd too
    #[arg(long)]
    statistics: bool,

    #[command(flatten)]
    codes: CodesFlags,

    /// With batch in training: the share of the new statistics in the running ones, or with --running onnx of
    /// the old ones, 0 to 1 [default: 0.1, with --running onnx 0.9]
    #[arg(long, value_name = "M", requires = "running_mean", allow_negative_numbers = true)]
    momentum: Option<f32>,

    /// With batch in training: what running statistics are. pytorch keeps the unbiased variance, onnx the
    /// biased one [default: pytorch]
    #[arg(long, value_enum, requires = "running_mean")]
    running: Option<RunningFlag>,

    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Forward) -> Result<(), Failure> {
    let factors = args.factors.factors()?;
    let mut call = Call::open(&args.common, ("--x", &args.x), &factors, factors.of_forward())?;
    if call.is_weight_norm() && (factors.gain.is_none() || factors.bias.is_some() || args.residual.is_some())
    {
        let what = "--normalization weight needs --gain, g, and takes neither --bias nor --residual";
        return Err(Failure::WrongCall(what.to_owned()));
    }
    let [_, [flag, _]] = factors.names();
    let bias = factors.bias.map(|name| call.parameter(flag, name)).transpose()?;
    let residual = args.residual.as_ref().map(|name| call.rows_like_x("--residual", name)).transpose()?;
    let gate = args.gate.as_ref().map(|name| call.gate(&args.common, name)).transpose()?;
    if residual.is_some() && call.has_running() {
        let what = "--residual with --running-mean: statistics that are kept or given are those of x alone";
        return Err(Failure::WrongCall(what.to_owned()));
    }
    if residual.is_some() && call.leaves_values() {
        let what =
            "--residual with --heads: what lies between the heads has no sum; normalize the sum instead";
        return Err(Failure::WrongCall(what.to_owned()));
    }
    let of_running = [("--momentum", args.momentum.is_some()), ("--running", args.running.is_some())];
    if let Some((flag, _)) = of_running.into_iter().find(|(_, given)| *given)
        && call.kept_shapes().is_none()
    {
        return Err(Failure::WrongCall(format!("{flag}: --mode inference keeps no statistics")));
    }
    args.average()?;
    let has_codes = args.codes.format(&call)?.is_some();
    let beside = [("--residual", residual.is_some()), ("--bias", bias.is_some()), ("--codes", has_codes)];
    let gate_input = args.gated.find(&call, &beside)?;
    let run = match (call.problem.dtype, call.problem.parameter_dtype) {
        (Dtype::F32, _) => run_typed::<f32, f32>,
        (Dtype::F16, Dtype::F32) => run_typed::<f16, f32>,
        (Dtype::F16, _) => run_typed::<f16, f16>,
        (Dtype::Bf16, Dtype::F32) => run_typed::<bf16, f32>,
        (Dtype::Bf16, _) => run_typed::<bf16, bf16>,
        (dtype, _) => return Err(tensors::unknown(dtype)),
    };
    run(args, call, [bias.as_ref(), residual.as_ref(), gate_input.as_ref(), gate.as_ref()])
}

/// `--running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RunningFlag {
    Pytorch,
    Onnx,
}

impl Forward {
    /// The share of new statistics, and which variance is kept.
    fn average(&self) -> Result<(f32, KeptVariance), Failure> {
        if let Some(momentum) = self.momentum.filter(|momentum| !(0.0..=1.0).contains(momentum)) {
            return Err(Failure::WrongCall(format!("--momentum is {momentum}, needs to be 0 to 1")));
        }
        Ok(match self.running {
            Some(RunningFlag::Onnx) => (1.0 - self.momentum.unwrap_or(0.9), KeptVariance::Biased),
            Some(RunningFlag::Pytorch) | None => (self.momentum.unwrap_or(0.1), KeptVariance::Unbiased),
        })
    }
}

fn run_typed<T: Element, P: Element>(
    args: &Forward,
    mut call: Call,
    [bias, residual, gate_input, gate]: [Option<&TensorInfo>; 4],
) -> Result<(), Failure> {
    let compute = call.choose(&args.common)?;
    let stride = call.problem.cols as usize;
    let info = call.x.clone();
    let x: Vec<T> = call.read_rows(&info)?;
    let residual: Option<Vec<T>> = residual.map(|tensor| call.read_rows(tensor)).transpose()?;
    let gate_input: Option<Vec<T>> = gate_input.map(|tensor| call.read_rows(tensor)).transpose()?;
    let gate: Option<Vec<P>> = gate.map(|tensor| call.file.read(tensor)).transpose()?;
    let row_gain = call.read_row_gain()?;
    let of_columns = call.gain.clone().filter(|_| row_gain.is_none());
    let gain: Option<Vec<P>> = of_columns.map(|tensor| call.file.read(&tensor)).transpose()?;
    let bias: Option<Vec<P>> = bias.map(|tensor| call.file.read(tensor)).transpose()?;
    let statistics = call.read_running()?;
    let (momentum, kept) = args.average()?;
    let inputs = ForwardInputs {
        mean: statistics.given.as_ref().map(|[mean, _]| &mean[..]),
        variance: statistics.given.as_ref().map(|[_, variance]| &variance[..]),
        running: statistics.kept.as_ref().map(|[mean, variance]| Running {
            momentum,
            kept,
            ..Running::new(&mean[..], &variance[..])
        }),
        residual: residual.as_deref().map(|data| Rows { data, stride }),
        gate_input: gate_input.as_deref().map(|data| Rows { data, stride }),
        gate_order: args.gated.gate_order,
        gate: gate.as_deref(),
        gain: gain.as_deref(),
        bias: bias.as_deref(),
        row_gain: row_gain.as_deref(),
        ..ForwardInputs::new(call.rows, Rows { data: &x, stride })
    };
    let (codes, result) = match args.codes.format(&call)? {
        Some(format) => {
            let (codes, result) = codes::forward(&compute, &call, &inputs, &format)?;
            (Some(codes), result)
        }
        None => (None, compute.forward(&call.problem, &inputs)?),
    };

    let y = if codes.is_some() { result.y } else { call.place_rows(result.y, &info)? };
    let sum = result.sum.map(|sum| call.place_rows(sum, &info)).transpose()?;
    let mut outputs = match &codes {
        Some(codes) => codes.views(&call.x.shape, &call.rows_shape())?,
        None => vec![("y", tensors::view(&call.x.shape, &y)?)],
    };
    if let Some(sum) = &sum {
        outputs.push(("sum", tensors::view(&call.x.shape, sum)?));
    }
    let mean: Vec<f32> = result.statistics.iter().map(|statistics| statistics.mean).collect();
    let rstd: Vec<f32> = result.statistics.iter().map(|statistics| statistics.rstd).collect();
    // Of v itself: rstd may be a subnormal number, or that of --eps.
    let of_row = |row: &[T]| row.iter().map(|v| v.to_f64().powi(2)).sum::<f64>().sqrt();
    let norm: Vec<f32> = x.chunks(stride).map(|row| f32::from_f64(of_row(row))).collect();
    if args.statistics && call.is_weight_norm() {
        outputs.push(("norm", tensors::view(&call.rows_shape(), &norm)?));
    } else if args.statistics {
        outputs.push(("mean", tensors::view(&call.rows_shape(), &mean)?));
        outputs.push(("rstd", tensors::view(&call.rows_shape(), &rstd)?));
    }
    if let (Some([of_mean, of_variance]), Some(mean), Some(variance)) =
        (call.kept_shapes(), &result.running_mean, &result.running_variance)
    {
        outputs.push(("running_mean", tensors::view(of_mean, mean)?));
        outputs.push(("running_variance", tensors::view(of_variance, variance)?));
    }
    tensors::write(&args.common.output, outputs)
}
