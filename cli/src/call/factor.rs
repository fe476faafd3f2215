//! What xhat is multiplied by: a gain of all rows, or the scale of a modulation.

use crate::failure::Failure;
use clap::Args;
use wgpu_layernorm::{Activation, Affine};

/// The flags of gain and bias, and of scale and shift.
#[derive(Args, Debug)]
pub(crate) struct FactorFlags {
    /// Factor of each column, `[cols]`, or with group and instance of each channel, or with --heads of each
    /// value of each head
    #[arg(long, value_name = "NAME")]
    gain: Option<String>,

    /// Summand of each column or channel, as many as gain has; backward takes it with --activation or --y
    /// alone
    #[arg(long, value_name = "NAME")]
    bias: Option<String>,

    /// Multiply by V + gain: 1 as Gemma and Qwen3-Next do, 0 where gain is the factor [default: 0]
    #[arg(long, value_name = "V", value_parser = parse_offset)]
    gain_offset: Option<bool>,

    /// The same as --gain-offset 1
    #[arg(long, conflicts_with = "gain_offset")]
    zero_centered_gain: bool,

    /// Modulation (adaLN): factor of each column of each sample, `[samples, cols]`, where x is
    /// `[samples, ..., cols]`, or of each row. With layer, rms and l2
    #[arg(long, value_name = "NAME", conflicts_with_all = ["gain", "zero_centered_gain"])]
    scale: Option<String>,

    /// Summand of each column of each sample, in the shape of scale; backward takes it with --activation or
    /// --y alone
    #[arg(long, value_name = "NAME")]
    shift: Option<String>,

    /// Multiply by V + scale: 1 as DiT does, 0 where scale is the factor [default: 0]
    #[arg(long, value_name = "V", value_parser = parse_offset)]
    scale_offset: Option<bool>,
}

/// Names of tensors, by the flags that they came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors<'a> {
    pub(crate) gain: Option<&'a str>,
    pub(crate) bias: Option<&'a str>,
    /// Whether gain and bias are the scale and shift of each sample.
    pub(crate) is_modulation: bool,
    pub(crate) is_zero_centered: bool,
}

impl FactorFlags {
    pub(crate) fn factors(&self) -> Result<Factors<'_>, Failure> {
        for (flag, given, of, has) in [
            ("--bias", self.bias.is_some(), "--gain", self.gain.is_some()),
            ("--gain-offset", self.gain_offset.is_some(), "--gain", self.gain.is_some()),
            ("--zero-centered-gain", self.zero_centered_gain, "--gain", self.gain.is_some()),
            ("--shift", self.shift.is_some(), "--scale", self.scale.is_some()),
            ("--scale-offset", self.scale_offset.is_some(), "--scale", self.scale.is_some()),
        ] {
            if given && !has {
                return Err(Failure::WrongCall(format!("{flag} needs {of}")));
            }
        }
        let is_modulation = self.scale.is_some();
        let (gain, bias) = if is_modulation { (&self.scale, &self.shift) } else { (&self.gain, &self.bias) };
        let offset = self.gain_offset.or(self.scale_offset);
        Ok(Factors {
            gain: gain.as_deref(),
            bias: bias.as_deref(),
            is_modulation,
            is_zero_centered: self.zero_centered_gain || offset == Some(true),
        })
    }
}

impl Factors<'_> {
    /// The flag, and the name of the gradient, of gain and of bias.
    pub(crate) const fn names(&self) -> [[&'static str; 2]; 2] {
        match self.is_modulation {
            false => [["--gain", "dgain"], ["--bias", "dbias"]],
            true => [["--scale", "dscale"], ["--shift", "dshift"]],
        }
    }

    /// What forward has of them.
    pub(crate) const fn of_forward(&self) -> Affine {
        match (self.gain, self.bias) {
            (None, _) => Affine::None,
            (Some(_), None) => Affine::Gain,
            (Some(_), Some(_)) => Affine::GainBias,
        }
    }

    /// What backward takes forward to have had: a bias, unless an activation, or xhat from y, would have to
    /// know it, or there is a gate.
    pub(crate) fn of_backward(
        &self,
        activation: Activation,
        from_y: bool,
        is_gated: bool,
    ) -> Result<Affine, Failure> {
        let [_, [bias, _]] = self.names();
        let knows_bias = activation.is_some() || from_y;
        if self.bias.is_some() && !knows_bias {
            let what = format!(
                "{bias}: no gradient depends on it without --activation silu, or --y in place of --x"
            );
            return Err(Failure::WrongCall(what));
        }
        Ok(match (self.gain, self.bias) {
            (None, _) => Affine::None,
            (Some(_), None) if knows_bias || is_gated => Affine::Gain,
            (Some(_), _) => Affine::GainBias,
        })
    }
}

fn parse_offset(text: &str) -> Result<bool, String> {
    match text.parse::<f32>() {
        Ok(0.0) => Ok(false),
        Ok(1.0) => Ok(true),
        _ => Err("needs to be 0 or 1".to_owned()),
    }
}
