//! How far a result may be from float64. `docs/numerics.md` derives it.

use crate::types::{Activation, Dtype};

/// What float32 arithmetic may be off, in units of 2^-24 of the terms that a value is made of.
pub const FLOAT32_UNITS: f64 = 4.0;

/// What storing may be off, in units in the last place of a 16-bit type.
const LAST_PLACES: f64 = 1.0;

/// The smallest normal float32: adapters may take anything below it as 0.
pub(crate) const SMALLEST_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// How far an activation leaves y off, as a part of what is allowed: 14 units of the terms of what it is
/// applied to, most of which WGSL allows exp and division, see docs/numerics.md. The same share of dy is how
/// far its slope may be off.
pub(crate) const fn activation_share(activation: Activation) -> f64 {
    if activation.is_some() { 14.0 / FLOAT32_UNITS } else { 1.0 }
}

/// The most that the slope of an activation changes by a change of z of at most `off`, for each unit of that
/// change. The derivative of the slope is at most 1/2, falls off as `(2 + |z|) * exp(-|z|)`, and changes by
/// at most 1/2 itself.
pub(crate) fn curvature(activation: Activation, z: f64, off: f64) -> f64 {
    match activation {
        Activation::None => 0.0,
        Activation::Silu => {
            let nearest = (z.abs() - off).max(0.0);
            let sigmoid = 1.0 / (1.0 + (-z.abs()).exp());
            let own = sigmoid * (1.0 - sigmoid) * (2.0 + z.abs() * (1.0 - 2.0 * sigmoid));
            (own.abs() + 0.5 * off).min((2.0 + nearest) * (-nearest).exp()).min(0.5)
        }
    }
}

/// A value that the reference computed, and how to judge the value that the GPU stored in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// In float64.
    pub(crate) value: f64,
    /// The size of the terms that it is made of: float32 rounds relative to this.
    pub(crate) terms: f64,
    /// An error that flushing subnormal numbers to 0 explains.
    pub(crate) flushed: f64,
}

impl Expected {
    /// The error of `got`, a value of `dtype`, in the units of [`OutputError`](super::OutputError).
    pub(crate) fn units(&self, dtype: Dtype, got: f64) -> f64 {
        if self.value.is_nan() || got.is_nan() {
            return if self.value.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if self.value == got {
            return 0.0;
        }
        let unit = self.terms * Dtype::F32.unit_roundoff();
        match dtype {
            Dtype::F32 => {
                let is_beyond = self.value.is_finite() && self.value.abs() >= f64::from(f32::MAX);
                let in_range = |value| if is_beyond { saturated(dtype, value) } else { value };
                let error = (in_range(got) - in_range(self.value)).abs();
                ratio((error - self.flushed).max(0.0), unit)
            }
            Dtype::F16 | Dtype::Bf16 => {
                let (got, value) = (saturated(dtype, got), saturated(dtype, self.value));
                // Where a term is infinite, the value is, and nothing is explained.
                let explained = if unit.is_finite() { FLOAT32_UNITS * unit + self.flushed } else { 0.0 };
                let error = ((got - value).abs() - explained).max(0.0);
                ratio(error, last_place(dtype, value))
            }
        }
    }

    /// The most units that pass.
    pub(crate) const fn allowed(dtype: Dtype) -> f64 {
        match dtype {
            Dtype::F32 => FLOAT32_UNITS,
            Dtype::F16 | Dtype::Bf16 => LAST_PLACES,
        }
    }
}

/// 0 of anything is 0; something of nothing, and infinitely much of anything, is infinite.
fn ratio(error: f64, unit: f64) -> f64 {
    match error {
        0.0 => 0.0,
        _ if error.is_infinite() => f64::INFINITY,
        _ => error / unit,
    }
}

/// Past the largest finite number lies infinity, one place away: some adapters round there, some stop before
/// it.
fn saturated(dtype: Dtype, value: f64) -> f64 {
    let beyond = match dtype {
        Dtype::F32 | Dtype::Bf16 => 2_f64.powi(128),
        Dtype::F16 => 65_536.0,
    };
    value.clamp(-beyond, beyond)
}

/// The distance between the numbers of a 16-bit type next to `value`.
fn last_place(dtype: Dtype, value: f64) -> f64 {
    let (fraction_bits, least_exponent) = match dtype {
        Dtype::F32 => (23, -126),
        Dtype::F16 => (10, -14),
        Dtype::Bf16 => (7, -126),
    };
    // The exponent of a normal float64; 0 and below are subnormal in every type here.
    let exponent = (value.abs().to_bits() >> 52) as i32 - 1023;
    2_f64.powi(exponent.max(least_exponent) - fraction_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn expected(value: f64, terms: f64) -> Expected {
        Expected { value, terms, flushed: 0.0 }
    }

    #[test]
    fn the_last_place_is_the_distance_to_the_next_number() {
        assert_eq!(last_place(Dtype::F16, 1.0), half::f16::EPSILON.to_f64());
        assert_eq!(last_place(Dtype::Bf16, -1.5), half::bf16::EPSILON.to_f64());
        assert_eq!(last_place(Dtype::F16, 1e-9), half::f16::from_bits(1).to_f64());
        assert_eq!(last_place(Dtype::F16, 65_504.0), 32.0);
    }

    #[test]
    fn units_count_from_the_expected_value() {
        let one = Dtype::F32.unit_roundoff();
        assert_eq!(expected(1.0, 1.0).units(Dtype::F32, 1.0 + 4.0 * one), 4.0);
        assert_eq!(expected(0.0, 0.0).units(Dtype::F32, 0.0), 0.0);
        assert_eq!(expected(0.0, 0.0).units(Dtype::F32, 1e-30), f64::INFINITY);
        assert!(expected(1.0, 1.0).units(Dtype::F16, 1.0 + 1.5 / 1024.0) > 1.0, "one and a half places");
        assert!(expected(70_000.0, 1.0).units(Dtype::F16, f64::INFINITY) == 0.0, "overflow is rounding");
        assert_eq!(expected(6e38, 6e38).units(Dtype::F32, f64::INFINITY), 0.0, "overflow is rounding");
        assert!(expected(6e38, 6e38).units(Dtype::F32, f64::NEG_INFINITY) > 4.0, "of the other sign");
        assert!(expected(1e38, 1e38).units(Dtype::F32, f64::INFINITY) > 4.0, "within the range");
    }

    #[test]
    fn nan_is_right_only_where_nan_is_expected() {
        assert_eq!(expected(f64::NAN, 1.0).units(Dtype::F32, f64::NAN), 0.0);
        assert_eq!(expected(f64::NAN, 1.0).units(Dtype::F16, 1.0), f64::INFINITY);
        assert_eq!(expected(1.0, 1.0).units(Dtype::Bf16, f64::NAN), f64::INFINITY);
        assert_eq!(expected(f64::INFINITY, 1.0).units(Dtype::F32, f64::INFINITY), 0.0);
        assert!(expected(f64::INFINITY, f64::INFINITY).units(Dtype::F32, 1.0) > 1e300, "finite for infinite");
        assert!(expected(1.0, 1.0).units(Dtype::F32, f64::INFINITY) > 1e300, "infinite for finite");
    }
}
