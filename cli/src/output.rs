//! What leaves the tool: text, tables, progress, and files that are whole or not there.

use crate::failure::Failure;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Writes to stdout. A reader that has gone away (`layernorm … | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::FailedRun(format!("writing to standard output failed: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line to stderr. Where that is not possible there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(text));
}

/// A text of several lines on one.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An empty table, in a form that reads well on a terminal and in Markdown. All columns but the first `left` are for
/// numbers.
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

/// Refuses a destination that [`write_file`] could not write to, before any work is done for it.
pub(crate) fn check_destination(flag: &str, path: &Path) -> Result<(), Failure> {
    let wrong = |what: String| Err(Failure::WrongCall(format!("{flag}: {what}")));
    // Replacing a device or a pipe by a file would be worse than failing.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return wrong(format!("{} is there and is not a regular file; name a file", path.display()));
    }
    if path.file_name().is_none() {
        return wrong(format!("{} does not name a file", path.display()));
    }
    let directory = directory_of(path);
    if !directory.is_dir() {
        return wrong(format!("there is no directory {} to write to; create it first", directory.display()));
    }
    Ok(())
}

/// Writes a file that has either its old content or all of the new one, whatever happens.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        // A link keeps pointing where it did.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // What the process's umask leaves of it, as for any file; the default is for secrets.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(directory_of(&path))?;
        file.write_all(content)?;
        file.persist(&path).map_err(|error| error.error)
    };
    match write() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::FailedRun(format!("writing {} failed: {error}", path.display()))),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_several_lines_become_one() {
        assert_eq!(one_line("a\n  b:\n\tc\r\n"), "a b: c");
    }
}
