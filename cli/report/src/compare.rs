//! Any number of reports beside each other.

use crate::cells::{one_line, or_dash};
use crate::faults::faults;
use crate::format::{Adapter, Report};
use crate::machine::{Machine, machines};
use crate::measurements::measurements;
use crate::sheet::{Sheet, wrapped};
use crate::verification::verification;

/// A line for each machine that says what its letter stands for.
#[must_use]
pub fn legend(reports: &[Report]) -> String {
    let line =
        |machine: &Machine<'_>| wrapped(&machine.to_string(), usize::from(Sheet::COLUMNS), "   ") + "\n";
    machines(reports).iter().map(line).collect()
}

/// The title of what comes first.
pub(crate) const MACHINES: &str = "Machines";

/// Everything in the reports: which they are, throughput, plans, errors, and all that failed.
#[must_use]
pub fn compare(reports: &[Report]) -> Vec<Sheet> {
    let mut sheets = vec![adapters(reports)];
    sheets.extend(measurements(reports));
    sheets.extend(verification(reports));
    sheets.extend(faults(reports));
    sheets
}

fn adapters(reports: &[Report]) -> Sheet {
    let header = ["machine", "adapter", "driver", "host", "subgroups, f16", "reports"];
    let mut sheet = Sheet::new(MACHINES, &header, 0..0);
    for machine in machines(reports) {
        let Adapter { name, backend, device_type, driver, driver_info, host, .. } = machine.adapter();
        let subgroups = match machine.adapter().subgroup_sizes {
            None => "no subgroups".to_owned(),
            Some([min, max]) if min == max => format!("subgroups of {min}"),
            Some([min, max]) => format!("subgroups of {min} to {max}"),
        };
        let f16 = if machine.adapter().shader_f16 { "f16" } else { "no f16" };
        let holds = |report: &&Report| {
            let holds = match (&report.error, &report.measurements, &report.verify) {
                (Some(error), ..) => format!("FAILED: {}", one_line(error)),
                (None, Some(_), Some(_)) => "measurements, verification".to_owned(),
                (None, Some(_), None) => "measurements".to_owned(),
                (None, None, Some(_)) => "verification".to_owned(),
                (None, None, None) => "nothing".to_owned(),
            };
            format!("{holds}, by {} {}, {}", report.made_by, report.crate_version, report.date)
        };
        let reports: Vec<String> = machine.reports.iter().map(holds).collect();
        let adapter: Vec<&str> =
            [name.as_str(), backend, device_type].into_iter().filter(|part| !part.is_empty()).collect();
        sheet.rows.push(vec![
            machine.label.clone(),
            or_dash(&adapter.join(", ")),
            or_dash(format!("{driver} {driver_info}").trim()),
            or_dash(host),
            format!("{subgroups}, {f16}"),
            reports.join("; "),
        ]);
    }
    sheet
}
