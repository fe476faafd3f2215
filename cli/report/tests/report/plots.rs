//! Plots, and the page that has them.

use crate::{committed, failed, measurement, report, verified};
use layernorm_report::{FailureKind, Panel, Report, figure, page, panels};

fn titles(panels: &[Panel]) -> Vec<&str> {
    panels.iter().map(|panel| panel.title.as_str()).collect()
}

fn names(panel: &Panel) -> Vec<&str> {
    panel.series.iter().map(|series| series.name.as_str()).collect()
}

#[test]
fn plots_have_a_series_for_each_dtype_or_machine() {
    let mut small = measurement("forward", "f32", 64, 1.0);
    small.rows = 1;
    let mut bare = measurement("forward", "f32", 64, 1e-3);
    bare.affine = "none".to_owned();
    let one = report(
        "one",
        vec![
            measurement("forward", "f32", 128, 1e-3),
            measurement("forward", "f32", 64, 1e-3),
            small,
            measurement("forward", "f16", 64, 1e-3),
            measurement("backward", "f32", 64, 1e-3),
            failed(measurement("backward", "f32", 128, 1.0), FailureKind::Failed, "lost"),
            bare,
        ],
    );
    let alone = panels(std::slice::from_ref(&one));
    let all = ["forward, layer norm", "forward, layer norm without gain and bias", "backward, layer norm"];
    assert_eq!(titles(&alone), all);
    assert_eq!(names(&alone[0]), ["f32", "f16"]);
    assert_ne!(alone[0].series[0].mark, alone[0].series[1].mark);
    // One row of 64 is another thing than 128 rows of 64.
    assert_eq!(alone[0].shapes, [(64, 1), (64, 128), (128, 128)]);
    assert_eq!(alone[0].series[0].points.len(), 3);
    assert_eq!(alone[2].shapes, [(64, 128)]);
    assert_eq!(alone[2].series[0].points.len(), 1);

    let both = panels(&[one, report("two", vec![measurement("forward", "f16", 64, 1e-3)])]);
    let f16 = both.iter().find(|panel| panel.title == "forward, layer norm, f16").unwrap();
    assert_eq!(names(f16), ["A one, vulkan", "B two, vulkan"]);
}

#[test]
fn a_machine_keeps_its_color() {
    let machine = |name: &str, dtypes: &[&str]| {
        report(name, dtypes.iter().map(|dtype| measurement("forward", dtype, 64, 1e-3)).collect())
    };
    let one = || machine("one", &["f32", "f16"]);
    let two = || machine("two", &["f16"]);
    let color = |reports: &[Report], name: &str| {
        let colors: Vec<usize> = panels(reports)
            .iter()
            .flat_map(|panel| panel.series.clone())
            .filter(|series| series.name.ends_with(name))
            .map(|series| series.color)
            .collect();
        assert!(colors.iter().all(|color| *color == colors[0]), "{colors:?} in one figure");
        colors[0]
    };
    // Behind another, before another, where the other has nothing, and alone.
    let together = color(&[one(), two()], "two, vulkan");
    assert_eq!(color(&[two(), one()], "two, vulkan"), together);
    assert_eq!(color(&[machine("one", &["f32"]), two()], "two, vulkan"), together);
    assert_eq!(color(&[two()], "f16"), together);
    assert_ne!(color(&[one(), two()], "one, vulkan"), together);

    // However many there are, no two have the same before all colors are taken.
    let many: Vec<Report> = (0..12).map(|index| machine(&index.to_string(), &["f32"])).collect();
    let mut colors: Vec<usize> = panels(&many)[0].series.iter().map(|series| series.color).collect();
    colors.sort_unstable();
    assert_eq!(colors, (0..12).collect::<Vec<_>>());
    let committed = committed();
    let all = panels(&committed);
    for report in &committed {
        let series = panels(std::slice::from_ref(report)).into_iter().flat_map(|panel| panel.series).next();
        let Some(series) = series else { continue };
        let name = format!("{}, {}", report.adapter.name, report.adapter.backend);
        let among = all.iter().flat_map(|panel| &panel.series).find(|series| series.name.ends_with(&name));
        assert_eq!(among.unwrap().color, series.color, "{name}");
    }
}

