//! Values to run cases on.

use super::Data;
use crate::types::{Dtype, Real};

/// A generator of pseudo-random numbers (Steele, Lea, Flood 2014, `SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform among the numbers below `bound`.
    #[allow(clippy::cast_possible_truncation, reason = "less than `bound`")]
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Mean 0, variance 1, nearly normal: a sum of twelve uniform numbers.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Row `row` of a tensor of rows.
pub(crate) fn fill_row<T: Real>(data: Data, dtype: Dtype, row: usize, values: &mut [T], random: &mut Random) {
    let is_f16 = dtype == Dtype::F16;
    // The largest magnitudes that leave room for the normal numbers that scale them.
    let huge = if is_f16 { 1e4 } else { 1e30 };
    let tiny = if is_f16 { 3e-7 } else { 1e-40 };
    let last = values.len() - 1;
    for (column, value) in values.iter_mut().enumerate() {
        let normal = random.normal();
        let sign = if column % 2 == 0 { 1.0 } else { -1.0 };
        *value = T::from_f64(match data {
            Data::Normal => normal,
            Data::LargeMean => (if is_f16 { 1e3 } else { 1e6 }) + normal,
            Data::Consecutive => {
                40_000.0 + (column % 4) as f64 * if dtype == Dtype::F32 { 1.0 } else { 256.0 }
            }
            Data::Spread => 800.0 * sign + normal,
            Data::NearF16Max => 60_000.0 * sign - 100.0 * normal.abs() * sign,
            Data::Constant => {
                std::f64::consts::PI * (row + 1) as f64 * if row.is_multiple_of(2) { 1.0 } else { 1e4 }
            }
            Data::Huge => huge * normal,
            Data::FullRange => sign * 3e38,
            Data::Brink => normal * ((54 + 2 * (row % 5)) as f64).exp2(),
            Data::SquareWave => {
                let period = 2 * 16 / dtype.size() as usize;
                let size = if row.is_multiple_of(2) { 1e20 } else { 3e38 };
                if column % period < period / 2 { size } else { -size }
            }
            Data::Cliff => normal * if column <= last / 2 { 1e12 } else { huge },
            Data::Subnormal => tiny * normal,
            Data::Outlier if column == row % (last + 1) => {
                if is_f16 {
                    6e4
                } else {
                    1e6
                }
            }
            Data::Outlier => normal,
            Data::NotFinite => match row % 4 {
                1 if column == last / 2 => f64::NAN,
                2 if column == last => f64::INFINITY,
                3 if column == 0 => f64::NEG_INFINITY,
                _ => normal,
            },
            Data::Alike => sign * (1.0 + 0.1 * normal.abs()),
        });
    }
}
