//! Plots as SVG: throughput of each shape.

use crate::format::Report;
use crate::key::Key;
use crate::machine::{color_slots, machines};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A plot: a band for each shape, and in it a lane for each series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// Cols and rows of the bands from top to bottom. Each number of rows has its own, because what a GPU
    /// gives at one width depends on it.
    pub shapes: Vec<(u32, u64)>,
    /// The lanes from top to bottom.
    pub series: Vec<Series>,
}

/// The throughput of one thing by shape, and of the copy beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What is measured.
    pub name: String,
    /// The number of its color, which is the machine's: see [`panels`].
    pub color: usize,
    /// The number of its mark.
    pub mark: usize,
    /// What was measured.
    pub points: Vec<Point>,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Values in a row.
    pub cols: u32,
    /// Number of rows.
    pub rows: u64,
    /// GB/s.
    pub rate: f64,
    /// GB/s of the copy.
    pub copy: f64,
}

/// The plots of some reports. Of one machine: a panel for each operation and norm with a series for each
/// storage; of several: one for each operation, norm and storage with a series for each machine.
///
/// A machine's color follows from its name and back end, so that it has the same in every panel and in every
/// figure. Only where two machines of one figure would share a color does one of them get another.
#[must_use]
pub fn panels(reports: &[Report]) -> Vec<Panel> {
    let machines = machines(reports);
    let colors = color_slots(&machines, COLORS.len());
    let is_alone = machines.len() == 1;
    // By what the panel shows, then by the series.
    let mut sorted: BTreeMap<Key, (Panel, Lanes)> = BTreeMap::new();
    let storages: BTreeSet<Key> = machines
        .iter()
        .flat_map(|machine| machine.measurements().map(|one| storage(&Key::of(one))))
        .collect();
    for (index, machine) in machines.iter().enumerate() {
        for measurement in machine.measurements() {
            let Some(timing) = &measurement.timing else { continue };
            let key = Key::of(measurement).section();
            let storage = storage(&key);
            let (panel_key, title) = if is_alone {
                let key = Key { dtype: String::new(), parameter_dtype: String::new(), ..key.clone() };
                let title = key.title().trim_end_matches(", ").to_owned();
                (key, title)
            } else {
                (key.clone(), key.title())
            };
            let (panel, lanes) = sorted.entry(panel_key).or_default();
            panel.title = title;
            let at = (measurement.cols, measurement.rows);
            if !panel.shapes.contains(&at) {
                panel.shapes.push(at);
            }
            let series = lanes.entry((index, storage.clone())).or_insert_with(|| Series {
                name: if is_alone { key.storage() } else { machine.name() },
                color: colors[index],
                mark: if is_alone {
                    storages.iter().take_while(|other| **other != storage).count()
                } else {
                    index
                },
                points: Vec::new(),
            });
            series.points.push(Point {
                cols: measurement.cols,
                rows: measurement.rows,
                rate: timing.gigabytes_per_second,
                copy: timing.copy_gigabytes_per_second,
            });
        }
    }
    let panels =
        sorted.into_values().map(|(panel, lanes)| Panel { series: lanes.into_values().collect(), ..panel });
    panels
        .map(|mut panel| {
            panel.shapes.sort_unstable();
            panel
        })
        .collect()
}

/// The series of a panel by machine and storage.
type Lanes = BTreeMap<(usize, Key), Series>;

/// The storages alone.
fn storage(key: &Key) -> Key {
    let none = String::new;
    Key { operation: none(), normalization: none(), affine: none(), rows: 0, cols: 0, ..key.clone() }
}

/// In units of the SVG, which scales to the width that it is given. Small, so that the text is large on a
/// phone.
pub(crate) const WIDTH: u32 = 520;
/// Of a lane, of the least that a band has, and of what is above and below the bands.
const LANE: u32 = 9;
const BAND: u32 = 20;
const BAND_MARGIN: u32 = 6;
const CAPTION: u32 = 38;
const AXIS: u32 = 48;
const NAMES: u32 = 112;
pub(crate) const LEGEND_LINE: u32 = 20;

