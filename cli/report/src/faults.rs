//! Everything in reports that is not as it should be, as a table.

use crate::cells::one_line;
use crate::format::Report;
use crate::key::Key;
use crate::machine::machines;
use crate::sheet::Sheet;

/// Every failure, every reason for what is not supported, and how many cases were left out.
#[must_use]
pub fn faults(reports: &[Report]) -> Option<Sheet> {
    let mut sheet = Sheet::new("Not as it should be", &["machine", "what", "how", "why"], 0..0);
    let mut add = |label: &str, what: &str, how: &str, why: &str| {
        sheet.rows.push([label, what, how, &one_line(why)].map(str::to_owned).into());
    };
    let machines = machines(reports);
    let reports = machines
        .iter()
        .flat_map(|machine| machine.reports.iter().map(|report| (machine.label.as_str(), *report)));
    for (label, report) in reports {
        if let Some(error) = &report.error {
            add(label, "the adapter", "FAILED", error);
        }
        for measurement in report.measurements.iter().flatten() {
            if let Some(failure) = &measurement.failure {
                add(label, &Key::of(measurement).to_string(), failure.kind.name(), &failure.message);
            }
        }
        for run in report.verify.iter().flatten() {
            if let Some(error) = &run.error {
                add(label, &format!("verification, {}", run.mode), "FAILED", error);
            }
            if run.error.is_none() && run.left_out() > 0 {
                let why = format!("{} of {} cases", run.left_out(), run.all_cases);
                add(label, &format!("verification, {}", run.mode), "not run", &why);
            }
            for case in &run.failures {
                add(label, &format!("{}, {}", case.case, run.mode), "FAILED", &case.failures.join("; "));
            }
            for unsupported in &run.unsupported {
                let count = unsupported.cases.len();
                let cases = if count == 1 { "case" } else { "cases" };
                let what = format!("{count} {cases}, {}", run.mode);
                add(label, &what, "not supported", &unsupported.reason);
            }
        }
    }
    (!sheet.rows.is_empty()).then_some(sheet)
}
