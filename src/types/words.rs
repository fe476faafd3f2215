//! The words that a call is described by.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// The storage type of a tensor. All arithmetic is in float32 whatever the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[doc(alias = "data_type", alias = "precision")]
pub enum Dtype {
    /// IEEE binary32.
    #[default]
    #[doc(alias = "float32", alias = "single")]
    F32,
    /// IEEE binary16.
    #[doc(alias = "float16", alias = "half")]
    F16,
    /// The upper half of a binary32: 8 bits of exponent, 7 of fraction.
    #[doc(alias = "bfloat16")]
    Bf16,
}

impl Dtype {
    /// All storage types.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The relative distance between 1 and the next larger number, halved: the bound on one rounding,
    /// 2^-24, 2^-11 or 2^-8.
    #[must_use]
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            Self::F32 => 1.0 / (1_u64 << 24) as f64,
            Self::F16 => 1.0 / (1_u64 << 11) as f64,
            Self::Bf16 => 1.0 / (1_u64 << 8) as f64,
        }
    }

    /// `f32`, `f16` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("dtype", &Self::ALL, Self::name, name)
    }
}

/// The word of a name.
pub(crate) fn by_name<T: Copy>(
    what: &str,
    all: &[T],
    name: fn(T) -> &'static str,
    text: &str,
) -> Result<T, Error> {
    all.iter().copied().find(|word| name(*word) == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|word| name(*word)).collect();
        Error::invalid(what, format_args!("{text:?}"), format!("one of {}", names.join(", ")))
    })
}

/// Which statistic of a row it is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Normalization {
    /// Layer normalization (Ba, Kiros, Hinton 2016, equation 3): mean and variance.
    #[default]
    #[doc(alias = "layer_norm", alias = "LayerNormalization")]
    Layer,
    /// Root mean square normalization (Zhang, Sennrich 2019, equation 4): the mean is taken as 0.
    #[doc(alias = "rms_norm", alias = "RMSNorm", alias = "RMSNormalization")]
    Rms,
    /// By the Euclidean norm: `xhat = x / max(sqrt(sum(x^2)), eps)`, as `torch.nn.functional.normalize` has
    /// it (where the norm is exactly eps, that has another gradient: here the row counts as linear in x). eps
    /// is the least norm, 0 for none; a row of norm 0 gives 0, and so do its gradients. Statistics are 0 and
    /// `1 / max(norm, eps)`.
    #[doc(alias = "l2_normalize", alias = "LpNormalization", alias = "normalize")]
    L2,
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Normalization {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("normalization", &Self::ALL, Self::name, name)
    }
}

impl Normalization {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Layer, Self::Rms, Self::L2];

    /// `layer`, `rms` or `l2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Rms => "rms",
            Self::L2 => "l2",
        }
    }

    /// The eps that is usual: 1e-5, and none for L2.
    #[must_use]
    pub const fn usual_eps(self) -> f32 {
        match self {
            Self::Layer | Self::Rms => 1e-5,
            Self::L2 => 0.0,
        }
    }
}

/// Which learned parameters are applied after normalizing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "elementwise_affine", alias = "weight", alias = "gamma")]
pub enum Affine {
    /// `y = xhat`
    None,
    /// `y = gain * xhat`
    Gain,
    /// `y = gain * xhat + bias`
    #[default]
    GainBias,
    /// `y = (1 + gain) * xhat`, with 1 + gain rounded to float32, as Gemma and Qwen3-Next have it: a gain of
    /// 0 changes nothing.
    #[doc(alias = "unit_offset")]
    ZeroCenteredGain,
    /// `y = (1 + gain) * xhat + bias`
    ZeroCenteredGainBias,
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Affine {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("affine", &Self::ALL, Self::name, name)
    }
}