/// Colors of text, of the grid and of machines, each in light and in dark. Those of machines differ in hue
/// and, from one to the next, in lightness. Who tells fewer of them apart has the marks and the order of the
/// lanes.
pub(crate) const INK: Shade = Shade { light: RGBColor(0x1f, 0x23, 0x28), dark: RGBColor(0xe6, 0xed, 0xf3) };
pub(crate) const GRID: Shade = Shade { light: RGBColor(0xd0, 0xd4, 0xd9), dark: RGBColor(0x3d, 0x44, 0x4d) };
pub(crate) const COLORS: [Shade; 12] = [
    Shade { light: RGBColor(0x00, 0x5a, 0x9d), dark: RGBColor(0x89, 0xc3, 0xff) },
    Shade { light: RGBColor(0x6f, 0x6f, 0xe2), dark: RGBColor(0x8d, 0x92, 0xf9) },
    Shade { light: RGBColor(0x75, 0x32, 0x9d), dark: RGBColor(0xd8, 0xa4, 0xff) },
    Shade { light: RGBColor(0xbf, 0x50, 0xa0), dark: RGBColor(0xda, 0x76, 0xbb) },
    Shade { light: RGBColor(0xa0, 0x16, 0x42), dark: RGBColor(0xfe, 0x9e, 0xad) },
    Shade { light: RGBColor(0xd0, 0x53, 0x20), dark: RGBColor(0xeb, 0x7a, 0x52) },
    Shade { light: RGBColor(0x79, 0x4d, 0x0b), dark: RGBColor(0xfa, 0xab, 0x3f) },
    Shade { light: RGBColor(0x91, 0x81, 0x12), dark: RGBColor(0xb4, 0x9f, 0x03) },
    Shade { light: RGBColor(0x41, 0x64, 0x07), dark: RGBColor(0x9d, 0xd1, 0x63) },
    Shade { light: RGBColor(0x04, 0x98, 0x63), dark: RGBColor(0x23, 0xba, 0x7d) },
    Shade { light: RGBColor(0x10, 0x65, 0x61), dark: RGBColor(0x1b, 0xd9, 0xd1) },
    Shade { light: RGBColor(0x15, 0x8e, 0xab), dark: RGBColor(0x12, 0xb0, 0xd4) },
];

#[derive(Clone, Copy)]
pub(crate) struct Shade {
    pub(crate) light: RGBColor,
    dark: RGBColor,
}

/// One SVG with the panels two and two side by side, light or dark as the reader has it.
///
/// # Errors
/// What the plotting library has to say.
pub fn figure(panels: &[Panel]) -> Result<String, String> {
    let rows: Vec<(&[Panel], u32)> = panels
        .chunks(2)
        .map(|row| {
            (row, row.iter().map(|panel| plot_height(panel) + legend_height(panel)).max().unwrap_or(0))
        })
        .collect();
    let width = WIDTH * count(panels.len()).clamp(1, 2);
    let height: u32 = rows.iter().map(|(_, height)| height).sum();
    let mut svg = String::new();
    {
        let mut rest = SVGBackend::with_string(&mut svg, (width, height.max(1))).into_drawing_area();
        for (row, height) in rows {
            let (mut right, below) = rest.split_vertically(height);
            for panel in row {
                let (left, others) = right.split_horizontally(WIDTH);
                draw(&left, panel).map_err(|error| error.to_string())?;
                right = others;
            }
            rest = below;
        }
        rest.present().map_err(|error| error.to_string())?;
    }
    Ok(themed(&svg))
}

pub(crate) fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

impl Panel {
    /// The series that have measured a shape, and what.
    fn lanes(&self, (cols, rows): (u32, u64)) -> Vec<(&Series, Vec<Point>)> {
        let of = |series: &Series| -> Vec<Point> {
            series.points.iter().filter(|point| (point.cols, point.rows) == (cols, rows)).copied().collect()
        };
        let lanes = self.series.iter().map(|series| (series, of(series)));
        lanes.filter(|(_, points)| !points.is_empty()).collect()
    }

    fn band_height(&self, shape: (u32, u64)) -> u32 {
        BAND.max(BAND_MARGIN + LANE * count(self.lanes(shape).len()))
    }

    fn bands_height(&self) -> u32 {
        self.shapes.iter().map(|shape| self.band_height(*shape)).sum()
    }
}

fn plot_height(panel: &Panel) -> u32 {
    CAPTION + AXIS + panel.bands_height()
}

