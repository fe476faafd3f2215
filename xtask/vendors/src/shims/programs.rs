//! The programs and libraries that a build of Mesa needs: found, or installed.

use crate::Result;
use crate::tools::{self, output, remove};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that a build needs, and the packages that have them.
const PROGRAMS: [(&str, &str); 9] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("pkg-config", "pkg-config"),
    ("glslangValidator", "glslang-tools"),
    ("python3", "python3"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// Libraries that a build needs, by pkg-config's names, and the packages that have them.
const LIBRARIES: [(&str, &str); 4] = [
    ("libdrm", "libdrm-dev"),
    ("pciaccess", "libpciaccess-dev"),
    ("expat", "libexpat1-dev"),
    ("zlib", "zlib1g-dev"),
];

/// What builds Mesa, of the versions that it was tried with.
const PYTHON: [&str; 5] =
    ["meson==1.12.1", "ninja==1.13.2", "mako==1.4.3", "pyyaml==6.0.4", "packaging==26.4"];

/// What translates C's headers into Rust and back, built by cargo.
const RUST: [&str; 2] = ["bindgen-cli@0.73.2", "cbindgen@0.29.4"];

/// The library that bindgen reads headers with.
const LIBCLANG: &str = "libclang1-14";

/// Makes sure of the compilers and headers.
pub(super) fn packages(install: bool) -> Result<()> {
    let programs = PROGRAMS.iter().filter(|(program, _)| tools::on_path(program).is_none());
    // Without pkg-config all of them are asked for; those that are there are left as they are.
    let there = |library: &str| tools::run(Command::new("pkg-config").args(["--exists", library])).is_ok();
    let libraries = LIBRARIES.iter().filter(|(library, _)| !there(library));
    let missing: Vec<&(&str, &str)> = programs.chain(libraries).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let join = |names: Vec<&str>, between: &str| names.join(between);
    let names = join(missing.iter().map(|(name, _)| *name).collect(), ", ");
    let packages = join(missing.iter().map(|(_, package)| *package).collect(), " ");
    tools::apt(&packages, &format!("there is no {names}"), install)
}

/// Meson and ninja, in an environment of Python's of their own.
pub(super) fn python(room: &Path, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let programs = room.join("python/bin");
    // Left by a run that was not ended midway.
    let whole = room.join("python/whole");
    if fs::read_to_string(&whole).is_ok_and(|packages| packages == PYTHON.join(" ")) {
        return Ok(programs);
    }
    if !install {
        return Err(format!(
            "meson is not there: leave out --no-install to have pip fetch {}",
            PYTHON.join(" ")
        ));
    }
    say(&format!("fetching {} with pip", PYTHON.join(" ")));
    let environment = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(room.join("python"));
        command
    };
    if let Err(error) = tools::run(&mut environment()) {
        // Debian's Python is without it.
        tools::apt("python3-venv", &format!("python3 makes no environment ({error})"), install)?;
        tools::run(&mut environment())?;
    }
    tools::run(
        Command::new(programs.join("python3"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON),
    )?;
    fs::write(&whole, PYTHON.join(" ")).map_err(|error| format!("{}: {error}", whole.display()))?;
    Ok(programs)
}

/// A program of the first of these directories, which finds the others'.
pub(super) fn python_tool(programs: &[&Path], name: &str) -> Command {
    let mut path = std::ffi::OsString::new();
    for programs in programs {
        path.push(programs);
        path.push(":");
    }
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(programs.first().map_or_else(PathBuf::new, |first| first.join(name)));
    command.env("PATH", path);
    // What somebody else builds with these is not this.
    for variable in ["CFLAGS", "CXXFLAGS", "LDFLAGS", "CC", "CXX"] {
        command.env_remove(variable);
    }
    // libclang does not know where the C compiler has its own headers.
    if let Ok(headers) = output(Command::new("gcc").arg("-print-file-name=include")) {
        command.env("BINDGEN_EXTRA_CLANG_ARGS", format!("-I{}", headers.trim()));
    }
    command
}

/// bindgen and cbindgen, of a directory of their own.
pub(super) fn rust(room: &Path, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let root = room.join("rust");
    let clang = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let is_there = || {
        let files = fs::read_dir(&clang).into_iter().flatten().flatten();
        files.into_iter().any(|file| is_libclang(&file.file_name().to_string_lossy()))
    };
    if !is_there() {
        tools::apt(LIBCLANG, "there is no libclang", install)?;
    }
    // Cargo knows what it has installed there.
    let known = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    if RUST.iter().all(|tool| known.contains(&tool.replace('@', " "))) {
        return Ok(root.join("bin"));
    }
    if !install {
        return Err(format!(
            "bindgen is not there: leave out --no-install to have cargo build {}",
            RUST.join(" ")
        ));
    }
    say(&format!("building {} with cargo, which takes minutes", RUST.join(" ")));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    tools::run(
        Command::new(cargo)
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&root)
            .arg("--target-dir")
            .arg(room.join("rust-target"))
            .args(RUST),
    )?;
    remove(&room.join("rust-target"))?;
    Ok(root.join("bin"))
}

/// Whether a file is the library that bindgen loads, whatever its version: `libclang-14.so.1`, and not
/// `libclang-cpp.so.14`, which has another interface.
fn is_libclang(file: &str) -> bool {
    let rest = file.strip_prefix("libclang").unwrap_or_default();
    let rest = rest
        .strip_prefix('-')
        .map_or(rest, |version| version.trim_start_matches(|c: char| c.is_ascii_digit()));
    rest == ".so" || rest.starts_with(".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_known_from_other_libraries_of_its_project() {
        for file in
            ["libclang.so", "libclang.so.1", "libclang-14.so.1", "libclang-14.so.14.0.6", "libclang-15.so"]
        {
            assert!(is_libclang(file), "{file}");
        }
        for file in
            ["libclang-cpp.so.14", "libclang-cpp14.so", "libclang_rt.asan.so", "libclang.a", "liblldb.so", ""]
        {
            assert!(!is_libclang(file), "{file}");
        }
    }
}
