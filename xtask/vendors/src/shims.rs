//! The libraries of Mesa's own tools that answer for a kernel driver, so that a driver compiles for a GPU
//! that is not there: built from source, once, and then found.

mod crates;
mod programs;
mod source;

use crate::Result;
use crate::tools::{self, remove};
use crates::crates;
use programs::{packages, python, python_tool, rust};
use source::source;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// What is built of a version of Mesa.
#[derive(Debug)]
pub(crate) struct Shim {
    /// The compiler that it is for, by the name on the command line.
    pub(crate) name: &'static str,
    /// The version of Mesa; `None`: that of the driver that is installed.
    mesa: Option<&'static str>,
    /// Arguments of meson beside [`LEAST`].
    options: &'static [&'static str],
    /// The library, in the directory of the build.
    shim: &'static str,
    /// The driver, likewise, if that is not the installed one.
    driver: Option<&'static str>,
    /// Whether part of it is written in Rust.
    rust: bool,
}

pub(crate) const INTEL: Shim = Shim {
    name: "intel",
    mesa: None,
    options: &["-Dtools=drm-shim,intel", "-Dvulkan-drivers=", "-Dbuildtype=release"],
    shim: "src/intel/tools/libintel_noop_drm_shim.so",
    driver: None,
    rust: false,
};

pub(crate) const ADRENO: Shim = Shim {
    name: "adreno",
    mesa: Some("25.0.7"),
    options: &[
        "-Dtools=drm-shim",
        "-Dvulkan-drivers=freedreno",
        "-Dfreedreno-kmds=msm",
        "-Dbuildtype=plain",
        "-Dc_args=-O1",
        "-Dcpp_args=-O1",
        "-Dxmlconfig=disabled",
    ],
    shim: "src/freedreno/drm-shim/libfreedreno_noop_drm_shim.so",
    driver: Some("src/freedreno/vulkan/libvulkan_freedreno.so"),
    rust: false,
};

pub(crate) const NVK: Shim = Shim {
    name: "nvk",
    mesa: Some("25.0.7"),
    options: &[
        "-Dtools=drm-shim",
        "-Dvulkan-drivers=nouveau",
        "-Dbuildtype=plain",
        "-Dc_args=-O1",
        "-Dcpp_args=-O1",
        "-Dxmlconfig=disabled",
    ],
    shim: "src/nouveau/drm-shim/libnouveau_noop_drm_shim.so",
    driver: Some("src/nouveau/vulkan/libvulkan_nouveau.so"),
    rust: true,
};

const SHIMS: [&Shim; 3] = [&INTEL, &ADRENO, &NVK];

/// Nothing of Mesa but what is named beside it.
const LEAST: [&str; 15] = [
    "--wrap-mode=nodownload",
    "-Dgallium-drivers=",
    "-Dplatforms=",
    "-Dglx=disabled",
    "-Degl=disabled",
    "-Dgbm=disabled",
    "-Dopengl=false",
    "-Dgles1=disabled",
    "-Dgles2=disabled",
    "-Dllvm=disabled",
    "-Dvalgrind=disabled",
    "-Dlibunwind=disabled",
    "-Dzstd=disabled",
    "-Dvideo-codecs=",
    "-Dshader-cache=disabled",
];

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// To be loaded before the driver.
    pub(crate) shim: PathBuf,
    /// Of the driver that was built with it.
    pub(crate) manifest: Option<PathBuf>,
}

impl Shim {
    /// The version of Mesa to build, where `installed` is the driver's, if there is one.
    pub(crate) fn version(&self, installed: Option<&str>) -> Result<String> {
        self.mesa.or(installed).map(str::to_owned).ok_or_else(|| {
            format!("{}: the version of the driver that it is to go with is not known", self.name)
        })
    }

    /// Where it is kept, once it is built.
    fn place(&self, version: &str) -> Result<PathBuf> {
        Ok(tools::store()?.join("shims").join(format!("{}-{version}", self.name)))
    }

    /// What was built for a version of Mesa; the error says how to.
    pub(crate) fn find(&self, version: &str) -> Result<Built> {
        let place = self.place(version)?;
        let shim = place.join(file_name(self.shim));
        if !shim.is_file() {
            return Err(format!(
                "not built for Mesa {version}: `cargo xtask vendors --build-shims` builds it, see docs/vendors.md"
            ));
        }
        let manifest = match self.driver {
            None => None,
            // Written anew each time: it names where the driver is, and the directory may have moved.
            Some(driver) => {
                Some(tools::manifest(&place.join("manifest.json"), &place.join(file_name(driver)))?)
            }
        };
        Ok(Built { shim, manifest })
    }
}

fn file_name(path: &str) -> &OsStr {
    Path::new(path).file_name().unwrap_or_default()
}

