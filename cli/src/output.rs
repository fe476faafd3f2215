//! What leaves the tool for a terminal: text, tables, progress.

use crate::failure::Failure;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// Writes text to stdout, [`visible`]. A reader that has gone away (`layernorm … | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(visible(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::FailedRun(format!("writing to standard output failed: {error}")))
        }
        _ => Ok(()),
    }
}

/// What `--json` prints, and what stands beside texts.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::FailedRun(format!("the result cannot be written as JSON: {error}")))?;
    Ok(json + "\n")
}

/// Writes one line to stderr. Where that is not possible there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(&one_line(text)));
}

/// A text without characters that a terminal would obey: those of names in files and of reports are
/// anybody's. Written as JSON has them, so that JSON stays what it is.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_obeyed(character) {
            seen += &format!("\\u{:04x}", u32::from(character));
        } else {
            seen.push(character);
        }
    }
    Cow::Owned(seen)
}

/// Control characters, but for the ends of lines and tabs, and those that turn the direction of text around.
fn is_obeyed(character: char) -> bool {
    let turns = matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control() && !matches!(character, '\n' | '\t')
}

/// A text of several lines on one.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An empty table, in a form that reads well on a terminal and in Markdown. All columns but the first `left`
/// are for numbers.
pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A progress bar on stderr, if that is a terminal; nothing otherwise.
pub(crate) fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    // Only a wrong template is an error, and the default style is good enough then.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_is_left() {
        assert_eq!(visible("a\tb\nµ → \u{4e00}"), "a\tb\nµ → \u{4e00}");
        assert_eq!(visible("\u{1b}[2J\r\u{9b}\u{202e}\0"), "\\u001b[2J\\u000d\\u009b\\u202e\\u0000");
    }

    #[test]
    fn messages_of_several_lines_become_one() {
        assert_eq!(one_line("a\n  b:\n\tc\r\n"), "a b: c");
    }
}
