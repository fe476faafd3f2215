//! A toolchain that builds for wasm32-unknown-unknown.
//!
//! The one that runs this program, if it has the target or rustup can add it. Where neither is so, Debian has
//! another: a newer compiler with the standard library's source, which it builds its browsers with. Its
//! packages are unpacked below `target/` and not installed, where they would take the place of the user's own
//! compiler.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Missing;
use crate::{ROOT, apt, cargo, note, target_directory};

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) description: String,
    cargo: PathBuf,
    arguments: &'static [&'static str],
    variables: Vec<(&'static str, OsString)>,
}

impl Toolchain {
    /// Builds the page's WebAssembly.
    pub(super) fn build(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(["build", "--release", "--package", "layernorm-web", "--target", TARGET]);
        command.args(self.arguments).current_dir(ROOT);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What [`Toolchain::build`] makes.
    pub(super) fn wasm(&self) -> PathBuf {
        target_directory().join(TARGET).join("release/layernorm_web.wasm")
    }
}

pub(super) fn find(no_install: bool, debian: bool) -> Result<Toolchain, Missing> {
    if debian {
        return from_debian(no_install);
    }
    let sysroot =
        sysroot().ok_or_else(|| Missing("there is no rustc: install a Rust toolchain".to_owned()))?;
    if has_target(&sysroot) || (!no_install && add_target() && has_target(&sysroot)) {
        return Ok(Toolchain {
            description: format!("the toolchain {}", sysroot.file_name().unwrap_or_default().display()),
            cargo: cargo().get_program().into(),
            arguments: &[],
            variables: Vec::new(),
        });
    }
    from_debian(no_install).map_err(|Missing(reason)| {
        Missing(format!(
            "this toolchain has no {TARGET} (`rustup target add {TARGET}` would add it), and {reason}"
        ))
    })
}

fn has_target(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

fn add_target() -> bool {
    if !apt::on_path("rustup") {
        return false;
    }
    note(&format!("The toolchain has no {TARGET}: adding it with rustup"));
    Command::new("rustup").args(["target", "add", TARGET]).status().is_ok_and(|status| status.success())
}

/// Where the compiler that cargo takes has its libraries.
fn sysroot() -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(ROOT)).map(PathBuf::from)
}

/// Debian's toolchain for browsers, unpacked before or now.
fn from_debian(no_install: bool) -> Result<Toolchain, Missing> {
    let place = Path::new(ROOT).join("target/web/debian");
    if !place.join("usr/bin/rustc").is_file() {
        let packages = DEBIAN_PACKAGES.join(" ");
        if !["apt-get", "dpkg-deb"].iter().all(|program| apt::on_path(program)) {
            return Err(Missing(format!("without apt-get Debian's packages {packages} cannot be had")));
        }
        if no_install {
            return Err(Missing(format!(
                "--no-install keeps Debian's packages {packages} from being unpacked below target/"
            )));
        }
        unpack(&place)?;
    }
    let variables = variables(&place).ok_or_else(|| {
        Missing(format!("{} lacks a part of the toolchain: remove it and try again", place.display()))
    })?;
    Ok(Toolchain {
        description: "Debian's toolchain for browsers".to_owned(),
        cargo: place.join("usr/bin/cargo"),
        // Debian has the standard library for this target as source alone.
        arguments: &["-Zbuild-std=std,panic_abort"],
        variables,
    })
}

/// Downloads the packages with all that they need and the machine lacks, and unpacks them into `place`, which
/// appears only when it is whole.
fn unpack(place: &Path) -> Result<(), Missing> {
    let packages = needed().ok_or_else(|| {
        Missing(format!("apt-get knows no {}: they are in Debian 12", DEBIAN_PACKAGES.join(", ")))
    })?;
    note(&format!(
        "Unpacking below target/, not installing, about 150 MB of packages: {}",
        packages.join(" ")
    ));
    let unpacking = place.with_extension("unpacking");
    let failed =
        |error: std::io::Error| Missing(format!("{} cannot be written: {error}", unpacking.display()));
    if unpacking.exists() {
        fs::remove_dir_all(&unpacking).map_err(failed)?;
    }
    fs::create_dir_all(&unpacking).map_err(failed)?;
    let run = |command: &mut Command| match command.stdout(Stdio::null()).current_dir(&unpacking).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Missing(format!("{command:?} has failed: see above"))),
    };
    run(Command::new("apt-get").args(["-qq", "download"]).args(&packages))?;
    let archives: Vec<PathBuf> = fs::read_dir(&unpacking)
        .map_err(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    for archive in archives {
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg("."))?;
        fs::remove_file(&archive).map_err(failed)?;
    }
    if place.exists() {
        fs::remove_dir_all(place).map_err(failed)?;
    }
    fs::rename(&unpacking, place).map_err(failed)
}

/// The packages that installing would download. Package lists that are missing, as in most container images,
/// are downloaded first.
fn needed() -> Option<Vec<String>> {
    let ask = || {
        let arguments = ["install", "-y", "--print-uris", "--no-install-recommends"];
        output(Command::new("apt-get").args(arguments).args(DEBIAN_PACKAGES)).map(|uris| names(&uris))
    };
    let named = ask();
    if named.is_some() {
        return named;
    }
    apt::update(&DEBIAN_PACKAGES.join(" ")).ok()?;
    ask()
}

/// The packages among lines like `'http://…' rustc-web_1.96.0_amd64.deb 4450500 SHA256:…`.
fn names(uris: &str) -> Vec<String> {
    let files = uris.lines().filter(|line| line.starts_with('\''));
    let name = |line: &str| Some(line.split(' ').nth(1)?.split_once('_')?.0.to_owned());
    files.filter_map(name).collect()
}

fn variables(place: &Path) -> Option<Vec<(&'static str, OsString)>> {
    // Libraries lie in a directory that is named for the machine, like usr/lib/x86_64-linux-gnu.
    let libraries = fs::read_dir(place.join("usr/lib"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_str().is_some_and(|path| path.ends_with("-linux-gnu")))?;
    let host = host()?;
    let linker = sysroot()?.join("lib/rustlib").join(host).join("bin/rust-lld");
    Some(vec![
        ("RUSTC", place.join("usr/bin/rustc").into()),
        ("LD_LIBRARY_PATH", libraries.into()),
        // For -Zbuild-std.
        ("RUSTC_BOOTSTRAP", "1".into()),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
    ])
}

/// The machine's target, as the compiler names it.
pub(crate) fn host() -> Option<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("-vV"))?;
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// What a command prints, without the last line's end; `None` if it fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_what_apt_would_download() {
        let uris = "Reading package lists...\n\
            'http://a/pool/r/rustc-web_1.96.0%2bdfsg1-1_amd64.deb' rustc-web_1.96.0+dfsg1-1_amd64.deb 44 SHA256:0\n\
            'http://a/pool/l/libllvm22_1%3a22.1.8_amd64.deb' libllvm22_1%3a22.1.8_amd64.deb 29 SHA256:1\n";
        assert_eq!(names(uris), ["rustc-web", "libllvm22"]);
        assert_eq!(names("0 upgraded\n"), [""; 0]);
    }

    #[test]
    fn a_place_without_the_toolchain_gives_no_variables() {
        assert_eq!(variables(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_sysroot_has_a_target_if_its_library_is_there() {
        assert!(!has_target(Path::new("/nonexistent")));
    }
}
