//! Reports held against an earlier one.

use crate::{failed, measurement, report, rows_with, verified};
use layernorm_report::FailureKind;
use layernorm_report::baseline::{changes, matching, sheet};

#[test]
fn slower_and_no_longer_measured_is_worse() {
    let before =
        report("one", [64, 128, 256, 512].map(|cols| measurement("forward", "f32", cols, 1e-3)).into());
    let now = report(
        "one",
        vec![
            measurement("forward", "f32", 64, 1.09e-3),
            measurement("forward", "f32", 128, 1.11e-3),
            failed(measurement("forward", "f32", 256, 1.0), FailureKind::WrongResult, "y is wrong"),
            measurement("forward", "f32", 1024, 1e-3),
        ],
    );
    let changes = changes(&before, &now);
    let worse: Vec<(u32, bool)> =
        changes.iter().map(|change| (change.key.cols, change.is_worse(0.1))).collect();
    // 512 was not asked for this time, and 1024 is new.
    assert_eq!(worse, [(64, false), (128, true), (256, true), (1024, false)]);
    let text = sheet(&changes, 0.1).text();
    let verdict = |cols: u32| rows_with(&text, &format!("forward/layer/f32/128x{cols}"))[0][1].clone();
    assert_eq!(
        [64, 128, 256, 1024].map(verdict),
        ["the same", "SLOWER", "NO LONGER MEASURED", "not in the baseline"]
    );
    assert!(changes[1].is_worse(0.1) && !changes[1].is_worse(0.12));
}

#[test]
fn a_baseline_is_of_the_same_adapter_and_has_measurements() {
    let now = report("one", Vec::new());
    let baselines = [verified("one"), report("two", Vec::new()), report("one", Vec::new())];
    assert!(std::ptr::eq(matching(&baselines, &now).unwrap(), &baselines[2]));
    assert!(matching(&baselines[..2], &now).is_none());
}
