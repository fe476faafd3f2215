//! Tables of what was measured: how fast the kernels ran on each machine, and how.

mod plans;
mod section;
mod side_by_side;
mod times;

pub(crate) use side_by_side::IN_SHORT;

use crate::format::Report;
use crate::machine::machines;
use crate::sheet::Sheet;
use plans::{PLANS, plans};
use section::Section;
use side_by_side::{SIDE_BY_SIDE, side_by_side, summary};
use times::{details, details_note};

/// Throughput: the machines side by side, then each with its times, then how the kernels ran.
#[must_use]
pub fn measurements(reports: &[Report]) -> Vec<Sheet> {
    let machines = machines(reports);
    let sections = Section::all(&machines);
    let mut sheets = summary(&machines, &sections);
    let mut is_first = true;
    for section in &sections {
        let mut side_by_side = side_by_side(&machines, section);
        if let (true, Some(sheet)) = (is_first, side_by_side.first_mut()) {
            sheet.note = SIDE_BY_SIDE.to_owned();
            is_first = false;
        }
        sheets.extend(side_by_side);
    }
    for (index, section) in sections.iter().enumerate() {
        let mut sheet = details(&machines, section);
        if index == 0 {
            sheet.note = details_note(&machines);
        }
        sheets.push(sheet);
    }
    let mut plans: Vec<Sheet> = sections.iter().filter_map(|section| plans(&machines, section)).collect();
    if let Some(sheet) = plans.first_mut() {
        sheet.note = PLANS.to_owned();
    }
    sheets.extend(plans);
    sheets
}
