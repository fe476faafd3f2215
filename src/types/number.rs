//! The number types of the host.

use super::Dtype;
use bytemuck::Pod;
use half::{bf16, f16};

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

/// Rounds to odd: truncates `value` toward zero to float32 and, if that was not exact, sets the last bit
/// (Boldo, Melquiond 2008, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
/// odd").
///
/// What was cut off cannot be taken for a tie then when the result is rounded again, to 16 bits.
/// `f16::from_f64` and `bf16::from_f64` of half 2.7 round twice, or drop the low bits of `value` first.
#[inline]
fn round_to_odd(value: f64) -> f32 {
    let nearest = round_to_f32(value);
    let away = f64::from(nearest).abs() > value.abs();
    let toward_zero = f32::from_bits(nearest.to_bits() - u32::from(away));
    let exact = f64::from(toward_zero) == value;
    f32::from_bits(toward_zero.to_bits() | u32::from(!exact))
}
