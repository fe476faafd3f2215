//! What a number of samples comes to.

use std::time::Duration;

/// The middle of some samples and how far they spread. Medians, because a hiccup of the machine is an
/// outlier.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Half of the samples are below it.
    pub median: f64,
    /// A tenth of the samples are below it.
    pub p10: f64,
    /// A tenth of the samples are above it.
    pub p90: f64,
}

impl Summary {
    /// Of times, in seconds; `None` without a sample.
    pub(super) fn of(samples: &[Duration]) -> Option<Self> {
        let mut seconds: Vec<f64> = samples.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: quantile(&seconds, 0.5)?,
            p10: quantile(&seconds, 0.1)?,
            p90: quantile(&seconds, 0.9)?,
        })
    }

    /// The same of `calls` calls that took as long together.
    pub(super) fn per_call(self, calls: u32) -> Self {
        let calls = f64::from(calls);
        Self { median: self.median / calls, p10: self.p10 / calls, p90: self.p90 / calls }
    }
}

/// Between the two samples next to it, in proportion. `sorted` is.
fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = fraction * last as f64;
    let (below, above) = (at.floor(), at.ceil());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the slice")]
    let (low, high) = (sorted[below as usize], sorted[above as usize]);
    Some(low + (high - low) * (at - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn quantiles_lie_between_samples() {
        let summary = Summary::of(&seconds(&[11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).unwrap();
        assert_eq!(summary, Summary { median: 6.0, p10: 2.0, p90: 10.0 });
        let summary = Summary::of(&seconds(&[1, 2])).unwrap();
        assert!((summary.median - 1.5).abs() < 1e-12 && (summary.p10 - 1.1).abs() < 1e-12, "{summary:?}");
    }

    #[test]
    fn one_sample_is_all_and_none_is_none() {
        let summary = Summary::of(&seconds(&[3])).unwrap();
        assert_eq!((summary.p10, summary.median, summary.p90), (3.0, 3.0, 3.0));
        assert_eq!(summary.per_call(3).median, 1.0);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let calm = Summary::of(&seconds(&[4, 5, 6])).unwrap();
        let shaken = Summary::of(&seconds(&[4, 5, 6_000])).unwrap();
        assert_eq!(calm.median, shaken.median);
    }
}
