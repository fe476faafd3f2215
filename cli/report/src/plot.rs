//! Plots as SVG: throughput by width of the rows.

use crate::compare::{Key, label};
use crate::format::Report;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A plot: what lies on the axes is the same in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// The throughput of one thing by width, and of the copy beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What is measured.
    pub name: String,
    /// Cols and GB/s, by cols.
    pub points: Vec<(u32, f64)>,
    /// The same of the copies.
    pub copy: Vec<(u32, f64)>,
}

/// The plots of some reports. Of one report: a panel for each operation with a line for each dtype; of several: one for
/// each operation and dtype with a line for each report. Where a width was measured with several numbers of rows, its
/// largest tensors count.
#[must_use]
pub fn panels(reports: &[Report]) -> Vec<Panel> {
    let is_alone = reports.len() == 1;
    let mut points: BTreeMap<(Key, usize), (u64, f64, f64)> = BTreeMap::new();
    for (index, report) in reports.iter().enumerate() {
        for measurement in report.measurements.iter().flatten() {
            let Some(timing) = &measurement.timing else { continue };
            let key = Key { rows: 0, ..Key::of(measurement) };
            let point = (timing.bytes, timing.gigabytes_per_second, timing.copy_gigabytes_per_second);
            let place = points.entry((key, index)).or_insert(point);
            if point.0 > place.0 {
                *place = point;
            }
        }
    }
    let mut panels: Vec<Panel> = Vec::new();
    for ((key, index), (_, rate, copy)) in points {
        let norm = if key.normalization == "layer" {
            "layer norm".to_owned()
        } else {
            format!("{} norm", key.normalization)
        };
        let title = format!("{norm}, {}", key.operation.replace('_', " "));
        let (title, name) = if is_alone {
            (title, key.storage())
        } else {
            (
                format!("{title}, {}", key.storage()),
                format!(
                    "{} {}, {}",
                    label(index),
                    reports[index].adapter.name,
                    reports[index].adapter.backend
                ),
            )
        };
        let panel = match panels.iter().position(|panel| panel.title == title) {
            Some(at) => &mut panels[at],
            None => {
                panels.push(Panel { title, series: Vec::new() });
                let last = panels.len() - 1;
                &mut panels[last]
            }
        };
        let series = match panel.series.iter().position(|series| series.name == name) {
            Some(at) => &mut panel.series[at],
            None => {
                panel.series.push(Series { name, ..Series::default() });
                let last = panel.series.len() - 1;
                &mut panel.series[last]
            }
        };
        series.points.push((key.cols, rate));
        series.copy.push((key.cols, copy));
    }
    panels
}

/// In units of the SVG, which scales to the width that it is given. Small, so that the text is large on a phone.
const WIDTH: u32 = 520;
const HEIGHT: u32 = 340;
const LEGEND_LINE: u32 = 20;

/// Colours of text, of the grid and of lines, each in light and in dark. The lines are told apart without red and green.
const INK: Shade = Shade { light: RGBColor(0x1f, 0x23, 0x28), dark: RGBColor(0xe6, 0xed, 0xf3) };
const GRID: Shade = Shade { light: RGBColor(0xd0, 0xd4, 0xd9), dark: RGBColor(0x3d, 0x44, 0x4d) };
const LINES: [Shade; 6] = [
    Shade { light: RGBColor(0x00, 0x5f, 0xa3), dark: RGBColor(0x58, 0xb5, 0xf5) },
    Shade { light: RGBColor(0xc2, 0x4e, 0x00), dark: RGBColor(0xff, 0x9e, 0x57) },
    Shade { light: RGBColor(0x00, 0x7d, 0x5c), dark: RGBColor(0x3f, 0xd3, 0xa5) },
    Shade { light: RGBColor(0x9b, 0x3f, 0x80), dark: RGBColor(0xf0, 0x9b, 0xd2) },
    Shade { light: RGBColor(0x8a, 0x6a, 0x00), dark: RGBColor(0xf2, 0xc9, 0x4c) },
    Shade { light: RGBColor(0x5a, 0x5f, 0x66), dark: RGBColor(0xa9, 0xb2, 0xbd) },
];

#[derive(Clone, Copy)]
struct Shade {
    light: RGBColor,
    dark: RGBColor,
}

