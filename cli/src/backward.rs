//! `layernorm backward`: the gradients of a normalization, from tensors of a safetensors file.

use crate::call::{Call, Common, FactorFlags, GateFlags};
use crate::failure::Failure;
use crate::output;
use crate::tensors::{self, TensorInfo};
use clap::Args;
use half::{bf16, f16};
use wgpu_layernorm::reference::BackwardInputs;
use wgpu_layernorm::{Dtype, Element, LEAST_GAIN, Problem, Rows};

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
/// --scale in place of gain, OUT gets dscale and dshift of each sample. With --gate and --branch x is a gated
/// sum: OUT gets dbranch, the gradient of what the gate has multiplied, and dgate beside dx, that of the
/// residual.
///
/// With --gate-input, OUT also gets dgate_input, in its shape and type; without a gate beside heads it is 0.
///
/// With --y and --rstd in place of --x, x need not be kept: xhat = (y - bias) / gain. y is what forward
/// wrote, in the shape and type that x would have, and rstd what it wrote with --statistics; --bias is then
/// that of forward, and without it there is no dbias. Exact without gain; with it as good as y tells xhat,
/// and not at all where |gain| is below --least-gain: there xhat counts as 0.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm backward tests/fixtures/minilm_layer_norms.safetensors gradients.safetensors --eps 1e-12 \\
      --x 00.embeddings.LayerNorm.x --dy 00.embeddings.LayerNorm.dy --gain 00.embeddings.LayerNorm.gain")]
pub(crate) struct Backward {
    /// What forward normalized, [..., cols], or with group, instance and channel [samples, channels, ...]
    #[arg(long, value_name = "NAME", required_unless_present = "y", conflicts_with = "y")]
    x: Option<String>,

    /// In place of x, what forward wrote, in the shape and type of x; not with weight, --activation or --mode
    /// inference
    #[arg(long, value_name = "NAME", requires = "rstd")]
    y: Option<String>,

    /// With --y: what forward wrote as rstd, a value for each row
    #[arg(long, value_name = "NAME", requires = "y", conflicts_with = "x")]
    rstd: Option<String>,

    /// With --y: the least |gain| that xhat is made with (|1 + gain| where the offset is 1) [default: 2^-8]
    #[arg(long, value_name = "V", requires = "y", value_parser = parse_least_gain, allow_negative_numbers = true)]
    least_gain: Option<f32>,

    /// Gradient of y, in the shape and type of x
    #[arg(long, value_name = "NAME")]
    dy: String,

    /// Gradient that reaches the sum of a residual on other ways, added to dx, in the shape and type of x
    #[arg(long, value_name = "NAME")]
    dsum: Option<String>,

    /// Of a gated sum, residual + gate * branch, which x is then: what the gate has multiplied, forward's x
    #[arg(long, value_name = "NAME", requires = "gate")]
    branch: Option<String>,

    /// Of a gated sum: the gate, as forward has it. OUT gets dbranch and dgate
    #[arg(long, value_name = "NAME", requires = "branch")]
    gate: Option<String>,

    #[command(flatten)]
    factors: FactorFlags,

    #[command(flatten)]
    gated: GateFlags,

    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Backward) -> Result<(), Failure> {
    let factors = args.factors.factors()?;
    let affine = factors.of_backward(args.common.activation, args.y.is_some(), args.gated.is_given())?;
    let mut call = match (&args.x, &args.y) {
        (_, Some(y)) => Call::open(&args.common, ("--y", y), &factors, affine)?,
        (x, None) => Call::open(&args.common, ("--x", x.as_deref().unwrap_or_default()), &factors, affine)?,
    };
    let rstd = args.rstd.as_ref().map(|name| call.rstd(name)).transpose()?;
    if rstd.is_some() {
        call.check_from_y()?;
    }
    let [_, [flag, _]] = factors.names();
    let bias = factors.bias.map(|name| call.parameter(flag, name)).transpose()?;
    let dy = call.rows_like_x("--dy", &args.dy)?;
    let is_sum = args.gate.is_some();
    let beside = [
        ("--y", rstd.is_some()),
        ("--bias", bias.is_some()),
        ("--gate", is_sum),
        ("--dsum", args.dsum.is_some()),
    ];
    let gate_input = args.gated.find(&call, &beside)?;
    if rstd.is_some() && is_sum {
        let what = "--gate with --y: a gated sum is not what y shows; give the sum as --x";
        return Err(Failure::WrongCall(what.to_owned()));
    }
    let of_sum = OfSum {
        dsum: args.dsum.as_ref().map(|name| call.rows_like_x("--dsum", name)).transpose()?,
        branch: args.branch.as_ref().map(|name| call.rows_like_x("--branch", name)).transpose()?,
        gate: args.gate.as_ref().map(|name| call.gate(&args.common, name)).transpose()?,
    };
    if of_sum.dsum.is_some() && call.leaves_values() {
        let what = "--dsum with --heads: what lies between the heads has no sum";
        return Err(Failure::WrongCall(what.to_owned()));
    }
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
    run(args, call, &dy, [bias.as_ref(), rstd.as_ref(), gate_input.as_ref()], &of_sum)
}