/// Builds those of the compilers named, or all, and says what came of each.
pub(crate) fn build(only: &[crate::Compiler], install: bool) -> Result<ExitCode> {
    if let Some(other) = only.iter().find(|compiler| SHIMS.iter().all(|shim| shim.name != compiler.name())) {
        let names: Vec<&str> = SHIMS.iter().map(|shim| shim.name).collect();
        return Err(format!("--build-shims: {} needs none; these do: {}", other.name(), names.join(", ")));
    }
    let mut failed = 0;
    for shim in SHIMS {
        if !only.is_empty() && only.iter().all(|compiler| compiler.name() != shim.name) {
            continue;
        }
        if let Err(message) = shim.build(install) {
            crate::print(&format!("{}: not built: {message}", shim.name));
            failed += 1;
        }
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

impl Shim {
    fn build(&self, install: bool) -> Result<()> {
        let say = |what: &str| crate::print(&format!("{}: {what}", self.name));
        let installed = match self.driver {
            // It goes with the driver that is installed.
            None => Some(tools::mesa_version(&tools::mesa_driver(self.name, install)?)),
            Some(_) => None,
        };
        let number = installed.as_deref().map(tools::mesa_number).transpose()?;
        let version = self.version(number)?;
        let place = self.place(&version)?;
        if let Ok(built) = self.find(&version) {
            say(&format!("is there, of Mesa {version}: {}", built.shim.display()));
            return Ok(());
        }
        if env::consts::OS != "linux" {
            return Err("Mesa's drivers for kernels that are not there are Linux's".to_owned());
        }
        let start = Instant::now();
        packages(install)?;
        let room = tools::store()?.join("mesa");
        fs::create_dir_all(&room).map_err(|error| format!("cannot create {}: {error}", room.display()))?;
        let tools = python(&room, install, &say)?;
        let rust = self.rust.then(|| rust(&room, install, &say)).transpose()?;
        let archive = source(&room, &version, install, &say)?;

        // What a run that was ended has left is no part of this one.
        let work = room.join(self.name);
        remove(&work)?;
        let (tree, build) = (work.join("source"), work.join("build"));
        fs::create_dir_all(&tree).map_err(|error| format!("cannot create {}: {error}", tree.display()))?;
        tools::run(
            Command::new("tar").arg("xf").arg(&archive).arg("--strip-components=1").arg("-C").arg(&tree),
        )?;
        if self.rust {
            crates(&tree, &work)?;
        }
        let log = room.join(format!("{}.log", self.name));
        say(&format!("building Mesa {version}, which takes minutes; its messages are in {}", log.display()));
        let log_file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let programs: Vec<&Path> = std::iter::once(&tools).chain(&rust).map(PathBuf::as_path).collect();
        let mut meson = python_tool(&programs, "meson");
        meson.arg("setup").arg(&build).arg(&tree).args(LEAST).args(self.options);
        let mut ninja = python_tool(&programs, "ninja");
        ninja.arg("-C").arg(&build).arg(self.shim).args(self.driver);
        for command in [&mut meson, &mut ninja] {
            logged(command, &log_file)
                .map_err(|error| format!("{error}: see the end of {}", log.display()))?;
        }

        // All of it at once: what is there is whole.
        let whole = work.join("whole");
        fs::create_dir_all(&whole).map_err(|error| format!("cannot create {}: {error}", whole.display()))?;
        for library in std::iter::once(self.shim).chain(self.driver) {
            let to = whole.join(file_name(library));
            fs::copy(build.join(library), &to).map_err(|error| format!("{}: {error}", to.display()))?;
        }
        if let Some(above) = place.parent() {
            fs::create_dir_all(above)
                .map_err(|error| format!("cannot create {}: {error}", above.display()))?;
        }
        remove(&place)?;
        fs::rename(&whole, &place).map_err(|error| format!("{}: {error}", place.display()))?;
        remove(&work)?;
        let built = self.find(&version)?;
        let seconds = start.elapsed().as_secs();
        say(&format!("built of Mesa {version} in {seconds} s: {}", built.shim.display()));
        Ok(())
    }
}

/// Runs a command, whose messages go to a file.
fn logged(command: &mut Command, log: &fs::File) -> Result<()> {
    let name = command.get_program().display().to_string();
    let file = || log.try_clone().map_err(|error| format!("the log: {error}"));
    let status = command
        .stdin(Stdio::null())
        .stdout(file()?)
        .stderr(file()?)
        .status()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_says_how_to_build_it() {
        let message = INTEL.find("0.0").unwrap_err();
        assert!(message.contains("not built for Mesa 0.0") && message.contains("--build-shims"), "{message}");
    }

    #[test]
    fn a_shim_goes_with_a_version() {
        assert_eq!(INTEL.version(Some("22.3.6")), Ok("22.3.6".to_owned()));
        assert_eq!(ADRENO.version(None), Ok("25.0.7".to_owned()));
        assert!(INTEL.version(None).is_err());
    }
}
