//! `invariances`: the paper's Table 1, on an adapter and on the CPU.

use crate::{layernorm, run};
use serde_json::Value;

/// As printed in the paper; RMS norm by its formula.
const EXPECTED: [(&str, [bool; 6]); 4] = [
    ("batch norm", [true, false, true, true, true, false]),
    ("weight norm", [true, false, true, false, false, false]),
    ("layer norm", [true, true, false, true, false, true]),
    ("RMS norm", [true, false, false, true, false, true]),
];

#[test]
fn verdicts_are_those_of_the_paper() {
    for adapter in ["auto", "cpu"] {
        let result = run(layernorm(&["invariances", "--json", "--adapter", adapter]));
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        let measured: Value = serde_json::from_str(&result.stdout).unwrap();
        let place = measured["adapter"].as_str().unwrap();
        assert_eq!(place.contains("the CPU reference"), adapter == "cpu", "{place}");
        let cells = measured["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 24);
        for (cells, (norm, expected)) in cells.chunks(6).zip(EXPECTED) {
            for (cell, expected) in cells.iter().zip(expected) {
                assert_eq!(cell["norm"], norm);
                let number = |name: &str| cell[name].as_f64().unwrap();
                let (change, explained) = (number("change"), number("explained"));
                // What arithmetic explains, and what a norm shows that sees it, lie far apart.
                assert!(explained < 1e-5, "{place}: {cell}");
                assert!(if expected { change <= explained } else { change > 0.05 }, "{place}: {cell}");
                assert_eq!(cell["verdict"] == "invariant", expected, "{place}: {cell}");
                assert_eq!(cell["verdict"], cell["expected"], "{place}: {cell}");
            }
        }
    }
}

#[test]
fn the_table_says_where_the_paper_disagrees_with_itself() {
    let result = run(layernorm(&["invariances"]));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    let lines: Vec<&str> = result.stdout.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 2 + 24, "{}", result.stdout);
    let of_weight_norm =
        lines.iter().find(|line| line.contains("weight norm") && line.contains(" dataset re-sc"));
    assert!(of_weight_norm.unwrap().contains("| not     "), "{}", result.stdout);
    assert_eq!(lines.iter().filter(|line| line.contains("derived, not in the paper")).count(), 6);
    assert!(result.stdout.contains("section 5.1") && result.stdout.contains("the table is right"));
}

#[test]
fn wrong_calls_are_refused() {
    for (args, says) in [
        (&["--adapter", "Voodoo 2"][..], "no adapter matches Voodoo 2"),
        (&["--adapter", ""], "is empty"),
        (&["--norm", "batch"], "--norm"),
    ] {
        let result = run(layernorm(&[&["invariances"], args].concat()));
        assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{result:?}");
        assert!(result.stderr.contains(says) && result.stderr.lines().count() == 1, "{result:?}");
    }
}
