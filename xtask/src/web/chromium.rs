//! A browser to test the page in.

use std::env;
use std::path::{Path, PathBuf};

use super::Missing;
use crate::{apt, note};

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
    if let Some(browser) = present() {
        return Ok(browser);
    }
    if no_install || !apt::on_path("apt-get") {
        return Err(Missing(missing(no_install && apt::on_path("apt-get"))));
    }
    note(&format!("There is no Chromium: installing {APT_PACKAGE}"));
    apt::install(APT_PACKAGE).map_err(Missing)?;
    present().ok_or_else(|| Missing(format!("{APT_PACKAGE} was installed, but is not on the PATH")))
}

fn missing(could_install: bool) -> String {
    let remedy = if could_install {
        format!("run `apt-get install {APT_PACKAGE}` as root, or leave out --no-install")
    } else {
        "install Chromium or Chrome".to_owned()
    };
    format!("there is no Chromium to test the page in: {remedy}, or name a browser by --browser")
}

fn present() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        PROGRAMS.iter().flat_map(|program| env::split_paths(&path).map(move |place| place.join(program)));
    let macos = MACOS.iter().map(|program| Path::new(program).to_owned());
    on_path.chain(macos).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_a_remedy() {
        assert!(missing(true).contains("apt-get install chromium"), "{}", missing(true));
        assert!(!missing(false).contains("apt-get"), "{}", missing(false));
    }
}
