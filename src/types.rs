//! What is computed: the words that the reference, the plans and the GPU path share.

use crate::error::Error;
use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};
use std::fmt;
use std::str::FromStr;

/// The storage type of a tensor. All arithmetic is in float32 whatever the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
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
    /// Layer normalisation (Ba, Kiros, Hinton 2016, equation 3): mean and variance.
    #[default]
    #[doc(alias = "layer_norm", alias = "LayerNormalization")]
    Layer,
    /// Root mean square normalisation (Zhang, Sennrich 2019, equation 4): the mean is taken as 0.
    #[doc(alias = "rms_norm", alias = "RMSNorm", alias = "RMSNormalization")]
    Rms,
    /// By the Euclidean norm: `xhat = x / max(sqrt(sum(x^2)), eps)`, as `torch.nn.functional.normalize` has it. eps is the least
    /// norm, 0 for none; a row of norm 0 gives 0, and so do its gradients. Statistics are 0 and `1 / max(norm, eps)`.
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

/// Which learned parameters are applied after normalising.
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
    /// `y = (1 + gain) * xhat`, with 1 + gain rounded to float32, as Gemma and Qwen3-Next have it: a gain of 0 changes nothing.
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

/// A normalisation over rows of `cols` values, whatever the number of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// Values in a row, 1 to [`Problem::MAX_COLS`].
    #[doc(alias = "normalized_shape", alias = "hidden_size")]
    pub cols: u32,
    /// Storage of x, dx and dsum. In backward x is what forward normalized: after a residual, its sum.
    pub dtype: Dtype,
    /// Storage of gain, bias, dgain and dbias: `dtype` or f32.
    pub parameter_dtype: Dtype,
    /// Storage of y and dy, `None` for `dtype`. Of f16 and bf16, rows have one at most.
    pub y_dtype: Option<Dtype>,
    /// Storage of residual and sum, such as a stream in f32 beside rows in 16 bits; `None` for `dtype`. Of f16 and bf16, rows have one at most.
    pub residual_dtype: Option<Dtype>,
    /// Layer norm or RMS norm.
    pub normalization: Normalization,
    /// Which of gain and bias there are.
    #[doc(alias = "elementwise_affine")]
    pub affine: Affine,
    /// Added to the variance (mean square) before the root; 0 or more, and 0 where it is below the smallest
    /// normal float32. A row whose standard deviation with it is below 2^-126 counts as without variance:
    /// xhat, rstd and dx are 0.
    #[doc(alias = "epsilon")]
    pub eps: f32,
}

impl Default for Problem {
    /// Layer norm with gain and bias in f32, eps 1e-5; `cols` is 0 and must be set.
    fn default() -> Self {
        Self {
            cols: 0,
            dtype: Dtype::F32,
            parameter_dtype: Dtype::F32,
            y_dtype: None,
            residual_dtype: None,
            normalization: Normalization::Layer,
            affine: Affine::GainBias,
            eps: 1e-5,
        }
    }
}

impl Problem {
    /// The widest row: 2^24 values, up to where float32 counts exactly.
    pub const MAX_COLS: u32 = 1 << 24;

    /// Checks the fields against their documented ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.cols == 0 || self.cols > Self::MAX_COLS {
            return Err(Error::invalid("cols", self.cols, format!("1 to {}", Self::MAX_COLS)));
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(Error::invalid("eps", self.eps, "a finite number of at least 0"));
        }
        if self.parameter_dtype != self.dtype && self.parameter_dtype != Dtype::F32 {
            let needs = match self.dtype {
                Dtype::F32 => "f32".to_owned(),
                dtype => format!("{dtype} or f32"),
            };
            return Err(Error::invalid("parameter_dtype", self.parameter_dtype, needs));
        }
        let mut first = self.dtype;
        for (field, dtype) in [("y_dtype", self.y_dtype), ("residual_dtype", self.residual_dtype)] {
            let Some(dtype) = dtype else { continue };
            if first != Dtype::F32 && ![first, Dtype::F32].contains(&dtype) {
                return Err(Error::invalid(
                    field,
                    dtype,
                    format!("{first} or f32: rows have one type of 16 bits"),
                ));
            }
            first = if first == Dtype::F32 { dtype } else { first };
        }
        Ok(())
    }
}

/// A tensor of the host's, for whoever takes it to a device.
#[cfg(feature = "gpu")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostTensor<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) elements: usize,
    /// Elements from one row's start to the next; none for a tensor that has no rows.
    pub(crate) stride: Option<usize>,
}

#[cfg(feature = "gpu")]
impl<'a, T: Element> From<Rows<'a, T>> for HostTensor<'a> {
    fn from(Rows { data, stride }: Rows<'a, T>) -> Self {
        Self { bytes: bytemuck::cast_slice(data), elements: data.len(), stride: Some(stride) }
    }
}

