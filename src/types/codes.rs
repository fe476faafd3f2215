//! Codes of 8 bits that stand for y.

use super::by_name;
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// What y of a row is stored as in 8 bits each: `y ~ code * unit`, with one unit for a row or for all. Codes
/// saturate: no y is beyond the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[doc(alias = "quantization", alias = "quantized")]
pub enum CodeDtype {
    /// Whole numbers from -127 to 127, in two's complement.
    #[doc(alias = "i8")]
    Int8,
    /// E4M3 without infinities (Micikevicius et al. 2022): a sign, 4 bits of exponent and 3 of fraction, from
    /// -448 to 448, with NaN.
    #[doc(alias = "float8_e4m3fn", alias = "e4m3")]
    Fp8E4m3,
}

impl fmt::Display for CodeDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CodeDtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("type of codes", &Self::ALL, Self::name, name)
    }
}

impl CodeDtype {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Fp8E4m3];

    /// The smallest unit that is found for a row: a row of zeros has it too. It is normal, so that no adapter
    /// takes it as 0, and so is what a unit divides 1 into.
    pub const LEAST_UNIT: f32 = f32::MIN_POSITIVE;

    /// The largest unit that can be given.
    pub const MOST_UNIT: f32 = 8.507_059e37;

    /// `int8` or `fp8`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Fp8E4m3 => "fp8",
        }
    }

    /// The largest code: 127 or 448.
    #[must_use]
    pub const fn largest(self) -> f32 {
        match self {
            Self::Int8 => 127.0,
            Self::Fp8E4m3 => 448.0,
        }
    }

    /// The code of a multiple of the unit: rounded to the nearest, ties to the even one, after it was made as
    /// small as the largest code. NaN is a NaN of `Fp8E4m3`, and 0 of `Int8`, which has none.
    #[must_use]
    pub fn code(self, multiple: f64) -> u8 {
        let largest = f64::from(self.largest());
        match self {
            _ if multiple.is_nan() => self.code_of_nan(),
            #[allow(clippy::cast_possible_truncation, reason = "within -127 to 127")]
            Self::Int8 => (multiple.clamp(-largest, largest).round_ties_even() as i8).cast_unsigned(),
            Self::Fp8E4m3 => {
                let sign = u8::from(multiple.is_sign_negative()) << 7;
                let size = multiple.abs().min(largest);
                // The distance between codes, 2^-9 among the subnormal ones.
                #[allow(clippy::cast_possible_truncation, reason = "11 bits")]
                let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(-6);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 16")]
                let steps = (size * 2_f64.powi(3 - exponent)).round_ties_even() as i32;
                // 8 steps more are the next exponent, whatever they are counted from.
                let code = steps + ((exponent + 6) << 3);
                sign | u8::try_from(code).unwrap_or(Self::Fp8E4m3.code_of_nan())
            }
        }
    }

    /// The multiple of the unit that a code is.
    #[must_use]
    pub fn multiple(self, code: u8) -> f32 {
        match self {
            Self::Int8 => code.cast_signed().into(),
            Self::Fp8E4m3 => {
                let (exponent, fraction) = (code >> 3 & 0xf, code & 7);
                let size = match (exponent, fraction) {
                    (15, 7) => f32::NAN,
                    (0, _) => f32::from(fraction) * 2_f32.powi(-9),
                    _ => f32::from(8 + fraction) * 2_f32.powi(i32::from(exponent) - 10),
                };
                if code & 0x80 == 0 { size } else { -size }
            }
        }
    }

    /// What stands for y of a row that is not finite, and for a y that is NaN.
    pub(crate) const fn code_of_nan(self) -> u8 {
        match self {
            Self::Int8 => 0,
            Self::Fp8E4m3 => 0x7f,
        }
    }

    /// That a unit can be given.
    pub(crate) fn check_unit(what: &str, unit: f32) -> Result<(), Error> {
        if (Self::LEAST_UNIT..=Self::MOST_UNIT).contains(&unit) {
            return Ok(());
        }
        Err(Error::invalid(what, unit, "2^-126 to 2^126"))
    }
}

/// Codes as a call writes them: of which type, and of which unit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CodeFormat {
    /// Their type.
    pub dtype: CodeDtype,
    /// The unit of all rows, 2^-126 to 2^126; `None` for one of each row, of which the largest |y| is the
    /// largest code.
    pub unit: Option<f32>,
}

impl CodeFormat {
    /// With a unit of each row.
    #[must_use]
    #[doc(alias = "dynamic")]
    pub const fn per_row(dtype: CodeDtype) -> Self {
        Self { dtype, unit: None }
    }

    /// With this unit.
    #[must_use]
    #[doc(alias = "static")]
    pub const fn with_unit(dtype: CodeDtype, unit: f32) -> Self {
        Self { dtype, unit: Some(unit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_they_stand_for() {
        assert_eq!(CodeDtype::MOST_UNIT, 2_f32.powi(126));
        for dtype in CodeDtype::ALL {
            for code in 0..=255 {
                let multiple = dtype.multiple(code);
                let is_code = match dtype {
                    CodeDtype::Int8 => code != 0x80,
                    CodeDtype::Fp8E4m3 => code != 0xff,
                };
                if is_code {
                    assert_eq!(dtype.code(multiple.into()), code, "{dtype} {code:#x}: {multiple}");
                }
            }
            for beyond in [500.0, 1e300, f64::INFINITY] {
                assert_eq!(dtype.multiple(dtype.code(beyond)), dtype.largest());
                assert_eq!(dtype.multiple(dtype.code(-beyond)), -dtype.largest());
            }
            assert_eq!(dtype.code(f64::NAN), dtype.code_of_nan());
        }
    }

    #[test]
    fn ties_go_to_the_even_code() {
        let int8 = [0.5, 1.5, 2.5, -0.5, -1.5].map(|multiple| CodeDtype::Int8.code(multiple).cast_signed());
        assert_eq!(int8, [0, 2, 2, 0, -2]);
        let fp8 = |multiple: f64| CodeDtype::Fp8E4m3.multiple(CodeDtype::Fp8E4m3.code(multiple));
        assert_eq!([17.0, 19.0, 21.0, -17.0].map(fp8), [16.0, 20.0, 20.0, -16.0]);
        let step = 2_f64.powi(-9);
        assert_eq!(
            [0.5, 1.5, 7.5, 0.51].map(|steps| f64::from(fp8(steps * step)) / step),
            [0.0, 2.0, 8.0, 1.0]
        );
    }
}
