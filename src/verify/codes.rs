//! Judging y in codes.

use super::OutputError;
use super::judge::Verdict;
use super::tolerance::{Expected, FLOAT32_UNITS};
use crate::op::Shape;
use crate::plan::Tensor;
use crate::types::{CodeDtype, Dtype};

/// The unit of cases that are given one: some y are beyond the largest code, and some are not.
pub(super) const GIVEN_UNIT: f32 = 0.031_25;

/// A unit is a product with a rounded quotient: two more roundings than y, of one unit each.
const UNIT: f64 = (FLOAT32_UNITS + 2.0) / FLOAT32_UNITS;

/// What a code may be off, in halves of the distance to the next one: y / unit is rounded before it is.
const HALVES: f64 = 1.0 + 1.0 / 256.0;

/// What codes stand for.
pub(super) struct CodesOf<'a, Y: Fn(usize, usize) -> Expected> {
    pub(super) dtype: CodeDtype,
    pub(super) cols: usize,
    /// y as it should be.
    pub(super) y: Y,
    /// The unit of each row as the device has found it, if it has.
    pub(super) units: Option<&'a [f32]>,
}

impl<Y: Fn(usize, usize) -> Expected> CodesOf<'_, Y> {
    /// The largest |y| of a row, whose error is that of one of them.
    fn largest(&self, row: usize) -> Expected {
        let largest = |a: Expected, b: Expected| Expected {
            value: if a.value.is_nan() || b.value.is_nan() { f64::NAN } else { a.value.max(b.value.abs()) },
            terms: a.terms.max(b.terms),
            flushed: a.flushed.max(b.flushed),
        };
        let none = Expected { value: 0.0, terms: 0.0, flushed: 0.0 };
        (0..self.cols).map(|column| (self.y)(row, column)).fold(none, largest)
    }

    /// Whether what is beyond float32 in exact numbers may be infinite in it.
    fn is_beyond(largest: &Expected) -> bool {
        largest.value.abs() + FLOAT32_UNITS * largest.terms * Dtype::F32.unit_roundoff() >= f32::MAX.into()
    }

    pub(super) fn judge_units(&self, verdict: &mut Verdict, units: &[f32]) {
        let most = f64::from(self.dtype.largest());
        verdict.judge(Tensor::Units, Dtype::F32, 1, units, |row, _| {
            let largest = self.largest(row);
            if largest.value.is_finite() && Self::is_beyond(&largest) {
                return Expected { value: units[row].into(), ..largest };
            }
            let value = match largest.value.is_finite() {
                true => (largest.value / most).max(CodeDtype::LEAST_UNIT.into()),
                false => f64::NAN,
            };
            Expected { value, terms: UNIT * largest.terms / most, flushed: largest.flushed / most }
        });
    }

    /// The codes of rows that are whole words.
    pub(super) fn judge_codes(&self, verdict: &mut Verdict, words: &[f32]) {
        #[allow(clippy::cast_possible_truncation, reason = "a problem's columns")]
        let of_row = Shape::words(self.cols as u32) as usize;
        let (mut worst, mut said) = (0.0, String::new());
        for (row, words) in words.chunks(of_row).enumerate() {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_bits().to_le_bytes()).collect();
            if let Some(behind) = bytes[self.cols..].iter().find(|byte| **byte != 0) {
                let what = format!("codes behind the last of row {row} are {behind:#x}, expected 0");
                verdict.failures.push(what);
            }
            for (column, code) in bytes[..self.cols].iter().enumerate() {
                let (y, unit) = ((self.y)(row, column), self.unit(row));
                let halves = self.halves(*code, &y, unit);
                if halves > worst {
                    worst = halves;
                    said = format!(
                        "codes[{row}, {column}] is {code:#04x}, {} times {unit:e}, expected {:e}: off by {halves:.3} \
                         halves of the distance between codes, {HALVES} allowed",
                        self.dtype.multiple(*code),
                        y.value
                    );
                }
            }
        }
        if worst > HALVES {
            verdict.failures.push(said);
        }
        verdict.errors.push(OutputError { tensor: Tensor::Codes, units: worst, allowed: HALVES });
    }

    fn unit(&self, row: usize) -> f64 {
        self.units.map_or(GIVEN_UNIT, |units| units[row]).into()
    }

    /// The error of a code in halves of the distance to the next one, beyond what y itself may be off.
    fn halves(&self, code: u8, y: &Expected, unit: f64) -> f64 {
        if unit.is_nan() || y.value.is_nan() {
            return if code == self.dtype.code_of_nan() { 0.0 } else { f64::INFINITY };
        }
        let most = f64::from(self.dtype.largest()) * unit;
        let explained = FLOAT32_UNITS * y.terms * Dtype::F32.unit_roundoff() + y.flushed;
        let value = y.value.clamp(-most, most);
        let error = (f64::from(self.dtype.multiple(code)) * unit - value).abs() - explained;
        let distance = match self.dtype {
            CodeDtype::Int8 => unit,
            CodeDtype::Fp8E4m3 => {
                let multiple = (value.abs() + explained) / unit;
                #[allow(clippy::cast_possible_truncation, reason = "-6 to 8")]
                let exponent = multiple.log2().floor().clamp(-6.0, 8.0) as i32;
                unit * 2_f64.powi(exponent - 3)
            }
        };
        if error > 0.0 {
            error / (0.5 * distance)
        } else if error.is_nan() {
            f64::INFINITY
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_judged_by_its_distance_to_the_next() {
        let y = |value| move |_, _| Expected { value, terms: 0.0, flushed: 0.0 };
        let units = [0.5];
        let halves = |dtype, code, value: f64| {
            let codes = CodesOf { dtype, cols: 1, y: y(value), units: Some(&units) };
            codes.halves(code, &(codes.y)(0, 0), 0.5)
        };
        assert_eq!(halves(CodeDtype::Int8, 2, 1.0), 0.0);
        assert_eq!(halves(CodeDtype::Int8, 2, 1.25), 1.0, "a tie");
        assert_eq!(halves(CodeDtype::Int8, 2, 1.5), 2.0, "the next one");
        assert_eq!(halves(CodeDtype::Int8, 127, 1e9), 0.0, "beyond the largest");
        assert_eq!(halves(CodeDtype::Int8, 0, f64::NAN), 0.0);
        let fp8 = |value| CodeDtype::Fp8E4m3.code(value);
        assert_eq!(halves(CodeDtype::Fp8E4m3, fp8(16.0), 8.5), 1.0, "2 between codes from 16 on");
        assert_eq!(halves(CodeDtype::Fp8E4m3, fp8(18.0), 8.0), 2.0);
        assert!(halves(CodeDtype::Fp8E4m3, fp8(1.0), f64::NAN).is_infinite());
    }
}
