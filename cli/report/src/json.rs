//! Reports read from the text of a file, and written to it.

use crate::format::{KernelVerdict, Report, VERSION};
use crate::key::Key;
use crate::unique::check_distinct_names;
use serde_json::Value;

/// What is wrong with a file that should hold reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It is not even JSON.
    #[error("it is not JSON: {0}")]
    Json(serde_json::Error),
    /// It is JSON of something else.
    #[error("it is not a report, nor an array of reports: {0}")]
    NotAReport(String),
    /// It is from the future.
    #[error("it is a report of format version {has}, needs to be at most {VERSION}: use a newer layernorm")]
    Newer {
        /// The report's version.
        has: u64,
    },
}

/// The reports in the text of a file: one, or an array of some.
///
/// # Errors
/// [`FormatError`], in words that go on from "FILE cannot be read: ".
pub fn parse(text: &str) -> Result<Vec<Report>, FormatError> {
    check_distinct_names(text.as_bytes()).map_err(FormatError::Json)?;
    let value: Value = serde_json::from_str(text).map_err(FormatError::Json)?;
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.is_empty() {
        return Err(FormatError::NotAReport("the array is empty".to_owned()));
    }
    values.into_iter().map(parse_one).collect()
}

fn parse_one(value: Value) -> Result<Report, FormatError> {
    match value.get("version").and_then(Value::as_u64) {
        None => return Err(FormatError::NotAReport("there is no number in the field version".to_owned())),
        Some(has) if has > u64::from(VERSION) => return Err(FormatError::Newer { has }),
        Some(_) => {}
    }
    let mut report: Report =
        serde_json::from_value(value).map_err(|error| FormatError::NotAReport(error.to_string()))?;
    for measurement in report.measurements.iter_mut().flatten() {
        if measurement.parameter_dtype.is_empty() {
            measurement.parameter_dtype.clone_from(&measurement.dtype);
        }
    }
    // A number that is missing or wrong reads like no times at all.
    let dumb = report
        .measurements
        .iter()
        .flatten()
        .find(|measurement| measurement.timing.is_some() == measurement.failure.is_some());
    if let Some(measurement) = dumb {
        return Err(FormatError::NotAReport(format!(
            "the measurement {} needs either all of its times or a failure",
            Key::of(measurement)
        )));
    }
    let verdicts = report.verify.iter().flatten().flat_map(|run| &run.kernels);
    for KernelVerdict { kernel, dtype, cases, failed, unsupported, .. } in verdicts {
        let counted = failed.checked_add(*unsupported).filter(|counted| counted <= cases);
        if counted.is_none() || *cases > MOST_CASES {
            let kernel = kernel.as_deref().unwrap_or("no kernel");
            return Err(FormatError::NotAReport(format!(
                "the verdict on {kernel}, {dtype}, has {cases} cases, {failed} failed and {unsupported} unsupported: \
                 needs as many cases as of both sorts together or more, and at most {MOST_CASES}"
            )));
        }
    }
    Ok(report)
}

/// Of one kernel and dtype. More would be no count, and sums of them could overflow.
const MOST_CASES: usize = 1_000_000;

/// The text of a file with these reports: of one an object, else an array.
///
/// # Errors
/// What the JSON library has to say, to which these types give no reason.
pub fn to_json(reports: &[Report]) -> Result<String, serde_json::Error> {
    let mut text = match reports {
        [report] => serde_json::to_string_pretty(report)?,
        reports => serde_json::to_string_pretty(reports)?,
    };
    text.push('\n');
    Ok(text)
}
