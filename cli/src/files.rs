//! Files that are whole or not there, and what can be known of them before they are written.

use crate::failure::Failure;
use crate::interrupt::Unfinished;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Links that lead to links: as many as Linux follows.
const MOST_LINKS: usize = 40;

/// Refuses a destination that [`write_file`] could not write to, before any work is done for it.
pub(crate) fn check_destination(flag: &str, path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let wrong = |what: String| Err(Failure::WrongCall(format!("{flag}: {what}")));
    let target = match followed(path) {
        Ok(target) => target,
        Err(error) => return wrong(format!("{shown} cannot be written: {error}")),
    };
    let existing = fs::metadata(path);
    // Replacing a device or a pipe by a file would be worse than failing.
    if existing.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
        return wrong(format!("{shown} is there and is not a regular file; name a file"));
    }
    if target.file_name().is_none() || ends_with_separator(&target) {
        return wrong(format!("{shown} does not name a file"));
    }
    check_directory(flag, directory_of(&target))?;
    match existing {
        // The file is replaced, which its own permissions would not forbid. For root, opening it would not
        // either.
        Ok(metadata) if metadata.permissions().readonly() => {
            wrong(format!("{shown} is read-only; make it writable or name another file"))
        }
        Ok(_) => match OpenOptions::new().write(true).open(&target) {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("{shown} cannot be written: {error}")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => wrong(format!("{shown} cannot be written: {error}")),
    }
}

/// Refuses a directory in which nothing can be created.
pub(crate) fn check_directory(flag: &str, directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(Failure::WrongCall(format!(
            "{flag}: there is no directory {shown} to write to; create it first"
        )));
    }
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::WrongCall(format!("{flag}: the directory {shown} cannot be written to: {error}")))
        }
    }
}

/// Refuses two destinations that are one file.
pub(crate) fn check_distinct(destinations: &[(&str, &Path)]) -> Result<(), Failure> {
    let place = |path: &Path| {
        let target = followed(path).ok()?;
        Some(directory_of(&target).canonicalize().ok()?.join(target.file_name()?))
    };
    for (i, (flag, path)) in destinations.iter().enumerate() {
        for (other, same) in &destinations[i + 1..] {
            if place(path).is_some_and(|path| place(same) == Some(path)) {
                let what = format!("{flag} and {other} both name {}; name two files", path.display());
                return Err(Failure::WrongCall(what));
            }
        }
    }
    Ok(())
}

/// Writes a file that has either its old content or all of the new one, whatever happens. It keeps the links
/// that lead to it, and its permissions.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        let target = followed(path)?;
        let mut file = Unfinished::new(|| beside(&target))?;
        file.made.write_all(content)?;
        file.finish(|file| file.persist(&target).map_err(|error| error.error))
    };
    match write() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::FailedRun(format!("writing {} failed: {error}", path.display()))),
    }
}

/// An empty file in the directory of `target`, with the permissions of `target`.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let directory = directory_of(target);
    #[cfg(not(unix))]
    return NamedTempFile::new_in(directory);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let existing = fs::metadata(target).ok().filter(fs::Metadata::is_file);
        // Of a new file what the process's umask leaves, as for any; the default is for secrets.
        let mode = existing.as_ref().map_or(0o666, |existing| existing.mode() & 0o777);
        let file =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempfile_in(directory)?;
        if let Some(existing) = existing {
            let made = file.as_file().metadata()?;
            if (made.uid(), made.gid()) != (existing.uid(), existing.gid()) {
                // Only root may give a file away: whoever may not has a file of their own, as by any editor.
                let _ = fchown(file.as_file(), Some(existing.uid()), Some(existing.gid()));
            }
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(file)
    }
}

/// Where links lead, the last of which may lead to nothing.
pub(crate) fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("it is a link that leads to itself"))
}

/// What a path without a directory lies in is the working directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn ends_with_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|last| std::path::is_separator(char::from(*last)))
}
