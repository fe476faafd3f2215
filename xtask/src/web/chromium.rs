//! A browser to test the page in.

use std::env;
use std::path::{Path, PathBuf};

use super::Missing;
use crate::apt;

/// Chromium by the names that packages give it; Chrome and Edge take the same arguments.
const PROGRAMS: &[&str] =
    &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge", "chrome"];
const MACOS: &[&str] = &[
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const APT_PACKAGE: &str = "chromium";

/// A browser on this machine; Debian's package is installed where there is none.
pub(super) fn find(no_install: bool) -> Result<PathBuf, Missing> {
    if cfg!(not(unix)) {
        return Err(Missing("the browser is driven over pipes that only Unix has: use --serve".to_owned()));
    }
    apt::find_or_install(present, "there is no Chromium", APT_PACKAGE, "to test the page in", no_install)
        .map_err(|message| Missing(format!("{message}; or name a browser by --browser")))
}

fn present() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        PROGRAMS.iter().flat_map(|program| env::split_paths(&path).map(move |place| place.join(program)));
    let macos = MACOS.iter().map(|program| Path::new(program).to_owned());
    on_path.chain(macos).find(|program| program.is_file())
}
