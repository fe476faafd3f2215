//! How the kernels ran, in words, and at which widths.

use super::section::{Place, Section, shape};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::sheet::Sheet;
use std::collections::BTreeSet;

pub(super) const PLANS: &str = "Cached: the row stays in registers. Streamed: it is read again. A row's sums are added \
                     up by lanes (its threads are part of a subgroup), by subgroup (they are one), by \
                     subgroups or by workgroup memory. 4 at a time: a thread reads or writes four neighbors \
                     at once. A call with dgain and dbias has a second dispatch, which adds up the partial \
                     sums of the first. Widths are cols.";

/// How the kernels ran, in words: a row for each machine and plan, with the widths that have it.
pub(super) fn plans(machines: &[Machine<'_>], section: &Section<'_>) -> Option<Sheet> {
    let is_alone = machines.len() == 1;
    let header: &[&str] = if is_alone { &["cols", "plan"] } else { &["machine", "cols", "plan"] };
    let mut sheet = Sheet::new(&format!("Plans: {}", section.title), header, 0..0);
    for (index, measurements) in &section.machines {
        let planned: Vec<(Place, String)> = measurements
            .iter()
            .filter_map(|(place, measurement)| Some((*place, measurement.plan.as_ref().map(Plan::words)?)))
            .collect();
        let mut words: Vec<&str> = Vec::new();
        for (_, plan) in &planned {
            if !words.contains(&plan.as_str()) {
                words.push(plan);
            }
        }
        for plan in words {
            let mut row = if is_alone { Vec::new() } else { vec![machines[*index].label.clone()] };
            row.extend([widths(&planned, plan), plan.to_owned()]);
            sheet.rows.push(row);
        }
    }
    (!sheet.rows.is_empty()).then_some(sheet)
}

/// The widths that have a plan: `64, 256 to 1024`. Where a width has several plans, its shapes.
fn widths(planned: &[(Place, String)], plan: &str) -> String {
    let all: BTreeSet<u32> = planned.iter().map(|((cols, ..), _)| *cols).collect();
    // Neighbors among the widths that were measured, from the first to the last.
    let mut runs: Vec<(u32, u32, usize)> = Vec::new();
    let mut shapes: Vec<String> = Vec::new();
    for cols in &all {
        let of_width = || planned.iter().filter(|(place, _)| place.0 == *cols);
        if of_width().all(|(_, other)| other == plan) {
            match runs.last_mut() {
                Some((_, last, count)) if all.range(*last + 1..*cols).next().is_none() => {
                    (*last, *count) = (*cols, *count + 1);
                }
                _ => runs.push((*cols, *cols, 1)),
            }
        } else {
            shapes.extend(of_width().filter(|(_, other)| other == plan).map(|(place, _)| shape(*place)));
        }
    }
    let runs = runs.into_iter().map(|(first, last, count)| match count {
        1 => first.to_string(),
        2 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    runs.chain(shapes).collect::<Vec<_>>().join(", ")
}