#[cfg(feature = "gpu")]
impl<'a, P: Element> From<&'a [P]> for HostTensor<'a> {
    fn from(values: &'a [P]) -> Self {
        Self { bytes: bytemuck::cast_slice(values), elements: values.len(), stride: None }
    }
}

/// What forward keeps of a row for backward, two float32 a row, in this order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Statistics {
    /// `sum(x) / cols`; 0 for RMS norm.
    pub mean: f32,
    /// `1 / sqrt(variance + eps)`, or `1 / sqrt(mean square + eps)` for RMS norm.
    #[doc(alias = "inv_std", alias = "inv_std_dev", alias = "inv_rms")]
    pub rstd: f32,
}

/// A number type that the reference reads and writes. Sealed.
pub trait Real: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The exact value.
    fn to_f64(self) -> f64;
    /// Rounds to nearest, ties to even, once.
    fn from_f64(value: f64) -> Self;
}

/// A [`Real`] that tensors are stored in: f32, f16 or bf16. Sealed.
pub trait Element: Real + Pod {
    /// The name of this type.
    const DTYPE: Dtype;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! real {
    ($type:ty, $to:expr, $from:expr $(, $dtype:expr)?) => {
        impl sealed::Sealed for $type {}
        impl Real for $type {
            #[inline]
            fn to_f64(self) -> f64 {
                $to(self)
            }
            #[inline]
            fn from_f64(value: f64) -> Self {
                $from(value)
            }
        }
        $(impl Element for $type {
            const DTYPE: Dtype = $dtype;
        })?
    };
}

real!(f64, std::convert::identity, std::convert::identity);
real!(f32, f64::from, round_to_f32, Dtype::F32);
real!(f16, |value: f16| f64::from(value.to_f32()), |value| f16::from_f32(round_to_odd(value)), Dtype::F16);
real!(
    bf16,
    |value: bf16| f64::from(value.to_f32()),
    |value| bf16::from_f32(round_to_odd(value)),
    Dtype::Bf16
);

#[allow(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
#[inline]
fn round_to_f32(value: f64) -> f32 {
    value as f32
}

/// Rounds to odd: truncates `value` toward zero to float32 and, if that was not exact, sets the last bit (Boldo,
/// Melquiond 2008, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").
///
/// What was cut off cannot be taken for a tie then when the result is rounded again, to 16 bits. `f16::from_f64` and
/// `bf16::from_f64` of half 2.7 round twice, or drop the low bits of `value` first.
#[inline]
fn round_to_odd(value: f64) -> f32 {
    let nearest = round_to_f32(value);
    let away = f64::from(nearest).abs() > value.abs();
    let toward_zero = f32::from_bits(nearest.to_bits() - u32::from(away));
    let exact = f64::from(toward_zero) == value;
    f32::from_bits(toward_zero.to_bits() | u32::from(!exact))
}

/// A host tensor of rows: row `r` starts at `r * stride` and has `cols` values.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// The values.
    pub data: &'a [T],
    /// Elements from one row's start to the next; at least `cols`.
    pub stride: usize,
}

/// A host tensor of rows to write to; see [`Rows`]. What lies between the rows is left alone.
#[derive(Debug)]
pub struct RowsMut<'a, T> {
    /// The values.
    pub data: &'a mut [T],
    /// Elements from one row's start to the next; at least `cols`.
    pub stride: usize,
}

/// The host tensors that a forward call reads. Slices may be longer than what is read of them.
#[derive(Clone, Copy, Debug)]
pub struct ForwardInputs<'a, T, P, R = T> {
    /// Rows of every tensor; 0 is valid and does nothing.
    pub rows: usize,
    /// The values to normalise, `[rows, cols]`.
    pub x: Rows<'a, T>,
    /// Added to x before normalising, `[rows, cols]`.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: Option<Rows<'a, R>>,
    /// Factor of each column, `[cols]`; given exactly when [`Problem::affine`] has a gain.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<&'a [P]>,
    /// Summand of each column, `[cols]`; given exactly when [`Problem::affine`] has a bias.
    #[doc(alias = "beta")]
    pub bias: Option<&'a [P]>,
}

impl<'a, T, P> ForwardInputs<'a, T, P> {
    /// Only x.
    #[must_use]
    pub const fn new(rows: usize, x: Rows<'a, T>) -> Self {
        Self { rows, x, residual: None, gain: None, bias: None }
    }
}

impl<'a, T, P, R> ForwardInputs<'a, T, P, R> {
    /// x and a residual, which may be of another type.
    #[must_use]
    pub const fn with_residual(rows: usize, x: Rows<'a, T>, residual: Rows<'a, R>) -> Self {
        Self { rows, x, residual: Some(residual), gain: None, bias: None }
    }
}

