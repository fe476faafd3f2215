//! Packages of Debian and Ubuntu.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use crate::{Result, note};

pub(crate) fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// What `find` finds, from `packages` where there is nothing. `missing` says what that is, `what_for` why it
/// is installed. The error says what to do.
pub(crate) fn find_or_install<T>(
    find: impl Fn() -> Option<T>,
    missing: &str,
    packages: &str,
    what_for: &str,
    no_install: bool,
) -> Result<T> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if !on_path("apt-get") {
        return Err(format!("{missing}: install what Debian calls {packages}"));
    }
    if no_install {
        return Err(format!(
            "{missing}: run `apt-get install {packages}` as root, or leave out --no-install"
        ));
    }
    note(&format!("{missing}: installing {packages} ({what_for})"));
    install(packages)?;
    find().ok_or_else(|| format!("{packages} was installed, but {missing}"))
}

/// Downloads the lists of packages; `packages` are what they are wanted for.
pub(crate) fn update(packages: &str) -> Result<()> {
    apt_get("update -qq", packages)
}

/// Installs packages, separated by spaces.
pub(crate) fn install(packages: &str) -> Result<()> {
    update(packages)?;
    // A machine that has just started often holds the lock for its own updates.
    apt_get(
        &format!("install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 {packages}"),
        packages,
    )
}

/// Runs apt-get as root, without questions.
fn apt_get(arguments: &str, packages: &str) -> Result<()> {
    // The standard library does not tell who the user is.
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !root && !on_path("sudo") {
        return Err(format!(
            "installing needs root: run `apt-get install {packages}` as root, then try again"
        ));
    }
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        command.arg("env");
    }
    let status = command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| format!("cannot start apt-get ({error}): install {packages} by hand"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "`apt-get {arguments}` failed ({status}): repair what it reports above, or install {packages} by hand"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed_and_what_is_missing_has_a_remedy() {
        let ask = |found: Option<u8>| find_or_install(|| found, "there is no x", "libx", "for y", true);
        assert_eq!(ask(Some(7)), Ok(7));
        let message = ask(None).unwrap_err();
        assert!(message.starts_with("there is no x: ") && message.contains("libx"), "{message}");
    }
}
