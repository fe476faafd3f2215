//! Tint, the compiler of Chromium, through Dawn in node: it analyses uniformity, which browsers enforce and
//! naga does not.

use crate::outcome::Outcome;
use crate::work::Text;
use crate::{Result, bar, servers, tools};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use wgpu_layernorm::shader::{Dialect, assemble};

const NAME: &str = "Tint (Dawn)";

#[derive(Serialize)]
struct Question<'a> {
    label: &'a str,
    code: &'a str,
    /// Of a workgroup.
    invocations: u32,
}

#[derive(Deserialize)]
struct Answer {
    /// Errors and warnings; none where all is well.
    messages: Vec<String>,
}

/// Every text becomes a shader module and a compute pipeline on Dawn's null back end, which has every feature
/// and all of Tint, and no driver.
pub(crate) fn tint(texts: &[Text], install: bool) -> Outcome {
    let (node, example) = match tools::dawn(install) {
        Ok(found) => found,
        Err(because) => {
            let variants = texts.iter().map(|text| text.labels.len()).sum();
            return Outcome::missing(NAME, variants, &because, true);
        }
    };
    let start = Instant::now();
    let bar = bar(NAME, texts.len());
    let question = |number: usize| question(&texts[number]);
    let answers = servers::ask(&|| server(&node, &example), texts.len(), &question, &bar);
    bar.finish_and_clear();
    let results: Vec<_> = texts
        .iter()
        .zip(answers)
        .map(|(text, answer)| (text, answer.and_then(|line| judge(&line))))
        .collect();
    Outcome::of(NAME, &version(&example), &results, start.elapsed())
}

fn question(text: &Text) -> Result<String> {
    let shader = assemble(&text.variant.plan, Dialect::Browser).map_err(|error| error.to_string())?;
    let question = Question {
        label: text.label(),
        code: &shader.source,
        invocations: text.variant.plan.workgroup_size(),
    };
    serde_json::to_string(&question).map_err(|error| error.to_string())
}

fn judge(line: &str) -> Result<()> {
    let answer: Answer =
        serde_json::from_str(line).map_err(|error| format!("an answer that is none ({error}): {line}"))?;
    if answer.messages.is_empty() { Ok(()) } else { Err(answer.messages.join(" | ")) }
}

fn server(node: &PathBuf, example: &Path) -> Command {
    let mut command = Command::new(node);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tint.mjs"));
    command.arg(example.join("node_modules/webgpu/index.js"));
    command
}

/// The version of the npm package.
fn version(example: &Path) -> String {
    std::fs::read_to_string(example.join("node_modules/webgpu/package.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|package| Some(format!("webgpu {}", package["version"].as_str()?)))
        .unwrap_or_default()
}
