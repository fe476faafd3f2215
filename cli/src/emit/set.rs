//! `layernorm emit --all DIR`: every variant.

use super::{Emitted, Format};
use crate::failure::Failure;
use crate::files;
use crate::interrupt::Unfinished;
use crate::output;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use wgpu_layernorm::shader::Layout;
use wgpu_layernorm::shader::variants::{self, Variant};

/// What `DIR/index.json` holds, in the order of [`variants::all`].
#[derive(Serialize)]
struct Index {
    format: &'static str,
    variants: Vec<Entry>,
    /// The labels of variants that the language cannot express.
    left_out: Vec<String>,
}

#[derive(Serialize)]
struct Entry {
    label: String,
    kernel: &'static str,
    text: String,
    description: String,
}

/// Writes the variants whose labels contain `case`.
pub(super) fn write(directory: &Path, format: Format, case: &str) -> Result<(), Failure> {
    let target = check_destination(directory)?;
    let mut chosen = variants::all()?;
    chosen.retain(|variant| variant.plan.label().contains(case));
    if chosen.is_empty() {
        return Err(Failure::WrongCall(format!(
            "--case: no variant's label contains {case:?}; `layernorm emit --all DIR` without it lists them in DIR/index.json"
        )));
    }
    let failed =
        |error: io::Error| Failure::FailedRun(format!("writing {} failed: {error}", directory.display()));
    let room = Unfinished::new(|| beside(&target)).map_err(failed)?;
    let (written, left_out) = write_variants(room.made.path(), format, &chosen)?;
    let index = Index { format: format.name(), variants: written, left_out };
    fs::write(room.made.path().join("index.json"), output::json(&index)?).map_err(failed)?;
    room.finish(|room| publish(room, &target)).map_err(failed)?;
    let (written, left_out) = (index.variants.len(), index.left_out.len());
    let without = match left_out {
        0 => String::new(),
        count => format!("; {count} variants use 16-bit floats, which GLSL has not, and are left out"),
    };
    output::note(&format!("{written} variants as {} in {}{without}", format.name(), directory.display()));
    Ok(())
}

/// Refuses a destination that could not be written to; returns where links lead from it.
fn check_destination(directory: &Path) -> Result<PathBuf, Failure> {
    let shown = directory.display();
    let wrong = |what: String| Failure::WrongCall(format!("--all: {what}"));
    let target =
        files::followed(directory).map_err(|error| wrong(format!("{shown} cannot be written: {error}")))?;
    if let Ok(existing) = fs::symlink_metadata(&target) {
        if !fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none()) {
            let what = "is there and is not an empty directory; name one that is not there";
            return Err(wrong(format!("{shown} {what}")));
        }
        if existing.permissions().readonly() {
            return Err(wrong(format!("{shown} is read-only; make it writable or name another directory")));
        }
    }
    if target.file_name().is_none() {
        return Err(wrong(format!("{shown} does not name a directory")));
    }
    files::check_directory("--all", files::directory_of(&target))?;
    Ok(target)
}

/// An empty directory in that of `target`, with the permissions of `target`.
fn beside(target: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // What the process's umask leaves of it, as for any directory; the default is for secrets.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    let room = builder.tempdir_in(files::directory_of(target))?;
    if let Ok(existing) = fs::metadata(target) {
        fs::set_permissions(room.path(), existing.permissions())?;
    }
    Ok(room)
}

/// Writes the variants below `room`, on all cores.
fn write_variants(
    room: &Path,
    format: Format,
    variants: &[Variant],
) -> Result<(Vec<Entry>, Vec<String>), Failure> {
    let bar = output::progress(variants.len() as u64);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(variant) = variants.get(number) else { return Ok(done) };
            bar.set_message(variant.plan.label());
            done.push((number, write_variant(room, variant, format)?));
            bar.inc(1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Result<Vec<_>, Failure>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(Failure::FailedRun("a worker thread panicked".to_owned())))
            })
            .collect()
    });
    bar.finish_and_clear();
    let mut all = Vec::new();
    for result in results {
        all.extend(result?);
    }
    all.sort_by_key(|(number, _)| *number);
    let (mut written, mut left_out) = (Vec::new(), Vec::new());
    for (number, entry) in all {
        match entry {
            Some(entry) => written.push(entry),
            None => left_out.push(variants[number].plan.label()),
        }
    }
    Ok((written, left_out))
}

fn write_variant(room: &Path, variant: &Variant, format: Format) -> Result<Option<Entry>, Failure> {
    let Some(Emitted { text, description }) = Emitted::new(variant, format, Layout::default())? else {
        return Ok(None);
    };
    let stem = file_stem(&description.label);
    let entry = Entry {
        text: format!("{stem}.{}", format.extension()),
        description: format!("{stem}.json"),
        label: description.label.clone(),
        kernel: description.kernel,
    };
    let json = output::json(&description)?;
    let write = || {
        // Not with its parents: an interrupted run has removed them.
        match fs::create_dir(room.join(description.kernel)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(room.join(&entry.text), text)?;
        fs::write(room.join(&entry.description), json)
    };
    match write() {
        Ok(()) => Ok(Some(entry)),
        Err(error) => Err(Failure::FailedRun(format!("writing {stem} failed: {error}"))),
    }
}

/// `KERNEL/REST-OF-THE-LABEL`.
fn file_stem(label: &str) -> String {
    match label.split_once('/') {
        Some((kernel, rest)) => format!("{kernel}/{}", rest.replace('/', "-")),
        None => label.to_owned(),
    }
}

/// Renames the finished directory.
fn publish(room: TempDir, directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        fs::remove_dir(directory)?;
    }
    fs::rename(room.path(), directory)?;
    // There is nothing left to remove.
    let _ = room.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_variant_has_files_of_its_own() {
        let all = variants::all().unwrap();
        // On file systems that ignore case, too.
        let stems: HashSet<String> =
            all.iter().map(|variant| file_stem(&variant.plan.label()).to_lowercase()).collect();
        assert_eq!(stems.len(), all.len());
    }
}