impl Affine {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Gain, Self::GainBias, Self::ZeroCenteredGain, Self::ZeroCenteredGainBias];

    /// Whether there is a gain.
    #[must_use]
    pub const fn has_gain(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether there is a bias.
    #[must_use]
    pub const fn has_bias(self) -> bool {
        matches!(self, Self::GainBias | Self::ZeroCenteredGainBias)
    }

    /// Whether xhat is multiplied by 1 + gain.
    #[must_use]
    pub const fn is_zero_centered(self) -> bool {
        matches!(self, Self::ZeroCenteredGain | Self::ZeroCenteredGainBias)
    }

    /// The same with 1 + gain for the gain, if there is one.
    #[must_use]
    pub const fn zero_centered(self) -> Self {
        match self {
            Self::Gain => Self::ZeroCenteredGain,
            Self::GainBias => Self::ZeroCenteredGainBias,
            affine => affine,
        }
    }

    /// The same without a bias.
    pub(crate) const fn without_bias(self) -> Self {
        match self {
            Self::GainBias => Self::Gain,
            Self::ZeroCenteredGainBias => Self::ZeroCenteredGain,
            affine => affine,
        }
    }

    /// That the gain is given exactly where there is one.
    pub(crate) fn check_gain(self, given: bool) -> Result<(), Error> {
        match (self.has_gain(), given) {
            (true, false) => Err(Error::MissingBuffer { buffer: "gain", why: "`affine` has a gain" }),
            (false, true) => self.check_uses_gain("gain"),
            _ => Ok(()),
        }
    }

    /// That the bias is given exactly where there is one.
    pub(crate) fn check_bias(self, given: bool) -> Result<(), Error> {
        match (self.has_bias(), given) {
            (true, false) => {
                let why = "`affine` has a bias; many norms have a gain alone, `Affine::Gain`";
                Err(Error::MissingBuffer { buffer: "bias", why })
            }
            (false, true) => self.check_uses_bias("bias"),
            _ => Ok(()),
        }
    }

    /// That there is a gain, which `buffer` is, or the gradient of.
    pub(crate) const fn check_uses_gain(self, buffer: &'static str) -> Result<(), Error> {
        match self.has_gain() {
            true => Ok(()),
            false => Err(Error::UnusedBuffer { buffer, why: "`affine` has no gain" }),
        }
    }

    /// That there is a bias, which `buffer` is, or the gradient of.
    pub(crate) const fn check_uses_bias(self, buffer: &'static str) -> Result<(), Error> {
        match self.has_bias() {
            true => Ok(()),
            false => Err(Error::UnusedBuffer { buffer, why: "`affine` has no bias" }),
        }
    }

    /// `none`, `gain`, `gain_bias`, `zero_centered_gain` or `zero_centered_gain_bias`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gain => "gain",
            Self::GainBias => "gain_bias",
            Self::ZeroCenteredGain => "zero_centered_gain",
            Self::ZeroCenteredGainBias => "zero_centered_gain_bias",
        }
    }
}

/// What is applied to each value after gain and bias, as the last of y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "nonlinearity")]
pub enum Activation {
    /// y is what gain and bias make of xhat.
    #[default]
    #[doc(alias = "identity")]
    None,
    /// `y = z * sigmoid(z)`, with `z = gain * xhat + bias`, as diffusion models have it after group norm. Of
    /// -infinity it is 0, its limit there. Backward reads the bias then. Not where rows have a gain each.
    #[doc(alias = "swish", alias = "SiLU", alias = "Swish")]
    Silu,
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("activation", &Self::ALL, Self::name, name)
    }
}

impl Activation {
    /// Both.
    pub const ALL: [Self; 2] = [Self::None, Self::Silu];

    /// Whether there is one.
    #[must_use]
    pub const fn is_some(self) -> bool {
        !matches!(self, Self::None)
    }

    /// `none` or `silu`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Silu => "silu",
        }
    }
}

/// What happens to the value that a gradient's buffer holds before the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gradient {
    /// It is replaced.
    #[default]
    Overwrite,
    /// The gradient is added to it, in float32, and rounded once.
    Accumulate,
}

impl Gradient {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Overwrite, Self::Accumulate];

    /// `overwrite` or `accumulate`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite",
            Self::Accumulate => "accumulate",
        }
    }
}

impl fmt::Display for Gradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Gradient {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("gradient", &Self::ALL, Self::name, name)
    }
}

/// The least |gain| that backward makes xhat from y with, where the caller names no other: 2^-8. In bf16 xhat
/// is then off by up to `2^-8 * |xhat| + |bias|`.
pub const LEAST_GAIN: f32 = 0.003_906_25;

/// That a least gain is one that can be divided by.
pub(crate) fn check_least_gain(least_gain: f32) -> Result<(), Error> {
    match least_gain.is_finite() && least_gain >= f32::MIN_POSITIVE {
        true => Ok(()),
        false => Err(Error::invalid("least_gain", least_gain, "2^-126 or more, and finite")),
    }
}
