//! What the report that the page saves says of it.

use layernorm_report::Report;

/// What a report comes to.
#[derive(Debug)]
pub(crate) struct Judgment {
    pub(crate) summary: String,
    pub(crate) cases: usize,
    /// Cases.
    pub(crate) passed: usize,
    /// Cases and measurements.
    pub(crate) failed: usize,
    pub(crate) problems: Vec<String>,
}

impl Judgment {
    pub(crate) fn new(report: &Report) -> Self {
        let mut problems = Vec::new();
        let [mut passed, mut failed, mut unsupported] = [0; 3];
        for run in report.verify.iter().flatten() {
            let counts = run.counts();
            passed += counts[0];
            failed += counts[1];
            unsupported += counts[2];
            problems.extend(run.error.clone());
            let failures = run.failures.iter();
            problems.extend(
                failures.map(|case| {
                    format!("case {}/{}: {}", run.mode.name(), case.case, case.failures.join("; "))
                }),
            );
        }
        if passed == 0 {
            problems.push("no case has passed".to_owned());
        }
        // The browser's own adapter has all that the page's cases need.
        if unsupported > 0 {
            problems.push(format!("{unsupported} cases are not supported"));
        }
        let measurements = report.measurements.as_deref().unwrap_or_default();
        let mut failed_measurements = 0;
        for measurement in measurements {
            if let Some(failure) = &measurement.failure {
                let layernorm_report::Measurement { operation, dtype, rows, cols, .. } = measurement;
                failed_measurements += 1;
                problems.push(format!("measurement {operation}/{dtype}/{rows}x{cols}: {}", failure.message));
            }
        }
        let timed = measurements.iter().filter(|measurement| measurement.timing.is_some()).count();
        if timed == 0 {
            problems.push("nothing was timed".to_owned());
        }
        let summary = format!(
            "{passed} cases passed, {failed} failed, {unsupported} are not supported; {timed} of {} measurements",
            measurements.len()
        );
        let cases = passed + failed + unsupported;
        Self { summary, cases, passed, failed: failed + failed_measurements, problems }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layernorm_report::{
        CaseFailure, Failure, FailureKind, KernelVerdict, Measurement, Mode, Timing, VerifyRun,
    };
    use std::time::Duration;

    fn verdict(cases: usize, failed: usize, unsupported: usize) -> KernelVerdict {
        KernelVerdict {
            kernel: Some("forward_cached".to_owned()),
            dtype: "f32".to_owned(),
            cases,
            failed,
            unsupported,
            errors: Vec::new(),
        }
    }

    fn measurement(failure: Option<FailureKind>) -> Measurement {
        let timing = r#"{ "median_seconds": 1, "p10_seconds": 1, "p90_seconds": 1, "bytes": 1,
            "gigabytes_per_second": 1, "copy_median_seconds": 1, "copy_p10_seconds": 1, "copy_p90_seconds": 1,
            "copy_gigabytes_per_second": 1, "copy_ratio": 1, "copy_form": "64x1", "clock": "wall", "rounds": 1,
            "calls_per_submit": 1, "copies_per_submit": 1, "buffer_sets": 1 }"#;
        let timing: Timing = serde_json::from_str(timing).unwrap();
        Measurement {
            operation: "forward".to_owned(),
            normalization: "layer".to_owned(),
            affine: "gain_bias".to_owned(),
            dtype: "f32".to_owned(),
            parameter_dtype: "f32".to_owned(),
            channels: None,
            activation: None,
            rows: 4,
            cols: 8,
            kernel: None,
            plan: None,
            errors: Vec::new(),
            timing: failure.is_none().then_some(timing),
            failure: failure.map(|kind| Failure { kind, message: "no".to_owned() }),
        }
    }

    fn report(kernels: Vec<KernelVerdict>, measurements: Vec<Measurement>) -> Report {
        let failed = kernels.iter().map(|kernel| kernel.failed).sum();
        let case = CaseFailure { case: "a".to_owned(), failures: vec!["y is wrong".to_owned()] };
        let run = VerifyRun { kernels, failures: vec![case; failed], ..VerifyRun::new(Mode::Full) };
        Report {
            verify: Some(vec![run]),
            measurements: Some(measurements),
            ..Report::new("web", Duration::ZERO, layernorm_report::Adapter::default())
        }
    }

    #[test]
    fn what_has_passed_has_no_problems() {
        let judgment =
            Judgment::new(&report(vec![verdict(3, 0, 0), verdict(4, 0, 0)], vec![measurement(None)]));
        assert_eq!(judgment.problems, [""; 0]);
        assert_eq!(judgment.summary, "7 cases passed, 0 failed, 0 are not supported; 1 of 1 measurements");
    }

    #[test]
    fn failures_are_problems_and_so_is_nothing() {
        let of = |kernels, measurements| Judgment::new(&report(kernels, measurements)).problems;
        let good = || measurement(None);
        assert_eq!(of(vec![verdict(3, 1, 0)], vec![good()]), ["case full/a: y is wrong"]);
        assert_eq!(of(vec![verdict(3, 0, 1)], vec![good()]), ["1 cases are not supported"]);
        assert_eq!(
            of(vec![verdict(3, 0, 3)], vec![good()]),
            ["no case has passed", "3 cases are not supported"]
        );
        assert_eq!(of(vec![verdict(3, 0, 0)], vec![]), ["nothing was timed"]);
        for kind in [FailureKind::WrongResult, FailureKind::Failed, FailureKind::Unsupported] {
            let problems = of(vec![verdict(3, 0, 0)], vec![good(), measurement(Some(kind))]);
            assert_eq!(problems, ["measurement forward/f32/4x8: no"]);
        }
    }
}
