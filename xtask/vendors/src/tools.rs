//! The programs and libraries that the checks need: found, or installed from packages.

use crate::Result;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Where what is downloaded is kept, beside what cargo builds.
pub(crate) fn store() -> Result<PathBuf> {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from);
    let store = target.join("vendors");
    fs::create_dir_all(&store).map_err(|error| format!("cannot create {}: {error}", store.display()))?;
    store.canonicalize().map_err(|error| format!("{}: {error}", store.display()))
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", directory.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

/// A program, from the package `package` if it is not there.
pub(crate) fn program(name: &str, package: &str, install: bool) -> Result<PathBuf> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    apt(package, &format!("there is no {name}"), install)?;
    on_path(name).ok_or_else(|| format!("{package} was installed, but there is still no {name}"))
}

/// A file, from the package `package` if it is not there.
fn file(paths: &[&str], package: &str, install: bool) -> Result<PathBuf> {
    let find = || paths.iter().map(PathBuf::from).find(|path| path.is_file());
    if let Some(found) = find() {
        return Ok(found);
    }
    apt(package, &format!("there is no {}", paths[0]), install)?;
    find().ok_or_else(|| format!("{package} was installed, but there is still no {}", paths[0]))
}

/// Installs packages, which are said first.
pub(crate) fn apt(packages: &str, missing: &str, install: bool) -> Result<()> {
    if on_path("apt-get").is_none() {
        return Err(format!("{missing}: install what Debian calls {packages}"));
    }
    if !install {
        return Err(format!(
            "{missing}: run `apt-get install {packages}` as root, or leave out --no-install"
        ));
    }
    crate::note(&format!("{missing}: installing {packages}"));
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if !root && on_path("sudo").is_none() {
        return Err(format!("{missing}: run `apt-get install {packages}` as root"));
    }
    for arguments in ["update -qq", "install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120"] {
        let mut command = Command::new(if root { "env" } else { "sudo" });
        if !root {
            command.arg("env");
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments.split(' '));
        if arguments.starts_with("install") {
            command.args(packages.split(' '));
        }
        run(&mut command).map_err(|error| format!("{missing}, and installing {packages} failed: {error}"))?;
    }
    Ok(())
}

/// Runs a command without questions; what it says counts only where it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).rev().take(3).collect();
    Err(format!(
        "{name} ended with {}: {}",
        output.status,
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    ))
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The tool, built. With the features of the workspace, as this program is: nothing of wgpu is built anew for
/// it.
pub(crate) fn layernorm() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["build", "--quiet", "--release", "--workspace", "--bin", "layernorm"])
        .current_dir(ROOT))?;
    let this =
        env::current_exe().map_err(|error| format!("the system hides where this program is: {error}"))?;
    Ok(this.with_file_name(format!("layernorm{}", env::consts::EXE_SUFFIX)))
}

/// The first line that a program prints, or nothing.
pub(crate) fn first_line(command: &mut Command) -> String {
    command
        .stdin(Stdio::null())
        .output()
        .map(|output| {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()
        })
        .unwrap_or_default()
}

const MESA_PACKAGES: &str = "libvulkan1 mesa-vulkan-drivers";

/// Makes sure of the Vulkan loader.
pub(crate) fn vulkan_loader(install: bool) -> Result<()> {
    let arch = env::consts::ARCH;
    let paths = [&format!("/usr/lib/{arch}-linux-gnu/libvulkan.so.1"), "/usr/lib64/libvulkan.so.1"];
    file(&paths, MESA_PACKAGES, install).map(|_| ())
}

/// The manifest of a Mesa driver, and with it the Vulkan loader.
pub(crate) fn mesa_driver(name: &str, install: bool) -> Result<PathBuf> {
    let arch = env::consts::ARCH;
    vulkan_loader(install)?;
    file(
        &[
            &format!("/usr/share/vulkan/icd.d/{name}_icd.{arch}.json"),
            &format!("/usr/share/vulkan/icd.d/{name}_icd.json"),
        ],
        MESA_PACKAGES,
        install,
    )
}