#[test]
fn figures_show_every_point_and_turn_dark() {
    let one = report("one", [64, 128].map(|cols| measurement("forward", "f32", cols, 1e-3)).into());
    let svg = figure(&panels(&[one])).unwrap();
    assert_eq!(svg.matches("<svg ").count(), 1);
    assert!(svg.trim_end().ends_with("</svg>"));
    // Two points, and one in the legend.
    assert_eq!(svg.matches("<polygon ").count(), 3, "{svg}");
    for word in [
        "forward, layer norm",
        "f32",
        "128 x 64",
        "128 x 128",
        "fastest plain copy",
        "prefers-color-scheme:dark",
    ] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(figure(&[]).is_ok());
    // Two and two, each with its marks.
    assert!(svg.contains("width=\"520\""), "{svg}");
    let panel = panels(&[report("one", vec![measurement("forward", "f32", 64, 1e-3)])]).remove(0);
    let three = figure(&[panel.clone(), panel.clone(), panel]).unwrap();
    assert!(three.contains("width=\"1040\""), "{three}");
    let mut marks = marks(&three);
    marks.sort_by(f64::total_cmp);
    // Of three panels a point each and a legend: four in the left half, two in the right.
    assert_eq!(marks.iter().filter(|x| **x < 520.0).count(), 4, "{marks:?}");
    assert_eq!(marks.len(), 6, "{marks:?}");
}

#[test]
fn long_names_fit_the_plot() {
    let name = "ANGLE (NVIDIA, NVIDIA GeForce RTX 4090 (0x00002684) Direct3D11 vs_5_0 ps_5_0, D3D11)";
    let mut mixed = measurement("forward_residual", "bf16", 64, 1e-3);
    mixed.parameter_dtype = "f32".to_owned();
    let reports = [report(name, vec![mixed.clone()]), report("two", vec![mixed])];
    let svg = figure(&panels(&reports)).unwrap();
    let size = |text: &str| -> f64 {
        let (before, _) = svg.split_once(text).unwrap_or_else(|| panic!("{text}: {svg}"));
        let (_, size) = before.rsplit_once("font-size=\"").unwrap();
        size.split_once('"').unwrap().0.parse().unwrap()
    };
    let widths = ["forward_residual, layer norm, bf16, parameters f32", name].map(|text| {
        let letters = text.chars().count() as f64;
        letters * size(text) * 0.6
    });
    assert!(widths.iter().all(|width| (300.0..=520.0).contains(width)), "{widths:?} pixels");
    assert!(size("B two, vulkan") > size(name));
}

/// The middle of each mark of a figure, from left to right.
fn marks(svg: &str) -> Vec<f64> {
    let of = |polygon: &str| {
        let points = polygon.split_once("points=\"").unwrap().1.split_once('"').unwrap().0;
        let across: Vec<f64> = points
            .split_whitespace()
            .map(|point| point.split_once(',').unwrap().0.parse().unwrap())
            .collect();
        across.iter().sum::<f64>() / across.len() as f64
    };
    svg.split("<polygon ").skip(1).map(of).collect()
}

#[test]
fn fast_and_slow_are_both_seen() {
    let machine = |name: &str, seconds: f64| {
        let rates = [64, 128].map(|cols| measurement("forward", "f32", cols, seconds * f64::from(cols)));
        report(name, rates.into())
    };
    // A thousand times, and within each twice.
    let svg = figure(&panels(&[machine("slow", 1e-3), machine("fast", 1e-6)])).unwrap();
    let marks = marks(&svg);
    let [slow, fast, slower, faster] = marks[..4] else { panic!("{marks:?}") };
    for twice in [slow - slower, fast - faster] {
        assert!(twice > 8.0, "{twice} pixels for twice as fast: {marks:?}");
    }
    assert!(fast - slow > 200.0, "{marks:?}");
    // What has no place on the scale is left out, and does no harm to the others.
    let mut idle = measurement("forward", "f32", 256, 1e-3);
    idle.timing.as_mut().unwrap().gigabytes_per_second = f64::INFINITY;
    let svg = figure(&panels(&[report("one", vec![measurement("forward", "f32", 64, 1e-3), idle])])).unwrap();
    assert_eq!(svg.matches("<polygon ").count(), 2, "{svg}");
}

#[test]
fn pages_are_whole_and_nothing_in_them_is_code() {
    let mut one = report("<script>alert(1)</script>", vec![measurement("forward", "f32", 64, 1e-3)]);
    one.verify = verified("one").verify;
    let page = page("A & B", &[one]).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("A &amp; B") && page.contains("&lt;script&gt;"));
    for word in ["<script", "http://", "https://", "src=", "@import", "url("] {
        let text = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains(word), "{word} in the page");
    }
    let at = |word: &str| page.find(word).unwrap_or_else(|| panic!("{word} is not in the page"));
    let order = ["<h2>Machines", "<svg ", "<h2>Throughput", "<h2>Plans", "<h2>Verification"].map(at);
    assert!(order.is_sorted(), "{order:?}");
    assert!(page.contains("class=\"alarm") || page.contains(" alarm\""), "what failed stands out");
}
