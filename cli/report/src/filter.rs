//! A part of what some reports have measured.

use crate::format::{Measurement, Report};
use crate::key::{DTYPES, OPERATIONS, rank};
use std::collections::BTreeSet;

/// Which measurements to show; an empty list is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rows and cols.
    pub shapes: Vec<(u64, u32)>,
    /// Storages of the rows.
    pub dtypes: Vec<String>,
    /// Operations.
    pub operations: Vec<String>,
}

/// Nothing in the reports is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoMatch(String);

impl Filter {
    /// Whether it takes everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty() && self.dtypes.is_empty() && self.operations.is_empty()
    }

    fn takes(&self, measurement: &Measurement) -> bool {
        let Self { shapes, dtypes, operations } = self;
        (shapes.is_empty() || shapes.contains(&(measurement.rows, measurement.cols)))
            && (dtypes.is_empty() || dtypes.contains(&measurement.dtype))
            && (operations.is_empty() || operations.contains(&measurement.operation))
    }

    /// Leaves of the reports the measurements that it takes. A verification is of no single shape or storage:
    /// unless the filter is empty there is none left.
    ///
    /// # Errors
    /// Where one of the values is in no report, or no measurement has all that was asked for: what there is.
    pub fn apply(&self, reports: &mut [Report]) -> Result<(), NoMatch> {
        if self.is_empty() {
            return Ok(());
        }
        let all = || reports.iter().flat_map(|report| report.measurements.iter().flatten());
        if all().next().is_none() {
            return Err(NoMatch("there are no measurements in the reports to choose from".to_owned()));
        }
        let shapes: BTreeSet<(u32, u64)> = all().map(|one| (one.cols, one.rows)).collect();
        let shapes: Vec<String> = shapes.iter().map(|(cols, rows)| format!("{rows}x{cols}")).collect();
        let wanted: Vec<String> = self.shapes.iter().map(|(rows, cols)| format!("{rows}x{cols}")).collect();
        let dtypes: BTreeSet<_> = all().map(|one| rank(&DTYPES, &one.dtype)).collect();
        let dtypes: Vec<String> = dtypes.into_iter().map(|(_, name)| name.to_owned()).collect();
        let operations: BTreeSet<_> = all().map(|one| rank(&OPERATIONS, &one.operation)).collect();
        let operations: Vec<String> = operations.into_iter().map(|(_, name)| name.to_owned()).collect();
        check("--shape", &wanted, &shapes)?;
        check("--dtype", &self.dtypes, &dtypes)?;
        check("--operation", &self.operations, &operations)?;
        if !all().any(|one| self.takes(one)) {
            // Each of the values is there, but not together.
            let list = |flag: &str, values: &[String]| match values {
                [] => String::new(),
                values => format!(" {flag} {}", values.join(" ")),
            };
            let asked = [
                list("--shape", &wanted),
                list("--dtype", &self.dtypes),
                list("--operation", &self.operations),
            ];
            let mut there: Vec<String> = Vec::new();
            let of_shape =
                all().filter(|one| Self { shapes: self.shapes.clone(), ..Self::default() }.takes(one));
            for one in of_shape {
                let name = format!("{}/{}/{}x{}", one.operation, one.dtype, one.rows, one.cols);
                if !there.contains(&name) {
                    there.push(name);
                }
            }
            return Err(NoMatch(format!(
                "no measurement is of all of{}; there are: {}",
                asked.concat(),
                shortened(&there)
            )));
        }
        for report in reports {
            report.verify = None;
            if let Some(measurements) = &mut report.measurements {
                measurements.retain(|measurement| self.takes(measurement));
            }
        }
        Ok(())
    }
}

/// That each of the values is among those that there are.
fn check(flag: &str, wanted: &[String], there: &[String]) -> Result<(), NoMatch> {
    match wanted.iter().find(|value| !there.contains(value)) {
        Some(value) => {
            Err(NoMatch(format!("{flag} {value}: not in the reports; there are: {}", there.join(", "))))
        }
        None => Ok(()),
    }
}

fn shortened(names: &[String]) -> String {
    const MOST: usize = 12;
    match names.len() {
        ..=MOST => names.join(", "),
        more => format!("{} and {} more", names[..MOST].join(", "), more - MOST),
    }
}