#[cfg(feature = "gpu")]
impl<'a, T: Element, P: Element> ForwardInputs<'a, T, P> {
    /// Every tensor by its name.
    pub(crate) fn given(&self) -> [(&'static str, Option<HostTensor<'a>>); 4] {
        [
            ("x", Some(self.x.into())),
            ("residual", self.residual.map(Into::into)),
            ("gain", self.gain.map(Into::into)),
            ("bias", self.bias.map(Into::into)),
        ]
    }
}

/// The host tensors that a backward call reads. Slices may be longer than what is read of them.
#[derive(Clone, Copy, Debug)]
pub struct BackwardInputs<'a, T, P, D = T> {
    /// Rows of every tensor; 0 is valid: parameter gradients become 0, or stay where they accumulate.
    pub rows: usize,
    /// The values that forward normalised, `[rows, cols]`: its x, or its sum with a residual.
    pub x: Rows<'a, T>,
    /// The gradient with respect to forward's y, `[rows, cols]`.
    #[doc(alias = "grad_output")]
    pub dy: Rows<'a, D>,
    /// The gradient that reaches the sum of a residual on other ways, `[rows, cols]`: added to dx.
    #[doc(alias = "residual_grad")]
    pub dsum: Option<Rows<'a, T>>,
    /// Factor of each column, `[cols]`; given exactly when [`Problem::affine`] has a gain.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<&'a [P]>,
}

impl<'a, T, P, D> BackwardInputs<'a, T, P, D> {
    /// No gain.
    #[must_use]
    pub const fn new(rows: usize, x: Rows<'a, T>, dy: Rows<'a, D>) -> Self {
        Self { rows, x, dy, dsum: None, gain: None }
    }
}