/// What there is of the sum that x is.
struct OfSum {
    dsum: Option<TensorInfo>,
    branch: Option<TensorInfo>,
    gate: Option<TensorInfo>,
}

fn parse_least_gain(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(least) if least.is_finite() && least >= f32::MIN_POSITIVE => Ok(least),
        _ => Err("needs to be a number of 2^-126 or more".to_owned()),
    }
}

/// Says how many gains are too small for xhat to be made with.
fn note_small_gains<P: Element>(problem: &Problem, gain: Option<&[P]>, least: f32) {
    let offset = if problem.affine.is_zero_centered() { 1.0 } else { 0.0 };
    let is_small = |gain: &&P| (gain.to_f64() + offset).abs() < f64::from(least);
    let count = gain.unwrap_or_default().iter().filter(is_small).count();
    if count > 0 {
        let of_all = format!("{count} of {} gains are below --least-gain {least}", problem.parameters());
        output::note(&format!("{of_all}: xhat counts as 0 there, and their dgain is 0"));
    }
}

fn run_typed<T: Element, P: Element>(
    args: &Backward,
    mut call: Call,
    dy: &TensorInfo,
    [bias, rstd, gate_input]: [Option<&TensorInfo>; 3],
    of_sum: &OfSum,
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
    let of_gate: Option<Vec<T>> = gate_input.map(|tensor| call.read_rows(tensor)).transpose()?;
    let rstd: Option<Vec<f32>> = rstd.map(|tensor| call.file.read(tensor)).transpose()?;
    let [dsum, branch] = [&of_sum.dsum, &of_sum.branch]
        .map(|tensor| tensor.as_ref().map(|tensor| call.read_rows::<T>(tensor)).transpose());
    let (dsum, branch) = (dsum?, branch?);
    let gate: Option<Vec<P>> = of_sum.gate.as_ref().map(|tensor| call.file.read(tensor)).transpose()?;
    let rows = |data| Rows { data, stride };
    let statistics = call.read_running()?;
    let least_gain = args.least_gain.unwrap_or(LEAST_GAIN);
    if rstd.is_some() {
        note_small_gains(&call.problem, gain.as_deref(), least_gain);
    }
    // What stands for x is y where rstd is given.
    let source = Rows { data: &x[..], stride };
    let inputs = BackwardInputs {
        y: rstd.as_ref().map(|_| source),
        rstd: rstd.as_deref(),
        least_gain,
        gate_input: of_gate.as_deref().map(|data| Rows { data, stride }),
        gate_order: args.gated.gate_order,
        mean: statistics.given.as_ref().map(|[mean, _]| &mean[..]),
        variance: statistics.given.as_ref().map(|[_, variance]| &variance[..]),
        gain: gain.as_deref(),
        bias: bias.as_deref(),
        row_gain: row_gain.as_deref(),
        dsum: dsum.as_deref().map(rows),
        branch: branch.as_deref().map(rows),
        gate: gate.as_deref(),
        ..BackwardInputs::new(call.rows, source, Rows { data: &of_y, stride })
    };
    let result = compute.backward(&call.problem, &inputs)?;

    // Outside the rows y is x, and dx is dy.
    let dx = call.place_rows(result.dx, dy)?;
    let mut outputs = vec![("dx", tensors::view(&call.x.shape, &dx)?)];
    // Outside the rows there is no gate.
    let dgate = result.dgate_input.map(|rows| call.place_alone(rows)).transpose()?;
    if let Some(dgate) = &dgate {
        outputs.push(("dgate_input", tensors::view(&call.x.shape, dgate)?));
    }
    let dbranch = result.dbranch.map(|dbranch| call.place_rows(dbranch, dy)).transpose()?;
    if let Some(dbranch) = &dbranch {
        outputs.push(("dbranch", tensors::view(&call.x.shape, dbranch)?));
    }
    if let (Some(gate), Some(dgate)) = (&of_sum.gate, &result.dgate) {
        outputs.push(("dgate", tensors::view(&gate.shape, dgate)?));
    }
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
