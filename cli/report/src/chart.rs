//! A chart as SVG: lines over numbers that grow by factors.

use crate::plot::{
    Area, COLORS, GRID, INK, LEGEND_LINE, WIDTH, count, fitting, legend_lines, mark, plain, themed, words,
};
use plotters::prelude::*;

/// A chart with a legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What the numbers below it are.
    pub x: String,
    /// Each over the same numbers.
    pub lines: Vec<Line>,
}

/// A line, from number to number.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is of.
    pub name: String,
    /// The numbers, which are above 0, and what there is at them.
    pub points: Vec<(f64, f64)>,
}

const HEIGHT: u32 = 260;

/// The chart, light or dark as the reader has it.
///
/// # Errors
/// What the plotting library has to say.
pub fn chart(chart: &Chart) -> Result<String, String> {
    let legend = LEGEND_LINE * count(chart.lines.len()) + 12;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT + legend)).into_drawing_area();
        let (plot, below) = area.split_vertically(HEIGHT);
        draw(&plot, chart).map_err(|error| error.to_string())?;
        draw_legend(&below, chart).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(themed(&svg))
}

/// Colors far apart from each other.
fn color(line: usize) -> RGBColor {
    COLORS[line * 5 % COLORS.len()].light
}

fn draw(area: &Area<'_>, chart: &Chart) -> Result<(), Box<dyn std::error::Error>> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let mut at: Vec<f64> = points().map(|point| point.0).collect();
    at.sort_unstable_by(f64::total_cmp);
    at.dedup();
    let (least, most) = (at.first().copied().unwrap_or(1.0), at.last().copied().unwrap_or(1.0));
    let top = points().map(|point| point.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.08;
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK.light);
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, text(fitting(19, &chart.title)))
        .margin_right(14)
        .margin_top(4)
        .x_label_area_size(48)
        .y_label_area_size(52)
        // A little below 0, so that a line that is 0 is seen.
        .build_cartesian_2d((least / 1.15..most * 1.15).log_scale().with_key_points(at), -0.03 * top..top)?;
    context
        .configure_mesh()
        .disable_x_mesh()
        .axis_style(INK.light)
        .bold_line_style(GRID.light)
        .light_line_style(TRANSPARENT)
        .label_style(text(15))
        .x_labels(12)
        .x_desc(&chart.x)
        .x_label_formatter(&|number| plain(*number))
        .y_label_formatter(&|value| plain((value * 1e6).round() / 1e6))
        .draw()?;
    for (number, line) in chart.lines.iter().enumerate() {
        let color = color(number);
        context.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
        let marks = line.points.iter().map(|point| EmptyElement::at(*point) + mark(number, color));
        context.draw_series(marks)?;
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, chart: &Chart) -> Result<(), Box<dyn std::error::Error>> {
    for ((number, line), y) in chart.lines.iter().enumerate().zip(legend_lines()) {
        area.draw(&(EmptyElement::at((20, y)) + mark(number, color(number))))?;
        area.draw(&Text::new(line.name.clone(), (32, y), words(&line.name)))?;
    }
    Ok(())
}
