//! Files that the call names, to read.

use crate::failure::Failure;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// The longest text that is read: reports and tuning files have a thousandth of it.
const MOST_BYTES: u64 = 64 << 20;

/// Opens a regular file. A named pipe without a writer would never open.
pub(crate) fn open_regular(path: &Path, what: &str) -> Result<File, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be opened: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("not a regular file; name {what}"));
    }
    File::open(path).map_err(|error| format!("cannot be opened: {error}"))
}

/// The text of a file, or of a pipe that is open already, as a shell's `<(...)` gives it.
pub(crate) fn read_text(flag: &str, path: &Path, what: &str) -> Result<String, Failure> {
    let read = || -> Result<String, String> {
        let file = if is_open_pipe(path) {
            File::open(path).map_err(|error| error.to_string())?
        } else {
            open_regular(path, what)?
        };
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > MOST_BYTES {
            return Err(format!("it has more than {} MiB; name {what}", MOST_BYTES >> 20));
        }
        Ok(text)
    };
    read().map_err(|error| Failure::WrongCall(format!("{flag}: {} cannot be read: {error}", path.display())))
}

/// Whether a path stands for a pipe that this process has been given, which has no name of its own.
#[cfg(unix)]
fn is_open_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) && path.canonicalize().is_err()
}

#[cfg(not(unix))]
fn is_open_pipe(_: &Path) -> bool {
    false
}
