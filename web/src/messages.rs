//! What the page is told, as JSON.

use layernorm_report::{Adapter, Measurement, Mode, OutputError};
use serde::Serialize;
use wgpu_layernorm::Error;
use wgpu_layernorm::bench::Workload;
use wgpu_layernorm::verify::{Case, Outcome};

/// JSON text of a message, which holds nothing that JSON lacks a form for.
pub(crate) fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// The adapter, and what there is to run on it.
#[derive(Serialize)]
pub(crate) struct Opened<'a> {
    pub(crate) adapter: &'a Adapter,
    pub(crate) is_software: bool,
    /// Numbers of cases: quick, and all.
    pub(crate) cases: [usize; 2],
    pub(crate) crate_version: &'static str,
}

/// What became of a case.
#[derive(Serialize)]
pub(crate) struct CaseResult {
    mode: Mode,
    name: String,
    /// `None` where it did not run.
    kernel: Option<&'static str>,
    dtype: &'static str,
    errors: Vec<OutputError>,
    failures: Vec<String>,
    unsupported: Option<String>,
}

impl CaseResult {
    pub(crate) fn new(mode: Mode, case: &Case, result: &Result<Outcome, Error>) -> Self {
        let mut message = Self {
            mode,
            name: case.name(),
            kernel: None,
            dtype: case.problem().dtype.name(),
            errors: Vec::new(),
            failures: Vec::new(),
            unsupported: None,
        };
        match result {
            Ok(outcome) => {
                message.kernel = Some(outcome.kernel.name());
                message.errors = outcome.errors.iter().map(OutputError::from).collect();
                message.failures.clone_from(&outcome.failures);
            }
            Err(error) if error.is_unsupported() => message.unsupported = Some(error.to_string()),
            Err(error) => message.failures.push(error.to_string()),
        }
        message
    }
}

/// What became of a workload.
#[derive(Serialize)]
pub(crate) struct WorkloadResult {
    name: String,
    #[serde(flatten)]
    measurement: Measurement,
}

impl WorkloadResult {
    pub(crate) fn new(workload: &Workload, measurement: Measurement) -> Self {
        Self { name: workload.name(), measurement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wgpu_layernorm::plan::{Kernel, Tensor};
    use wgpu_layernorm::verify;

    fn message(result: &Result<Outcome, Error>) -> Value {
        serde_json::from_str(&to_json(&CaseResult::new(Mode::Plain, &verify::cases()[0], result))).unwrap()
    }

    #[test]
    fn an_outcome_is_told_in_full() {
        let case = &verify::cases()[0];
        let outcome = Outcome {
            kernel: Kernel::ForwardCached,
            is_tuned: false,
            dtype: case.problem().dtype,
            errors: vec![verify::OutputError { tensor: Tensor::Y, units: f64::INFINITY, allowed: 4.0 }],
            failures: vec!["y is wrong".to_owned()],
        };
        assert_eq!(
            message(&Ok(outcome)),
            json!({
                "mode": "plain", "name": case.name(), "kernel": "forward_cached", "dtype": "f32",
                "errors": [{ "output": "y", "units": null, "allowed": 4.0 }],
                "failures": ["y is wrong"], "unsupported": null,
            })
        );
    }

    #[test]
    fn what_cannot_run_is_told_from_what_fails() {
        let unsupported = Err(Error::Unsupported { what: "a".into(), has: "1".into(), needs: "2".into() });
        let told = message(&unsupported);
        assert!(told["unsupported"].is_string() && told["failures"] == json!([]), "{told}");
        let told = message(&Err(Error::Device { doing: "running", message: "lost".to_owned() }));
        assert_eq!(
            (&told["unsupported"], &told["failures"]),
            (&Value::Null, &json!(["running failed: lost"]))
        );
    }
}
