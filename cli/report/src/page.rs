//! A self-contained page: tables and plots, nothing to fetch.

use crate::compare::{MACHINES, compare};
use crate::format::Report;
use crate::measurements::IN_SHORT;
use crate::plot::{figure, panels};
use crate::sheet::Sheet;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Light and dark, and down to the width of a phone: plots scale, and wide tables scroll within the page.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#1f2328, #e6edf3); --soft: light-dark(#59636e, #9198a1);
  --rule: light-dark(#d0d4d9, #3d444d); --back: light-dark(#fff, #0d1117); --stripe: light-dark(#f6f8fa, #151b23);
  --alarm: light-dark(#b3261e, #ff8a80); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { max-width: 60rem; margin: .5rem 0; color: var(--soft); font-size: .9rem; }
.plots { display: grid; gap: 1rem; margin-top: 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
.plot { width: 100%; height: auto; max-width: 44rem; }
.wide { overflow-x: auto; border: 1px solid var(--rule); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: left; white-space: nowrap; }
td.long { white-space: normal; min-width: 9rem; overflow-wrap: anywhere; }
th { border-bottom: 1px solid var(--rule); }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; }
.alarm { color: var(--alarm); font-weight: 600; }
";

/// Longer cells may take several lines, so that tables fit a window of 1200 pixels.
const LONG: usize = 24;

/// A page with everything in the reports.
///
/// # Errors
/// What the plotting library has to say.
pub fn page(title: &str, reports: &[Report]) -> Result<String, String> {
    let plots: Vec<String> =
        panels(reports).into_iter().map(|panel| figure(&[panel])).collect::<Result<_, _>>()?;
    // Which machines there are and how they compare, then the plots, then everything.
    let (first, rest): (Vec<Sheet>, Vec<Sheet>) =
        compare(reports).into_iter().partition(|sheet| [MACHINES, IN_SHORT].contains(&sheet.title.as_str()));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @for sheet in &first { (section(sheet)) }
                @if !plots.is_empty() {
                    div class="plots" { @for plot in &plots { (PreEscaped(plot)) } }
                }
                @for sheet in &rest { (section(sheet)) }
            }
        }
    };
    Ok(page.into_string())
}

fn section(sheet: &Sheet) -> Markup {
    let class = |column: usize, cell: &str| {
        let is_alarm = ["FAILED", "WRONG", "SLOWER"].iter().any(|word| cell.starts_with(word));
        let classes = [
            (sheet.numbers.contains(&column), "number"),
            (is_alarm, "alarm"),
            (cell.chars().count() > LONG && !sheet.numbers.contains(&column), "long"),
        ];
        let names: Vec<&str> = classes.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        (!names.is_empty()).then(|| names.join(" "))
    };
    html! {
        h2 { (sheet.title) }
        @if !sheet.note.is_empty() { p { (sheet.note) } }
        @if !sheet.header.is_empty() { div class="wide" {
            table {
                thead {
                    tr { @for (column, name) in sheet.header.iter().enumerate() { th class=[class(column, "")] { (name) } } }
                }
                tbody {
                    @for row in &sheet.rows {
                        tr { @for (column, cell) in row.iter().enumerate() { td class=[class(column, cell)] { (cell) } } }
                    }
                }
            }
        } }
    }
}