fn legend_height(panel: &Panel) -> u32 {
    LEGEND_LINE * (count(panel.series.len()) + 1) + 16
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// GB/s at which the grid has lines: 1, 2, 5, 10 and so on, and the powers of ten alone where those would be
/// too many.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let within = |factors: &[f64]| -> Vec<f64> {
        let powers = -9..=9;
        let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        ticks.filter(|tick| (least..=most).contains(tick)).collect()
    };
    const MOST: usize = 9;
    let fine = within(&[1.0, 2.0, 5.0]);
    match fine.len() {
        // Between two powers of ten, or two of these.
        0..=2 => within(&[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
        3..=MOST => fine,
        _ => within(&[1.0]),
    }
}

fn draw(area: &Area<'_>, panel: &Panel) -> Result<(), Box<dyn std::error::Error>> {
    let (plot, legend) = area.split_vertically(plot_height(panel));
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK.light);
    let rates =
        || panel.series.iter().flat_map(|series| &series.points).flat_map(|point| [point.rate, point.copy]);
    // A time of 0, or so many that the median is one, has no place on the scale.
    let is_drawn = |rate: &f64| rate.is_finite() && *rate > 0.0;
    let least = rates().filter(is_drawn).reduce(f64::min).unwrap_or(1.0) / 1.25;
    let most = rates().filter(is_drawn).reduce(f64::max).unwrap_or(1.0) * 1.25;
    // From the top to the bottom in pixels, downwards from 0: rates are what is to scale here.
    let mut bottom = 0;
    let mut bands: Vec<(i32, i32)> = Vec::new();
    let mut names: BTreeMap<i32, String> = BTreeMap::new();
    for shape in &panel.shapes {
        let height = i32::try_from(panel.band_height(*shape))?;
        let middle = bottom - height / 2;
        bottom -= height;
        bands.push((middle, bottom));
        names.insert(middle, format!("{} x {}", shape.1, shape.0));
    }
    let mut chart = ChartBuilder::on(&plot)
        .caption(&panel.title, text(fitting(19, &panel.title)))
        .margin_right(14)
        .margin_top(4)
        .x_label_area_size(AXIS)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(
            (least..most).log_scale().with_key_points(ticks(least, most)),
            (bottom..0).with_key_points(names.keys().copied().collect()),
        )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .axis_style(INK.light)
        .bold_line_style(GRID.light)
        .light_line_style(TRANSPARENT)
        .label_style(text(15))
        .x_labels(12)
        .x_desc("GB/s, logarithmic")
        .x_label_formatter(&|rate| plain(*rate))
        .y_labels(names.len() + 1)
        .y_label_formatter(&|y| names.get(y).cloned().unwrap_or_default())
        .draw()?;
    for (shape, (middle, bottom)) in panel.shapes.iter().zip(&bands) {
        chart.draw_series([PathElement::new(
            [(least, *bottom), (most, *bottom)],
            GRID.light.stroke_width(1),
        )])?;
        let lanes = panel.lanes(*shape);
        let last = i32::try_from(lanes.len())? - 1;
        for (lane, (series, points)) in (0..).zip(lanes) {
            let color = COLORS[series.color % COLORS.len()].light;
            let y = middle - (2 * lane - last) * i32::try_from(LANE)? / 2;
            for point in points.iter().filter(|point| is_drawn(&point.rate) && is_drawn(&point.copy)) {
                chart.draw_series([PathElement::new(
                    [(point.rate, y), (point.copy, y)],
                    color.stroke_width(1),
                )])?;
                chart.draw_series([EmptyElement::at((point.copy, y))
                    + PathElement::new([(0, -3), (0, 4)], color.stroke_width(2))])?;
                chart.draw_series([EmptyElement::at((point.rate, y)) + mark(series.mark, color)])?;
            }
        }
    }
    draw_legend(&legend, panel)
}

fn draw_legend(area: &Area<'_>, panel: &Panel) -> Result<(), Box<dyn std::error::Error>> {
    let lines = legend_lines();
    for (series, y) in panel.series.iter().zip(lines.clone()) {
        let color = COLORS[series.color % COLORS.len()].light;
        area.draw(&(EmptyElement::at((20, y)) + mark(series.mark, color)))?;
        area.draw(&Text::new(series.name.clone(), (32, y), words(&series.name)))?;
    }
    let y = lines.clone().nth(panel.series.len()).unwrap_or(0);
    area.draw(&PathElement::new([(20, y - 4), (20, y + 5)], INK.light.stroke_width(2)))?;
    let copy = "the fastest plain copy of as many bytes";
    area.draw(&Text::new(copy, (32, y), words(copy)))?;
    Ok(())
}

/// Where the lines of a legend are, from its top.
pub(crate) fn legend_lines() -> impl Iterator<Item = i32> + Clone {
    (0..).map(|line| line * i32::try_from(LEGEND_LINE).unwrap_or(0) + 12)
}

/// The style of a line of the legend.
pub(crate) fn words(words: &str) -> TextStyle<'_> {
    let style = ("sans-serif", fitting(15, words)).into_font().color(&INK.light);
    style.pos(Pos::new(HPos::Left, VPos::Center))
}

/// Without an exponent, and without digits that say nothing.
pub(crate) fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The size of a font at which a text is no wider than the plot, `size` at most and 6 at least. plotters
/// writes it divided by 1.24, and wide letters are some 0.6 of that.
pub(crate) fn fitting(size: u32, text: &str) -> u32 {
    let letters = count(text.chars().count()).max(1);
    (100 * (WIDTH - 40) / (48 * letters)).clamp(6, size)
}

/// The outlines of marks, in pixels around their place.
const MARKS: [&[(i32, i32)]; 6] = [
    &[(-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2), (-4, -2)],
    &[(-3, -3), (3, -3), (3, 3), (-3, 3)],
    &[(0, -5), (5, 4), (-5, 4)],
    &[(0, -5), (5, 0), (0, 5), (-5, 0)],
    &[(-5, -4), (5, -4), (0, 5)],
    &[
        (-1, -4),
        (1, -4),
        (1, -1),
        (4, -1),
        (4, 1),
        (1, 1),
        (1, 4),
        (-1, 4),
        (-1, 1),
        (-4, 1),
        (-4, -1),
        (-1, -1),
    ],
];

pub(crate) fn mark(number: usize, color: RGBColor) -> Polygon<(i32, i32)> {
    Polygon::new(MARKS[number % MARKS.len()], color.filled())
}

/// Gives the SVG a class and, for dark surroundings, its other colors.
pub(crate) fn themed(svg: &str) -> String {
    let mut dark = String::new();
    for Shade { light, dark: shade } in [INK, GRID].iter().chain(&COLORS) {
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
