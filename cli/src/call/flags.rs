//! The flags that `forward` and `backward` have in common.

use super::batch::BatchFlags;
use crate::compute::AdapterFlag;
use crate::tuning::TuningFlag;
use crate::words::{NormalizationFlag, activations};
use clap::Args;
use std::path::PathBuf;
use wgpu_layernorm::{Activation, Normalization, Problem};

#[derive(Args, Debug)]
pub(crate) struct Common {
    /// safetensors file to read from
    #[arg(value_name = "IN")]
    pub(super) input: PathBuf,

    /// safetensors file to write, IN itself if wanted; written only if the whole run succeeded
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// What is computed. The eps of rms, channel-rms and l2 is not PyTorch's unless --eps says so
    #[arg(long, value_enum, default_value_t = NormalizationFlag::Layer)]
    pub(super) normalization: NormalizationFlag,

    /// With group, instance, batch, channel and channel-rms: x is [samples, ..., channels]
    #[arg(long)]
    pub(super) channels_last: bool,

    /// With group: so many groups of neighboring channels, which divide them evenly
    #[arg(long, value_name = "G", value_parser = parse_count)]
    pub(super) groups: Option<usize>,

    #[command(flatten)]
    pub(super) batch: BatchFlags,

    /// With weight: the axis along which there is a norm for each index, as PyTorch's dim [default: 0]
    #[arg(long, value_name = "K")]
    pub(super) axis: Option<usize>,

    /// Normalize so many heads inside each row of x, and leave the rest of it as it is (QK norm). Gain and
    /// bias are `[D]`, which all heads share, or `[H, D]`, a row for each head
    #[arg(long, value_name = "H", requires = "head_dim", conflicts_with = "cols", value_parser = parse_count)]
    pub(super) heads: Option<usize>,

    /// Values of a head
    #[arg(long, value_name = "D", requires = "heads", value_parser = parse_count)]
    pub(super) head_dim: Option<usize>,

    /// Values of a row of x before the first head
    #[arg(long, value_name = "O", requires = "heads", default_value_t = 0)]
    pub(super) offset: usize,

    /// Added to the variance (mean square) before the root, or with l2 the least norm that counts; may be 0.
    /// torch: what PyTorch takes where it is given none, 1e-5 for layer, group, instance and batch norm,
    /// 2^-23 for RMS norm and 1e-12 for l2, whatever the type of x [default: 1e-5, with l2 0]
    #[arg(long, value_name = "E|torch", value_parser = parse_eps, allow_negative_numbers = true)]
    eps: Option<Eps>,

    /// What is applied to each value after gain and bias: silu, z * sigmoid(z), or nothing
    #[arg(long, value_parser = activations(), default_value = "none")]
    pub(crate) activation: Activation,

    /// Values in a row [default: the last dimension of x]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(Problem::MAX_COLS)),
        allow_negative_numbers = true
    )]
    pub(super) cols: Option<u32>,

    #[command(flatten)]
    pub(super) adapter: AdapterFlag,

    #[command(flatten)]
    pub(super) tuning: TuningFlag,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("needs to be 1 or more".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

/// `--eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Eps {
    Torch,
    Number(f32),
}

impl Eps {
    const fn of(self, normalization: Normalization) -> f32 {
        match (self, normalization) {
            (Self::Number(eps), _) => eps,
            // The epsilon of the type that it computes in, which for 16 bits is float32 too.
            (Self::Torch, Normalization::Rms) => f32::EPSILON,
            (Self::Torch, Normalization::L2) => 1e-12,
            (Self::Torch, _) => 1e-5,
        }
    }
}

impl Common {
    pub(super) fn eps(&self) -> f32 {
        match (self.eps, self.normalization) {
            // PyTorch's weight norm has none.
            (Some(Eps::Torch), NormalizationFlag::Weight) => 0.0,
            (Some(eps), normalization) => eps.of(normalization.of_rows()),
            (None, normalization) => normalization.of_rows().usual_eps(),
        }
    }
}

fn parse_eps(text: &str) -> Result<Eps, String> {
    if text == "torch" {
        return Ok(Eps::Torch);
    }
    let eps = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    let problem = Problem { cols: 1, eps, ..Problem::default() };
    problem.validate().map_err(|error| error.to_string())?;
    Ok(Eps::Number(eps))
}
