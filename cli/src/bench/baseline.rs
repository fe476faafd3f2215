//! An earlier report that a run of `bench` is held against.

use crate::failure::Failure;
use crate::output;
use crate::reports;
use layernorm_report::Report;
use layernorm_report::baseline::{self, Change};
use std::fmt;
use wgpu_layernorm::wgpu;

/// What is held against the run.
pub(super) struct Baseline {
    pub(super) reports: Vec<Report>,
    /// As a fraction.
    pub(super) margin: f64,
}

/// That every adapter is in the baseline: before anything is measured in vain.
pub(super) fn check_baseline(baseline: &Baseline, adapters: &[wgpu::Adapter]) -> Result<(), Failure> {
    for adapter in adapters {
        let report = reports::new(adapter);
        if baseline::matching(&baseline.reports, &report).is_none() {
            let present: Vec<String> = baseline
                .reports
                .iter()
                .filter(|report| report.measurements.is_some())
                .map(|report| report.adapter.description())
                .collect();
            return Err(Failure::WrongCall(format!(
                "--baseline: no measurements of {}; there are those of: {}",
                report.adapter.description(),
                if present.is_empty() { "none".to_owned() } else { present.join(", ") }
            )));
        }
    }
    Ok(())
}

pub(super) fn hold_against(baseline: &Baseline, reports: &[Report]) -> Result<(), Failure> {
    let mut slower = Vec::new();
    for report in reports {
        let Some(before) = baseline::matching(&baseline.reports, report) else { continue };
        let changes = baseline::changes(before, report);
        if before.adapter.driver_info != report.adapter.driver_info {
            output::note(&format!(
                "note: the baseline is of driver {}, this run of {}",
                before.adapter.driver_info, report.adapter.driver_info
            ));
        }
        output::print(&format!("\n{}", baseline::sheet(&changes, baseline.margin).text()))?;
        let is_worse = |change: &Change| change.is_worse(baseline.margin);
        slower.extend(changes.into_iter().filter(is_worse).map(|change| Slower(change).to_string()));
    }
    match slower.len() {
        0 => Ok(()),
        count => Err(Failure::FailedRun(format!(
            "{count} measurements are slower than the baseline by more than {} %: {}",
            100.0 * baseline.margin,
            slower.join(", ")
        ))),
    }
}

struct Slower(Change);

impl fmt::Display for Slower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.growth() {
            Some(growth) => write!(f, "{} by {:.1} %", self.0.key, 100.0 * growth),
            None => write!(f, "{}, which is no longer measured", self.0.key),
        }
    }
}
