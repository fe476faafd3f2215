//! Numbers that look random and are the same every time.

/// A 64-bit linear congruential generator (Knuth, MMIX), whose upper bits are random enough for data. What is
/// given is its state.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in [-1, 1), in steps that f32 holds exactly.
    fn uniform(&mut self) -> f32 {
        self.step() as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// About normal: a sum of three uniform numbers has variance 1.
    pub(crate) fn normal(&mut self) -> f32 {
        self.uniform() + self.uniform() + self.uniform()
    }

    /// One of the numbers below `count`, which is 1 to 2^24.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        ((self.step() * count as u64) >> 24) as usize
    }

    /// The next 24 bits.
    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_that_are_promised() {
        let mut random = Random(1);
        let values: Vec<f64> = (0..10_000).map(|_| f64::from(random.normal())).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean}, {variance}");
        let mut counts = [0; 3];
        (0..3000).for_each(|_| counts[random.index(3)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
