//! y in codes of 8 bits.

use crate::{CodeDtype, CodeFormat, Error};

/// What [`codes`] gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Codes {
    /// A code for each y.
    pub codes: Vec<u8>,
    /// The unit of each row: the one that was given, if one was.
    pub units: Vec<f32>,
}

/// y in codes of 8 bits, rows of `cols` values one after the other.
///
/// ```text
/// unit = max(max_cols |y| / largest, 2^-126)      largest: 127 for int8, 448 for fp8; or as it is given
/// code = round(clamp(y / unit, -largest, largest))   to the nearest code, ties to the even one
/// ```
///
/// [`forward`](super::forward) writes y without rounding where its type is `f64`. Where a unit is found, a
/// row with a y that is not finite has NaN as its unit, and [the code of NaN](CodeDtype::code) in all
/// columns; where it is given, so has a y that is NaN, and an infinite one is the largest code.
///
/// # Errors
/// [`Error::Invalid`] where y is not whole rows, or a unit that is given not 2^-126 to 2^126.
pub fn codes(format: &CodeFormat, cols: usize, y: &[f64]) -> Result<Codes, Error> {
    if cols == 0 || !y.len().is_multiple_of(cols) {
        return Err(Error::invalid("the length of y", y.len(), format!("a multiple of cols, {cols}")));
    }
    if let Some(unit) = format.unit {
        CodeDtype::check_unit("unit", unit)?;
    }
    let dtype = format.dtype;
    let mut result = Codes { codes: Vec::with_capacity(y.len()), units: Vec::with_capacity(y.len() / cols) };
    for row in y.chunks(cols) {
        let unit = format.unit.unwrap_or_else(|| unit_of_row(dtype, row));
        result.codes.extend(row.iter().map(|y| dtype.code(y / f64::from(unit))));
        result.units.push(unit);
    }
    Ok(result)
}

#[allow(clippy::cast_possible_truncation, reason = "rounded once")]
fn unit_of_row(dtype: CodeDtype, row: &[f64]) -> f32 {
    if row.iter().any(|y| !y.is_finite()) {
        return f32::NAN;
    }
    let largest = row.iter().map(|y| y.abs()).fold(0.0, f64::max);
    ((largest / f64::from(dtype.largest())) as f32).max(CodeDtype::LEAST_UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_units_of_their_own() {
        let y = [254.0, -1.0, 3.0, 0.0, 0.0, 0.0, 1.0, f64::NAN, 2.0];
        let Codes { codes: got, units } = codes(&CodeFormat::per_row(CodeDtype::Int8), 3, &y).unwrap();
        // -0.5 and 1.5 are ties.
        assert_eq!(got, [127, 0, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!((units[0], units[1]), (2.0, CodeDtype::LEAST_UNIT));
        assert!(units[2].is_nan());
        let given = CodeFormat::with_unit(CodeDtype::Fp8E4m3, 0.5);
        let Codes { codes: got, units } = codes(&given, 3, &y).unwrap();
        assert_eq!(got[..3], [0x7e, 0xc0, 0x4c], "saturated, -2 and 6");
        assert_eq!((got[6..].to_vec(), units), (vec![0x40, 0x7f, 0x48], vec![0.5; 3]));
        assert!(codes(&given, 2, &y).unwrap_err().to_string().contains("a multiple of cols"));
        let too_small = CodeFormat::with_unit(CodeDtype::Int8, 1e-39);
        assert!(codes(&too_small, 3, &y).unwrap_err().to_string().starts_with("unit is"));
    }
}