/// One SVG with the panels below each other, light or dark as the reader has it.
///
/// # Errors
/// What the plotting library has to say.
pub fn figure(panels: &[Panel]) -> Result<String, String> {
    let heights: Vec<u32> = panels.iter().map(panel_height).collect();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, heights.iter().sum::<u32>().max(1)))
            .into_drawing_area();
        let mut rest = root;
        for (panel, height) in panels.iter().zip(heights) {
            let (top, below) = rest.split_vertically(height);
            draw(&top, panel).map_err(|error| error.to_string())?;
            rest = below;
        }
        rest.present().map_err(|error| error.to_string())?;
    }
    Ok(themed(&svg))
}

fn panel_height(panel: &Panel) -> u32 {
    HEIGHT + LEGEND_LINE * u32::try_from(panel.series.len() + 1).unwrap_or(0)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(area: &Area<'_>, panel: &Panel) -> Result<(), Box<dyn std::error::Error>> {
    let (plot, legend) = area.split_vertically(HEIGHT);
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK.light);
    let all = || panel.series.iter().flat_map(|series| series.points.iter().chain(&series.copy));
    let widths = || all().map(|(cols, _)| *cols);
    let least = f64::from(widths().min().unwrap_or(1)) / 1.3;
    let most = f64::from(widths().max().unwrap_or(2)) * 1.3;
    let top = all().map(|(_, rate)| *rate).fold(0.0, f64::max).max(1e-3) * 1.08;
    let mut chart = ChartBuilder::on(&plot)
        .caption(format!("{}: GB/s by cols", panel.title), text(19))
        .margin_right(14)
        .margin_top(4)
        .x_label_area_size(28)
        .y_label_area_size(50)
        .build_cartesian_2d((least..most).log_scale().base(2.0), 0.0..top)?;
    chart
        .configure_mesh()
        .axis_style(INK.light)
        .bold_line_style(GRID.light)
        .light_line_style(TRANSPARENT)
        .label_style(text(16))
        .x_labels(9)
        .x_label_formatter(&|cols| format!("{cols:.0}"))
        .y_labels(6)
        .y_label_formatter(&|rate| if top < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
        .draw()?;
    let points = |points: &[(u32, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|(cols, rate)| (f64::from(*cols), *rate)).collect()
    };
    for (series, shade) in panel.series.iter().zip(LINES.iter().cycle()) {
        let (ours, copy) = (points(&series.points), points(&series.copy));
        chart.draw_series(LineSeries::new(ours.clone(), shade.light.stroke_width(2)))?;
        chart.draw_series(ours.into_iter().map(|point| Circle::new(point, 3, shade.light.filled())))?;
        chart.draw_series(DashedLineSeries::new(copy, 5, 4, shade.light.stroke_width(1)))?;
    }
    let words = text(16).pos(Pos::new(HPos::Left, VPos::Center));
    for ((series, shade), line) in panel.series.iter().zip(LINES.iter().cycle()).zip(0..) {
        let y = line * i32::try_from(LEGEND_LINE)? + 9;
        legend.draw(&PathElement::new([(54, y), (84, y)], shade.light.stroke_width(2)))?;
        legend.draw(&Circle::new((69, y), 3, shade.light.filled()))?;
        legend.draw(&Text::new(series.name.clone(), (92, y), words.clone()))?;
    }
    let y = i32::try_from(panel.series.len())? * i32::try_from(LEGEND_LINE)? + 9;
    for x in [54, 63, 72] {
        legend.draw(&PathElement::new([(x, y), (x + 5, y)], INK.light.stroke_width(1)))?;
    }
    legend.draw(&Text::new("the copy beside it", (92, y), words))?;
    Ok(())
}

/// Gives the SVG a class and, for dark surroundings, its other colours.
fn themed(svg: &str) -> String {
    let mut dark = String::new();
    for Shade { light, dark: shade } in [INK, GRID].iter().chain(&LINES) {
        let hex = |color: &RGBColor| format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
        let (light, shade) = (hex(light), hex(shade));
        for attribute in ["fill", "stroke"] {
            let _ = write!(dark, ".plot [{attribute}=\"{light}\"]{{{attribute}:{shade}}}");
        }
    }
    let style = format!("<style>@media (prefers-color-scheme:dark){{{dark}}}</style>");
    match svg.split_once('>') {
        Some((root, rest)) => {
            let root = root.replacen("<svg ", "<svg class=\"plot\" ", 1);
            format!("{root}>{style}{rest}")
        }
        None => svg.to_owned(),
    }
}
