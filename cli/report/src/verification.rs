//! The kernels against the reference, as a table.

use crate::format::{OutputError, Report, VerifyRun};
use crate::key::{DTYPES, rank};
use crate::machine::machines;
use crate::sheet::Sheet;
use std::collections::BTreeSet;

/// The outputs that share a column.
const CLASSES: [(&str, &[&str]); 4] = [
    ("y, sum", &["y", "sum"]),
    ("statistics", &["statistics"]),
    ("dx", &["dx"]),
    ("dgain, dbias", &["dgain", "dbias"]),
];

/// The kernels against the reference: a row for each kernel and dtype of any report, and each machine that
/// verifies.
#[must_use]
pub fn verification(reports: &[Report]) -> Option<Sheet> {
    let machines = machines(reports);
    let runs: Vec<(&str, &VerifyRun)> = machines
        .iter()
        .flat_map(|machine| machine.verify().map(|run| (machine.label.as_str(), run)))
        .collect();
    if runs.is_empty() {
        return None;
    }
    let is_alone = machines.len() == 1;
    let mut header = vec!["kernel", "dtype"];
    if !is_alone {
        header.push("machine");
    }
    header.push("mode");
    let first = header.len();
    header.extend(["cases", "failed", "not supported"]);
    header.extend(CLASSES.map(|(name, _)| name));
    let mut sheet = Sheet::new("Verification", &header, first..header.len());
    sheet.note = "Against the float64 reference, in two modes: full, with all that the adapter offers, and plain, \
                  without subgroup operations and 16-bit floats. Errors are the worst, in units of the storage type's \
                  rounding."
        .to_owned();
    let names: BTreeSet<(&str, (usize, &str))> = runs
        .iter()
        .flat_map(|(_, run)| &run.kernels)
        .map(|group| (kernel_name(group.kernel.as_deref()), rank(&DTYPES, &group.dtype)))
        .collect();
    for (kernel, (_, dtype)) in names {
        for (label, run) in &runs {
            let mut row = vec![kernel.to_owned(), dtype.to_owned()];
            if !is_alone {
                row.push((*label).to_owned());
            }
            row.push(run.mode.name().to_owned());
            let group = run
                .kernels
                .iter()
                .find(|group| kernel_name(group.kernel.as_deref()) == kernel && group.dtype == dtype);
            match (group, &run.error) {
                (Some(group), _) => {
                    row.extend([group.cases, group.failed, group.unsupported].map(|count| count.to_string()));
                    row.extend(CLASSES.map(|(_, outputs)| worst(&group.errors, outputs)));
                }
                // Cases that did not run at all are an entry of their own, and most runs have none.
                (None, None) if kernel == DID_NOT_RUN => continue,
                (None, error) => {
                    row.push(if error.is_some() { "FAILED" } else { "not run" }.to_owned());
                    row.extend(vec!["-".to_owned(); 2 + CLASSES.len()]);
                }
            }
            sheet.rows.push(row);
        }
    }
    Some(sheet)
}

const DID_NOT_RUN: &str = "did not run";

fn kernel_name(kernel: Option<&str>) -> &str {
    kernel.unwrap_or(DID_NOT_RUN)
}

fn worst(errors: &[OutputError], outputs: &[&str]) -> String {
    let of_class = errors.iter().filter(|error| outputs.contains(&error.output.as_str()));
    let worst = of_class.map(|error| error.units).reduce(f64::max);
    worst.map_or_else(|| "-".to_owned(), |units| format!("{units:.2}"))
}
