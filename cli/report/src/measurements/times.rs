//! The times, spreads and errors of each machine by itself.

use super::section::{Section, rate_or_failure, shape};
use crate::cells::{dash, duration, three_digits};
use crate::format::Measurement;
use crate::machine::Machine;
use crate::sheet::Sheet;
use std::collections::BTreeSet;

/// Times, spreads and errors: a row for each shape and machine that has measured it.
pub(super) fn details(machines: &[Machine<'_>], section: &Section<'_>) -> Sheet {
    let is_alone = machines.len() == 1;
    let mut header = vec!["rows x cols"];
    if !is_alone {
        header.push("machine");
    }
    let first = header.len();
    header.extend(["GB/s", "copy GB/s", "of copy", "time", "spread", "worst error"]);
    let title = if is_alone { "Throughput" } else { "Times" };
    let mut sheet = Sheet::new(&format!("{title}: {}", section.title), &header, first..header.len());
    for place in section.places() {
        for index in section.machines.keys() {
            let Some(measurement) = section.at(*index, place) else { continue };
            let mut row = vec![shape(place)];
            if !is_alone {
                row.push(machines[*index].label.clone());
            }
            row.extend(measurement_cells(measurement));
            sheet.rows.push(row);
        }
    }
    sheet
}

pub(super) fn details_note(machines: &[Machine<'_>]) -> String {
    let clocks: BTreeSet<&str> = machines
        .iter()
        .flat_map(Machine::measurements)
        .filter_map(|measurement| Some(measurement.timing.as_ref()?.clock.as_str()))
        .collect();
    let clocks: Vec<&str> = clocks
        .into_iter()
        .map(|clock| match clock {
            "gpu_timestamps" => "timestamps of the GPU",
            "wall" => "the wall clock, in batches",
            other => other,
        })
        .collect();
    format!(
        "GB/s count the tensors of rows, each once. The copy is the fastest plain shader that reads and writes as many \
         tensors of the same size, timed in turn with the call; 1.00 of copy is as fast. Times are medians, the spread \
         is from the 10th to the 90th percentile; timed by {}. The worst error is in units of the storage type's \
         rounding, and what passes was at most 4 in f32 and 1 in 16 bits.",
        if clocks.is_empty() { "nothing".to_owned() } else { clocks.join(" or ") }
    )
}

/// From the throughput on.
fn measurement_cells(measurement: &Measurement) -> Vec<String> {
    let mut cells = vec![rate_or_failure(measurement)];
    match &measurement.timing {
        Some(timing) => {
            let spread = |seconds: f64| (100.0 * (seconds / timing.median_seconds - 1.0)).round() + 0.0;
            cells.extend([
                three_digits(timing.copy_gigabytes_per_second),
                format!("{:.2}", timing.copy_ratio),
                duration(timing.median_seconds),
                format!("{:+} to {:+} %", spread(timing.p10_seconds), spread(timing.p90_seconds)),
            ]);
        }
        None => cells.extend([(); 4].map(|()| dash())),
    }
    let worst = measurement.errors.iter().map(|error| error.units).reduce(f64::max);
    cells.push(worst.map_or_else(dash, |units| format!("{units:.2}")));
    cells
}
