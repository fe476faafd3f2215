//! What a run has not finished, so that an interrupted one leaves nothing behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files and directories under their temporary names.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or directory under its temporary name: dropping it removes it, and so does a signal that ends the
/// run.
#[derive(Debug)]
pub(crate) struct Unfinished<T> {
    // Dropped in this order, so that it is on the list as long as it is there.
    pub(crate) made: T,
    listed: Listed,
}

#[derive(Debug)]
struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        unfinished().retain(|path| *path != self.0);
    }
}

impl<T: AsRef<Path>> Unfinished<T> {
    /// Makes it. A signal that arrives meanwhile waits until it is on the list.
    pub(crate) fn new(make: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        watch();
        let mut list = unfinished();
        let made = make()?;
        let path = made.as_ref().to_owned();
        list.push(path.clone());
        Ok(Self { made, listed: Listed(path) })
    }

    /// Gives it its name. A signal waits for that too.
    pub(crate) fn finish<R>(self, name: impl FnOnce(T) -> io::Result<R>) -> io::Result<R> {
        let list = unfinished();
        let result = name(self.made);
        drop(list);
        drop(self.listed);
        result
    }
}

/// Removes what is on the list. Other threads may still be writing into a directory.
fn remove(paths: &[PathBuf]) {
    for path in paths {
        for _ in 0..100 {
            let is_gone = match fs::symlink_metadata(path) {
                Err(_) => true,
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).is_ok(),
                Ok(_) => fs::remove_file(path).is_ok(),
            };
            if is_gone {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// From the first call on, a signal that would end the process first removes what is unfinished.
#[cfg(unix)]
fn watch() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        let ignored = ignored_signals();
        let is_wanted = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
        let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM].into_iter().filter(is_wanted)) else {
            return;
        };
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Locked to the end of the process: nothing is made or named any more.
                let list = unfinished();
                remove(&list);
                // Whoever waits for the process sees the signal, as without a handler.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
    });
}

#[cfg(not(unix))]
fn watch() {}

/// The signals that this process was started to ignore, as by nohup, a bit each. A handler would end it by
/// them.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
