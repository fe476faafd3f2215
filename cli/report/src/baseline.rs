//! A report against an earlier one of the same adapter.

use crate::cells::duration;
use crate::format::Report;
use crate::key::Key;
use crate::sheet::Sheet;

/// A measurement then and now, in seconds; `None` where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What was measured.
    pub key: Key,
    /// In the baseline.
    pub before: Option<f64>,
    /// In the report.
    pub after: Option<f64>,
}

impl Change {
    /// How much longer it takes: 0.1 is a tenth more.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        Some(self.after? / self.before? - 1.0)
    }

    /// Whether it takes longer by more than the margin, or cannot be measured any more.
    #[must_use]
    pub fn is_worse(&self, margin: f64) -> bool {
        match self.growth() {
            Some(growth) => growth > margin,
            None => self.before.is_some(),
        }
    }
}

/// The measurements of `report`, each with that of the baseline. What only the baseline has was not asked for
/// now.
#[must_use]
pub fn changes(baseline: &Report, report: &Report) -> Vec<Change> {
    let before: Vec<_> = baseline.measurements.iter().flatten().map(|then| (Key::of(then), then)).collect();
    let mut changes: Vec<Change> = report
        .measurements
        .iter()
        .flatten()
        .map(|now| {
            let key = Key::of(now);
            let then = before.iter().find(|(other, _)| *other == key);
            Change {
                before: then.and_then(|(_, then)| Some(then.timing.as_ref()?.median_seconds)),
                after: now.timing.as_ref().map(|timing| timing.median_seconds),
                key,
            }
        })
        .collect();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// The report in `baselines` of the adapter that `report` is of.
#[must_use]
pub fn matching<'a>(baselines: &'a [Report], report: &Report) -> Option<&'a Report> {
    baselines
        .iter()
        .find(|baseline| baseline.measurements.is_some() && baseline.adapter.is_same(&report.adapter))
}

/// The changes as a table.
#[must_use]
pub fn sheet(changes: &[Change], margin: f64) -> Sheet {
    let mut sheet =
        Sheet::new("Against the baseline", &["measurement", "verdict", "before", "now", "change"], 2..5);
    for change in changes {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
        let verdict = match (change.is_worse(margin), change.growth()) {
            (true, Some(_)) => "SLOWER",
            (true, None) => "NO LONGER MEASURED",
            (false, None) => "not in the baseline",
            (false, Some(growth)) if growth < -margin => "faster",
            (false, Some(_)) => "the same",
        };
        let growth =
            change.growth().map_or_else(|| "-".to_owned(), |growth| format!("{:+.1} %", 100.0 * growth));
        sheet.rows.push(vec![
            change.key.to_string(),
            verdict.to_owned(),
            time(change.before),
            time(change.after),
            growth,
        ]);
    }
    sheet
}