#[cfg(feature = "gpu")]
impl<'a, T: Element, P: Element> BackwardInputs<'a, T, P> {
    /// Every tensor by its name.
    pub(crate) fn given(&self) -> [(&'static str, Option<HostTensor<'a>>); 4] {
        [
            ("x", Some(self.x.into())),
            ("dy", Some(self.dy.into())),
            ("dsum", self.dsum.map(Into::into)),
            ("gain", self.gain.map(Into::into)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_names_the_field_that_is_out_of_range() {
        let good = Problem { cols: 4, ..Problem::default() };
        assert_eq!(good.validate(), Ok(()));
        let message = |problem: Problem| problem.validate().unwrap_err().to_string();
        assert!(message(Problem { cols: 0, ..good }).starts_with("cols"), "zero cols");
        assert!(
            message(Problem { cols: Problem::MAX_COLS + 1, ..good }).starts_with("cols"),
            "too many cols"
        );
        for eps in [0.0, 1e-40, 1e-29] {
            assert_eq!(Problem { eps, ..good }.validate(), Ok(()), "eps {eps}");
        }
        for eps in [-1.0, -1e-40, f32::NAN, f32::INFINITY] {
            assert!(message(Problem { eps, ..good }).starts_with("eps"), "eps {eps}");
        }
        assert!(
            message(Problem { parameter_dtype: Dtype::F16, ..good }).starts_with("parameter_dtype"),
            "f32 rows with f16 parameters"
        );
    }

    /// Those of the host too: what is not given to a device is not uploaded.
    #[cfg(feature = "gpu")]
    #[test]
    fn inputs_have_every_tensor_of_their_operation() {
        use crate::op::Role;
        use crate::plan::{Backward, Forward, Operation, Tensor};
        let values = [0.0_f32; 4];
        let rows = Rows { data: &values[..], stride: 4 };
        let forward = ForwardInputs {
            residual: Some(rows),
            gain: Some(&values[..]),
            bias: Some(&values[..]),
            ..ForwardInputs::new(1, rows)
        };
        let backward = BackwardInputs {
            dsum: Some(rows),
            gain: Some(&values[..]),
            ..BackwardInputs::new(1, rows, rows)
        };
        let check = |operation: Operation, given: &[(&'static str, Option<HostTensor<'_>>)]| {
            // Backward's statistics are computed on the device.
            let from_host = |tensor| tensor != Tensor::Statistics;
            for used in operation.of_call(Affine::GainBias) {
                let name = used.tensor.name();
                let is_there = given.iter().any(|(has, given)| *has == name && given.is_some());
                assert!(
                    used.role == Role::Output || !from_host(used.tensor) || is_there,
                    "{name} of {operation:?}"
                );
            }
        };
        Forward::all().into_iter().for_each(|options| check(Operation::Forward(options), &forward.given()));
        Backward::all()
            .into_iter()
            .for_each(|options| check(Operation::Backward(options), &backward.given()));
    }

    #[test]
    fn rows_have_one_type_of_sixteen_bits() {
        use Dtype::{Bf16, F16, F32};
        let problem = |dtype, y_dtype, residual_dtype| {
            let problem = Problem { cols: 4, dtype, ..Problem::default() };
            Problem { y_dtype: Some(y_dtype), residual_dtype: Some(residual_dtype), ..problem }.validate()
        };
        for sixteen in [F16, Bf16] {
            for dtypes in
                [[F32, sixteen, F32], [F32, F32, sixteen], [F32, sixteen, sixteen], [sixteen, F32, F32]]
            {
                let [dtype, y_dtype, residual_dtype] = dtypes;
                assert_eq!(problem(dtype, y_dtype, residual_dtype), Ok(()), "{dtypes:?}");
            }
        }
        let message = problem(F16, Bf16, F32).unwrap_err().to_string();
        assert_eq!(message, "y_dtype is bf16, needs to be f16 or f32: rows have one type of 16 bits");
        let message = problem(F32, F16, Bf16).unwrap_err().to_string();
        assert_eq!(message, "residual_dtype is bf16, needs to be f16 or f32: rows have one type of 16 bits");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        fn check<T: FromStr<Err = Error> + fmt::Display + PartialEq + fmt::Debug>(all: &[T], says: &str) {
            for word in all {
                assert_eq!(word.to_string().parse().as_ref(), Ok(word));
            }
            for wrong in ["", "F32", " layer", "gain-bias"] {
                let error = wrong.parse::<T>().unwrap_err();
                assert_eq!(error.to_string(), says.replace("TEXT", &format!("{wrong:?}")));
            }
        }
        check(&Dtype::ALL, "dtype is TEXT, needs to be one of f32, f16, bf16");
        check(&Normalization::ALL, "normalization is TEXT, needs to be one of layer, rms");
        check(
            &Affine::ALL,
            "affine is TEXT, needs to be one of none, gain, gain_bias, zero_centered_gain, zero_centered_gain_bias",
        );
        check(&Gradient::ALL, "gradient is TEXT, needs to be one of overwrite, accumulate");
    }

    #[test]
    fn sixteen_bits_are_rounded_once() {
        let (a_hair, tie_f16, tie_bf16) = (2_f64.powi(-40), 2_f64.powi(-11), 2_f64.powi(-8));
        for sign in [1.0, -1.0] {
            let f16 = |value: f64| <f16 as Real>::from_f64(sign * value).to_f64() * sign;
            assert_eq!(f16(1.0 + tie_f16), 1.0, "to even");
            assert_eq!(f16(1.0 + tie_f16 + a_hair), 1.0 + 2.0 * tie_f16, "just above a tie");
            assert_eq!(f16(1.0 + 3.0 * tie_f16 - a_hair), 1.0 + 2.0 * tie_f16, "just below a tie");
            assert_eq!(f16(2_f64.powi(-25)), 0.0, "half the smallest");
            assert_eq!(
                f16(2_f64.powi(-25) + 2_f64.powi(-70)),
                2_f64.powi(-24),
                "just above half the smallest"
            );
            assert_eq!(f16(65520.0 - 2_f64.powi(-30)), 65504.0, "the largest");
            assert_eq!(f16(65520.0), f64::INFINITY, "beyond the largest");

            let bf16 = |value: f64| <bf16 as Real>::from_f64(sign * value).to_f64() * sign;
            assert_eq!(bf16(1.0 + tie_bf16), 1.0, "to even");
            assert_eq!(bf16(1.0 + tie_bf16 + a_hair), 1.0 + 2.0 * tie_bf16, "just above a tie");
            assert_eq!(bf16(1.0 + 3.0 * tie_bf16 - a_hair), 1.0 + 2.0 * tie_bf16, "just below a tie");
            assert_eq!(bf16(2_f64.powi(-200)), 0.0, "below the smallest float32");
            assert_eq!(bf16(1e300), f64::INFINITY, "beyond the largest float32");
            assert_eq!(bf16(f64::INFINITY), f64::INFINITY);
            assert!(bf16(f64::NAN).is_nan());
        }
    }

    #[test]
    fn sixteen_bit_values_survive_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(
                half.is_nan() || <f16 as Real>::from_f64(Real::to_f64(half)).to_bits() == bits,
                "{half:e}"
            );
            assert!(
                brain.is_nan() || <bf16 as Real>::from_f64(Real::to_f64(brain)).to_bits() == bits,
                "{brain:e}"
            );
        }
    }

    #[test]
    fn a_unit_roundoff_is_half_the_step_after_one() {
        assert_eq!(Dtype::F32.unit_roundoff(), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(Dtype::F16.unit_roundoff(), f16::EPSILON.to_f64() / 2.0);
        assert_eq!(Dtype::Bf16.unit_roundoff(), bf16::EPSILON.to_f64() / 2.0);
    }
}
