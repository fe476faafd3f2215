//! Charts of lines.

use layernorm_report::{Chart, Line, chart};

fn of(points: &[&[(f64, f64)]]) -> Chart {
    let line = |(number, points): (usize, &&[(f64, f64)])| Line {
        name: format!("line <{number}>"),
        points: points.to_vec(),
    };
    let lines = points.iter().enumerate().map(line).collect();
    Chart { title: "a & b".to_owned(), x: "rows".to_owned(), lines }
}

#[test]
fn a_chart_has_its_lines_names_and_numbers() {
    let svg = chart(&of(&[&[(1.0, 1.0), (16.0, 0.25), (128.0, 0.1)], &[(1.0, 0.0), (128.0, 0.0)]])).unwrap();
    let lines =
        svg.split('<').filter(|tag| tag.starts_with("polyline") && tag.contains("stroke-width=\"2\""));
    assert_eq!(lines.count(), 2, "{svg}");
    for word in
        ["a &amp; b", "rows", "line &lt;0&gt;", "line &lt;1&gt;", "\n128\n", "\n16\n", "prefers-color-scheme"]
    {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(!svg.contains("\n2\n"), "numbers are those of the lines: {svg}");
    assert_eq!(svg.matches("<polygon").count(), 3 + 2 + 2, "a mark for each point and in the legend: {svg}");
}

#[test]
fn charts_of_nothing_and_of_zeros_are_drawn() {
    for points in [&[][..], &[&[][..]], &[&[(1.0, 0.0)][..]]] {
        assert!(chart(&of(points)).unwrap().contains("</svg>"));
    }
}
