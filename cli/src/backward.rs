//! `layernorm backward`: the gradients of a normalization, from tensors of a safetensors file.

use crate::call::{Call, Common, FactorFlags};
use crate::failure::Failure;
use crate::tensors::{self, TensorInfo};
use clap::Args;
use half::{bf16, f16};
use wgpu_layernorm::reference::BackwardInputs;
use wgpu_layernorm::{Dtype, Element, Rows};

/// Compute the gradients of a normalization from x and the gradient of y.
///
/// The last dimension of x is a row (or --cols values are), all leading dimensions are rows. With
/// --normalization channel x is [samples, channels, ...], and the channels of each position are a row; with
/// --heads parts of the last dimension are, and dx has the rest of dy as it is. With --normalization group
/// and instance x is [samples, channels, ...] too, a group of a sample is a row, and gain, dgain and dbias
/// have a value for each channel; with batch a channel of all samples is one, and with --mode inference its
/// running statistics are constants. With --normalization weight x is v, --gain is g, dx that of v, and dgain
/// that of g. x is what forward normalized: its x or, with a residual, its sum. x and dy are of one shape and
/// type, F32, F16 or BF16; gain, one value for each column or channel, or with --heads for each value of each
/// head, is of the same type or F32. OUT gets dx, in the shape and type of x; with --gain also dgain and
/// dbias, in the shape and type of gain. The bias itself is not needed, as no gradient depends on it, but
/// with --activation silu: there --bias is that of forward, and without it there is no dbias. With
/// --scale in place of gain, OUT gets dscale and dshift of each sample.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm backward tests/fixtures/minilm_layer_norms.safetensors gradients.safetensors --eps 1e-12 \\
      --x 00.embeddings.LayerNorm.x --dy 00.embeddings.LayerNorm.dy --gain 00.embeddings.LayerNorm.gain")]
pub(crate) struct Backward {
    /// What forward normalized, [..., cols], or with group, instance and channel [samples, channels, ...]
    #[arg(long, value_name = "NAME")]
    x: String,

    /// Gradient of y, in the shape and type of x
    #[arg(long, value_name = "NAME")]
    dy: String,

    #[command(flatten)]
    factors: FactorFlags,

    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Backward) -> Result<(), Failure> {
    let factors = args.factors.factors()?;
    let affine = factors.of_backward(args.common.activation)?;
    let call = Call::open(&args.common, &args.x, &factors, affine)?;
    let [_, [flag, _]] = factors.names();
    let bias = factors.bias.map(|name| call.parameter(flag, name)).transpose()?;
    let dy = call.rows_like_x("--dy", &args.dy)?;
    if call.kept_shapes().is_some() {
        let what = "--running-mean: gradients of --mode training are those of the batch's own statistics";
        return Err(Failure::WrongCall(what.to_owned()));
    }
    if call.is_weight_norm() && factors.gain.is_none() {
        return Err(Failure::WrongCall("--normalization weight needs --gain, g".to_owned()));
    }
    let run = match (call.problem.dtype, call.problem.parameter_dtype) {
        (Dtype::F32, _) => run_typed::<f32, f32>,
        (Dtype::F16, Dtype::F32) => run_typed::<f16, f32>,
        (Dtype::F16, _) => run_typed::<f16, f16>,
        (Dtype::Bf16, Dtype::F32) => run_typed::<bf16, f32>,
        (Dtype::Bf16, _) => run_typed::<bf16, bf16>,
        (dtype, _) => return Err(tensors::unknown(dtype)),
    };
    run(args, call, &dy, bias.as_ref())
}

fn run_typed<T: Element, P: Element>(
    args: &Backward,
    mut call: Call,
    dy: &TensorInfo,
    bias: Option<&TensorInfo>,
) -> Result<(), Failure> {
    let compute = call.choose(&args.common)?;
    let stride = call.problem.cols as usize;
    let info = call.x.clone();
    let x: Vec<T> = call.read_rows(&info)?;
    let of_y: Vec<T> = call.read_rows(dy)?;
    let row_gain = call.read_row_gain()?;
    let of_columns = call.gain.clone().filter(|_| row_gain.is_none());
    let gain: Option<Vec<P>> = of_columns.map(|tensor| call.file.read(&tensor)).transpose()?;
    let bias: Option<Vec<P>> = bias.map(|tensor| call.file.read(tensor)).transpose()?;
    let statistics = call.read_running()?;
    let inputs = BackwardInputs {
        mean: statistics.given.as_ref().map(|[mean, _]| &mean[..]),
        variance: statistics.given.as_ref().map(|[_, variance]| &variance[..]),
        gain: gain.as_deref(),
        bias: bias.as_deref(),
        row_gain: row_gain.as_deref(),
        ..BackwardInputs::new(call.rows, Rows { data: &x, stride }, Rows { data: &of_y, stride })
    };
    let result = compute.backward(&call.problem, &inputs)?;

    // Outside the rows y is x, and dx is dy.
    let dx = call.place_rows(result.dx, dy)?;
    let mut outputs = vec![("dx", tensors::view(&call.x.shape, &dx)?)];
    let drow_gain = result.drow_gain.unwrap_or_default();
    // In the type of g, as dgain is.
    let as_f16: Vec<f16> = drow_gain.iter().copied().map(f16::from_f32).collect();
    let as_bf16: Vec<bf16> = drow_gain.iter().copied().map(bf16::from_f32).collect();
    if let Some(gain) = call.gain.as_ref().filter(|_| call.is_weight_norm()) {
        let view = match gain.dtype {
            Dtype::F32 => tensors::view(&gain.shape, &drow_gain)?,
            Dtype::F16 => tensors::view(&gain.shape, &as_f16)?,
            Dtype::Bf16 => tensors::view(&gain.shape, &as_bf16)?,
            dtype => return Err(tensors::unknown(dtype)),
        };
        outputs.push(("dgain", view));
    } else if let Some(gain) = &call.gain {
        let [[_, dgain], [_, dbias]] = args.factors.factors()?.names();
        for (name, gradient) in [(dgain, &result.dgain), (dbias, &result.dbias)] {
            if let Some(gradient) = gradient {
                outputs.push((name, tensors::view(&gain.shape, gradient)?));
            }
        }
    }
    tensors::write(&args.common.output, outputs)
}
