//! What came of it: a line for each compiler, as a table and as JSON.

use crate::work::Text;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::time::Duration;

/// A compiler's line. Counts are of variants.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) compiler: String,
    pub(crate) version: String,
    pub(crate) tried: usize,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) not_run: usize,
    /// Why some were not run.
    pub(crate) because: String,
    /// Whether something is missing without which nothing is proved: a tool, not a variant the compiler is
    /// not for.
    pub(crate) incomplete: bool,
    pub(crate) seconds: f64,
    pub(crate) failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) variants: Vec<String>,
    pub(crate) message: String,
}

impl Outcome {
    /// Of texts that were tried, each with its error if it has one.
    pub(crate) fn of(
        compiler: &str,
        version: &str,
        results: &[(&Text, Result<(), String>)],
        time: Duration,
    ) -> Self {
        let count = |results: &[&(&Text, Result<(), String>)]| {
            results.iter().map(|(text, _)| text.labels.len()).sum::<usize>()
        };
        let (passed, failed): (Vec<_>, Vec<_>) = results.iter().partition(|(_, result)| result.is_ok());
        let failures = failed.iter().filter_map(|(text, result)| {
            Some(Failure { variants: text.labels.clone(), message: result.as_ref().err()?.clone() })
        });
        Self {
            compiler: compiler.to_owned(),
            version: version.to_owned(),
            tried: count(&passed) + count(&failed),
            passed: count(&passed),
            failed: count(&failed),
            not_run: 0,
            because: String::new(),
            incomplete: false,
            seconds: time.as_secs_f64(),
            failures: failures.collect(),
        }
    }

    /// Of a compiler that is not there.
    pub(crate) fn missing(compiler: &str, variants: usize, because: &str, incomplete: bool) -> Self {
        Self {
            compiler: compiler.to_owned(),
            version: String::new(),
            tried: 0,
            passed: 0,
            failed: 0,
            not_run: variants,
            because: because.to_owned(),
            incomplete,
            seconds: 0.0,
            failures: Vec::new(),
        }
    }

    /// A failure of something else than a variant.
    pub(crate) fn fail(&mut self, what: &str, message: String) {
        self.failed += 1;
        self.tried += 1;
        self.failures.push(Failure { variants: vec![what.to_owned()], message });
    }
}

/// The exit code: 1 where something failed, 3 where nothing failed but something that proves it is missing.
pub(crate) fn exit_code(outcomes: &[Outcome]) -> u8 {
    if outcomes.iter().any(|outcome| outcome.failed > 0) {
        1
    } else if outcomes.iter().any(|outcome| outcome.incomplete) {
        3
    } else {
        0
    }
}

pub(crate) fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(["compiler", "version", "tried", "passed", "failed", "not run", "seconds", "because"]);
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for outcome in outcomes {
        table.add_row([
            outcome.compiler.clone(),
            outcome.version.clone(),
            outcome.tried.to_string(),
            outcome.passed.to_string(),
            outcome.failed.to_string(),
            outcome.not_run.to_string(),
            format!("{:.0}", outcome.seconds),
            outcome.because.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{self, For};
    use wgpu_layernorm::shader::variants::Strength;

    #[test]
    fn variants_are_counted_and_not_texts() {
        let mut text =
            work::texts("forward_cached/f32x4/layer/none", Strength::Pairs, For::All).unwrap().remove(0);
        text.labels.push("another".to_owned());
        let outcome = Outcome::of("c", "1", &[(&text, Err("bad".to_owned()))], Duration::ZERO);
        assert_eq!((outcome.tried, outcome.failed), (text.labels.len(), text.labels.len()));
        assert_eq!(outcome.failures[0].variants, text.labels);
    }

    #[test]
    fn a_missing_tool_is_neither_a_pass_nor_a_failure() {
        let good = || Outcome::of("c", "1", &[], Duration::ZERO);
        let missing = |incomplete| Outcome::missing("d", 7, "not there", incomplete);
        let mut bad = good();
        bad.fail("table", "differs".to_owned());
        assert_eq!(exit_code(&[good()]), 0);
        assert_eq!(exit_code(&[good(), missing(true)]), 3);
        assert_eq!(exit_code(&[good(), missing(false)]), 0, "optional");
        assert_eq!(exit_code(&[missing(true), bad]), 1);
    }
}
