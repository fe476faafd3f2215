//! Machines as columns, and how many times as fast as the first the others are.

use super::section::{Section, rate_or_failure, shape};
use crate::cells::{dash, three_digits};
use crate::machine::Machine;
use crate::sheet::Sheet;

/// The title of how much faster each is.
pub(crate) const IN_SHORT: &str = "In short";

/// Tables of the first of `machines` and as many others as fit a terminal, until all have been in one.
fn in_groups(machines: &[usize], table: impl Fn(&[usize]) -> Sheet) -> Vec<Sheet> {
    let Some((reference, others)) = machines.split_first() else { return Vec::new() };
    let fits = |group: &[usize]| table(group).width() <= usize::from(Sheet::COLUMNS);
    let mut groups = vec![vec![*reference]];
    for other in others {
        let last = groups.len() - 1;
        let longer = [&groups[last][..], &[*other]].concat();
        if longer.len() == 2 || fits(&longer) {
            groups[last] = longer;
        } else {
            groups.push(vec![*reference, *other]);
        }
    }
    groups.iter().map(|group| table(group)).collect()
}

/// How much faster each machine is than the first, over all shapes that both have. None with less than two
/// machines.
pub(super) fn summary(machines: &[Machine<'_>], sections: &[Section<'_>]) -> Vec<Sheet> {
    let measuring: Vec<usize> =
        (0..machines.len()).filter(|index| machines[*index].measurements().next().is_some()).collect();
    if measuring.len() < 2 {
        return Vec::new();
    }
    let mut sheets = in_groups(&measuring, |group| {
        let mut header = vec!["measured".to_owned()];
        let reference = group[0];
        header.extend(group[1..].iter().map(|index| ratio_name(machines, *index, reference)));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut sheet = Sheet::new(IN_SHORT, &header, 1..header.len());
        for section in sections {
            let ratios = |machine: &usize| -> Option<String> {
                let places = section.places();
                let ratios: Vec<f64> = places
                    .into_iter()
                    .filter_map(|place| section.ratio(*machine, reference, place))
                    .collect();
                let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
                let least = ratios.iter().copied().reduce(f64::min)?;
                let most = ratios.iter().copied().reduce(f64::max)?;
                let [mean, least, most] =
                    [(logarithms / ratios.len() as f64).exp(), least, most].map(three_digits);
                Some(format!("{mean} ({least} to {most}; {})", ratios.len()))
            };
            let cells: Vec<Option<String>> = group[1..].iter().map(ratios).collect();
            if cells.iter().any(Option::is_some) {
                let mut row = vec![section.title.clone()];
                row.extend(cells.into_iter().map(|cell| cell.unwrap_or_else(dash)));
                sheet.rows.push(row);
            }
        }
        sheet
    });
    sheets.retain(|sheet| !sheet.rows.is_empty());
    if sheets.is_empty() {
        let mut sheet = Sheet::new(IN_SHORT, &[], 0..0);
        let reference = &machines[measuring[0]].label;
        sheet.note = format!(
            "No other machine has timed what {reference} has timed: there is no ratio to that of {reference}."
        );
        sheets.push(sheet);
    } else if let Some(sheet) = sheets.first_mut() {
        sheet.note = "B/A says how many times as fast as A machine B is: the geometric mean over the shapes \
                      that both have measured, in brackets the least, the most and the number of shapes."
            .to_owned();
    }
    sheets
}

pub(super) const SIDE_BY_SIDE: &str = "B/A says how many times as fast as A machine B is. A/copy says how near A comes \
                            to a plain copy on the same machine: 1.00 is as fast as that. GB/s count the \
                            tensors of rows, each once. A dash stands for what was not measured. Shapes that \
                            one machine alone has measured are below.";

/// The machines as columns, if there are two or more.
pub(super) fn side_by_side(machines: &[Machine<'_>], section: &Section<'_>) -> Vec<Sheet> {
    let there: Vec<usize> = section.machines.keys().copied().collect();
    if there.len() < 2 {
        return Vec::new();
    }
    let mut sheets =
        in_groups(&there, |group| {
            let reference = group[0];
            let name = |index: &usize, what: &str| format!("{}{what}", machines[*index].label);
            let mut header = vec!["rows x cols".to_owned()];
            header.extend(group.iter().map(|index| name(index, " GB/s")));
            header.extend(group[1..].iter().map(|index| ratio_name(machines, *index, reference)));
            header.extend(group.iter().map(|index| name(index, "/copy")));
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let mut sheet = Sheet::new(&format!("Throughput: {}", section.title), &header, 1..header.len());
            for place in section.places() {
                let has = |index: &&usize| section.at(**index, place).is_some();
                // What one machine alone has measured is in the tables of times.
                if !group.iter().any(|index| has(&index)) || there.iter().filter(has).count() < 2 {
                    continue;
                }
                let timing = |index: &usize| section.at(*index, place)?.timing.as_ref();
                let rate = |index: &usize| match section.at(*index, place) {
                    None => dash(),
                    Some(measurement) => rate_or_failure(measurement),
                };
                let mut row = vec![shape(place)];
                row.extend(group.iter().map(rate));
                row.extend(
                    group[1..]
                        .iter()
                        .map(|index| section.ratio(*index, reference, place).map_or_else(dash, three_digits)),
                );
                row.extend(group.iter().map(|index| {
                    timing(index).map_or_else(dash, |timing| format!("{:.2}", timing.copy_ratio))
                }));
                sheet.rows.push(row);
            }
            sheet
        });
    sheets.retain(|sheet| !sheet.rows.is_empty());
    // A title that says which, where there are several of one.
    if sheets.len() > 1 {
        for sheet in &mut sheets {
            let labels: Vec<&str> =
                sheet.header.iter().filter_map(|name| name.strip_suffix(" GB/s")).collect();
            sheet.title = format!("{}: {}", sheet.title, labels.join(", "));
        }
    }
    sheets
}

fn ratio_name(machines: &[Machine<'_>], machine: usize, reference: usize) -> String {
    format!("{}/{}", machines[machine].label, machines[reference].label)
}