/// The version of the package, from the driver's own words in a file name being too much to ask: `Mesa
/// 22.3.6-1`.
pub(crate) fn mesa_version(manifest: &Path) -> String {
    let package =
        Command::new("dpkg-query").args(["-f", "${Version}\n", "-W", "mesa-vulkan-drivers"]).output();
    match package {
        Ok(output) if output.status.success() => {
            format!("Mesa {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => manifest.display().to_string(),
    }
}

/// The number of a version of Mesa's, as its source has it: the `22.3.6` of `Mesa 22.3.6-1`.
pub(crate) fn mesa_number(version: &str) -> Result<&str> {
    upstream(version)
        .strip_prefix("Mesa ")
        .ok_or_else(|| format!("which version of Mesa is installed cannot be told from {version}"))
}

/// A version without what a distribution adds to it.
pub(crate) fn upstream(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// node, and the directory of the JavaScript example with Dawn (npm's `webgpu`, pinned there) in it.
pub(crate) fn dawn(install: bool) -> Result<(PathBuf, PathBuf)> {
    let node = program("node", "nodejs", install)?;
    let example = Path::new(ROOT).join("examples/javascript");
    let example = example.canonicalize().map_err(|error| format!("{}: {error}", example.display()))?;
    if !example.join("node_modules/webgpu/package.json").is_file() {
        if !install {
            return Err(format!(
                "Dawn is not there: run `npm ci` in {}, or leave out --no-install",
                example.display()
            ));
        }
        let npm = program("npm", "npm", install)?;
        crate::note("Dawn is not there: npm ci in examples/javascript");
        run(Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&example))?;
    }
    Ok((node, example))
}

/// A Vulkan manifest for SwiftShader, which Chromium brings.
pub(crate) fn swiftshader(install: bool) -> Result<PathBuf> {
    let library = match env::var_os("LAYERNORM_SWIFTSHADER") {
        Some(library) if Path::new(&library).is_file() => PathBuf::from(library),
        Some(library) => {
            return Err(format!("LAYERNORM_SWIFTSHADER is {}, which is no file", library.display()));
        }
        None => file(&["/usr/lib/chromium/libvk_swiftshader.so"], "chromium", install)?,
    };
    manifest(&store()?.join("swiftshader.json"), &library)
}

/// Writes a manifest for the Vulkan loader, of a driver that is a library.
pub(crate) fn manifest(path: &Path, library: &Path) -> Result<PathBuf> {
    let text = serde_json::json!({
        "file_format_version": "1.0.0",
        "ICD": { "library_path": library, "api_version": "1.3.0" }
    });
    fs::write(path, text.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_owned())
}

/// DXC's library, as a Python package carries it.
pub(crate) fn dxc(install: bool) -> Result<PathBuf> {
    const VERSION: &str = "0.17.5";
    let store = store()?;
    // The version is in its name: it is called through the interfaces of this one.
    let library = store.join(format!("libdxcompiler-{VERSION}.so"));
    if library.is_file() {
        return Ok(library);
    }
    if env::consts::OS != "linux" || !["x86_64", "aarch64"].contains(&env::consts::ARCH) {
        return Err("the package that carries DXC has it for Linux on x86-64 and arm64 only".to_owned());
    }
    if !install {
        return Err("DXC is not there: leave out --no-install to fetch it".to_owned());
    }
    let python =
        on_path("python3").ok_or("DXC is not there, and there is no python3 whose pip could fetch it")?;
    let tar = on_path("tar").ok_or("DXC is not there, and there is no tar to unpack it")?;
    crate::note(&format!("DXC is not there: fetching compushady {VERSION} with pip"));
    let room = tempfile::tempdir_in(&store).map_err(|error| format!("no temporary directory: {error}"))?;
    run(Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--no-binary", ":all:", &format!("compushady=={VERSION}")])
        .current_dir(room.path()))?;
    let member =
        format!("compushady-{VERSION}/compushady/backends/libdxcompiler_{}.so.3.7", env::consts::ARCH);
    run(Command::new(tar)
        .args(["xzf", &format!("compushady-{VERSION}.tar.gz"), &member])
        .current_dir(room.path()))?;
    fs::rename(room.path().join(&member), &library)
        .map_err(|error| format!("{}: {error}", library.display()))?;
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_without_what_the_distribution_adds() {
        assert_eq!((upstream("Mesa 22.3.6-1+deb12u1"), upstream("Mesa 25")), ("Mesa 22.3.6", "Mesa 25"));
    }
}
