//! Makes sure that the machine has an adapter for wgpu: a GPU, or Mesa's software adapter lavapipe.
//!
//! This looks for what the Vulkan loader would look for and does not ask wgpu, which would make every command
//! wait for the build of wgpu. It can be wrong where a driver is installed and does not work; the demo and
//! the tests then say so.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, apt, note};

const LOADER: &str = "libvulkan.so.1";
const APT_PACKAGES: &str = "libvulkan1 mesa-vulkan-drivers";
/// What wgpu's GL back end opens, and Mesa's drivers behind it.
const EGL: &str = "libEGL.so.1";
const GL_APT_PACKAGES: &str = "libegl1 libgl1-mesa-dri";

/// What the decision rests on.
struct Facts {
    os: &'static str,
    loader: bool,
    drivers: Vec<Driver>,
    /// The environment variable that, where it is set, names the drivers in place of the system's.
    override_variable: Option<&'static str>,
    gpu_device: Option<PathBuf>,
    apt: bool,
}

/// A Vulkan driver whose library exists.
struct Driver {
    manifest: PathBuf,
    software: bool,
}

#[derive(Debug, PartialEq)]
enum Decision {
    /// There is an adapter; the text says which.
    Ready(String),
    /// apt-get can supply one; the text says what is missing.
    Install(String),
    /// There is none; the text says what to do.
    Refuse(String),
}

/// Makes sure that there is an adapter and returns a line that says what was found.
pub(crate) fn ensure(no_install: bool) -> Result<String> {
    let missing = match decide(&Facts::gather(), no_install) {
        Decision::Ready(found) => return Ok(found),
        Decision::Refuse(message) => return Err(message),
        Decision::Install(missing) => missing,
    };
    note(&format!(
        "{missing}: installing {APT_PACKAGES} (the Vulkan loader and the software adapter lavapipe)"
    ));
    apt::install(APT_PACKAGES)?;
    match decide(&Facts::gather(), no_install) {
        Decision::Ready(found) => Ok(found),
        Decision::Install(missing) => Err(format!(
            "installed {APT_PACKAGES}, but there is still {missing}: if XDG_DATA_DIRS is set, it must hold /usr/share"
        )),
        Decision::Refuse(message) => Err(message),
    }
}

/// Makes sure that wgpu's GL back end has an adapter, Mesa's llvmpipe where there is no other. The error says
/// what is missing.
pub(crate) fn ensure_gl(no_install: bool) -> Result<()> {
    if env::consts::OS != "linux" {
        return Err(format!("there is no {EGL} on {}", env::consts::OS));
    }
    let find = || Libraries::gather().contain(EGL).then_some(());
    apt::find_or_install(
        find,
        &format!("there is no {EGL}"),
        GL_APT_PACKAGES,
        "for wgpu's GL back end",
        no_install,
    )
}

/// The variable that names the drivers in place of the system's, if one is set, and its paths.
pub(crate) fn named_drivers() -> Option<(&'static str, OsString)> {
    ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
        .into_iter()
        .find_map(|name| Some((name, env::var_os(name).filter(|value| !value.is_empty())?)))
}

fn decide(facts: &Facts, no_install: bool) -> Decision {
    if matches!(facts.os, "macos" | "windows") {
        return Decision::Ready(format!("adapter: the one that {} brings; nothing to install", facts.os));
    }
    // Distributions install the drivers of GPUs that the machine does not have: without a device they do not
    // count.
    let usable = facts.drivers.iter().filter(|driver| driver.software || facts.gpu_device.is_some());
    let names: Vec<String> = usable.map(Driver::name).collect();
    if facts.loader && !names.is_empty() {
        let device = match &facts.gpu_device {
            Some(device) => format!("GPU device {}", device.display()),
            None => "no GPU device".to_owned(),
        };
        return Decision::Ready(format!("adapter: {device}; Vulkan drivers: {}", names.join(", ")));
    }

    let missing = match (facts.loader, names.is_empty()) {
        (false, true) => {
            format!("no Vulkan loader ({LOADER}) and no Vulkan driver that can run on this machine")
        }
        (false, false) => format!("no Vulkan loader ({LOADER})"),
        (true, _) => "no Vulkan driver that can run on this machine".to_owned(),
    };
    if let (Some(variable), true) = (facts.override_variable, names.is_empty()) {
        return Decision::Refuse(format!(
            "{variable} names no Vulkan driver that can run on this machine: unset or correct it"
        ));
    }
    match (facts.apt, no_install) {
        (true, false) => Decision::Install(missing),
        (true, true) => Decision::Refuse(format!(
            "{missing}: run `apt-get install {APT_PACKAGES}` as root, or leave out --no-install"
        )),
        (false, _) => Decision::Refuse(format!(
            "{missing}: install the driver of your GPU or the software adapter lavapipe (Fedora: vulkan-loader \
             mesa-vulkan-drivers; Arch: vulkan-icd-loader vulkan-swrast; Alpine: vulkan-loader mesa-vulkan-swrast)"
        )),
    }
}

impl Facts {
    fn gather() -> Self {
        let libraries = Libraries::gather();
        let (override_variable, manifests) = match named_drivers() {
            Some((name, value)) => (Some(name), env::split_paths(&value).collect()),
            None => (None, manifest_directories(|name| env::var_os(name))),
        };
        Self {
            os: env::consts::OS,
            loader: libraries.contain(LOADER),
            drivers: drivers(&manifests, &libraries),
            override_variable,
            gpu_device: gpu_device(Path::new("/dev")),
            apt: apt::on_path("apt-get"),
        }
    }
}

impl Driver {
    fn name(&self) -> String {
        let file = self.manifest.file_name().unwrap_or_default().display();
        if self.software { format!("{file} (software)") } else { file.to_string() }
    }
}

/// The directories where the Vulkan loader looks for drivers, by the rules of the XDG base directories.
fn manifest_directories(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let home = |name, below| {
        set(name).map(PathBuf::from).or_else(|| set("HOME").map(|home| Path::new(&home).join(below)))
    };
    let list = |name, default: &str| {
        env::split_paths(&set(name).unwrap_or_else(|| default.into())).collect::<Vec<_>>()
    };
    home("XDG_CONFIG_HOME", ".config")
        .into_iter()
        .chain(list("XDG_CONFIG_DIRS", "/etc/xdg"))
        .chain(["/etc".into(), "/usr/local/etc".into()])
        .chain(home("XDG_DATA_HOME", ".local/share"))
        .chain(list("XDG_DATA_DIRS", "/usr/local/share:/usr/share"))
        .map(|directory| directory.join("vulkan/icd.d"))
        .collect()
}

/// The drivers whose library exists, of `places`: manifests, or directories of them.
fn drivers(places: &[PathBuf], libraries: &Libraries) -> Vec<Driver> {
    let mut manifests = Vec::new();
    for place in places {
        match fs::read_dir(place) {
            Ok(entries) => manifests.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => manifests.push(place.clone()),
        }
    }
    manifests.retain(|manifest| manifest.extension() == Some(OsStr::new("json")));
    manifests.sort();
    manifests.dedup();
    manifests.retain(|manifest| {
        let text = fs::read_to_string(manifest).unwrap_or_default();
        library_path(&text).is_some_and(|library| match library.contains('/') {
            true => manifest.parent().is_some_and(|directory| directory.join(library).is_file()),
            false => libraries.contain(library),
        })
    });
    manifests
        .into_iter()
        .map(|manifest| {
            let name = manifest.file_name().unwrap_or_default().to_string_lossy();
            let software = ["lvp", "lavapipe", "swiftshader"].iter().any(|part| name.contains(part));
            Driver { manifest, software }
        })
        .collect()
}

/// The `library_path` of a driver's manifest. A scan and not a JSON parser: the key occurs once in a
/// manifest, and a path with an escaped character only makes the library count as missing.
fn library_path(manifest: &str) -> Option<&str> {
    let (_, rest) = manifest.split_once("\"library_path\"")?;
    rest.split('"').nth(1)
}

/// The device file of a GPU: of a kernel driver with render nodes, of NVIDIA's driver in a container, or of
/// WSL.
fn gpu_device(directory: &Path) -> Option<PathBuf> {
    let numbered = |name: &str, prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    [directory.join("dri"), directory.to_owned()]
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            numbered(&name, "renderD") || numbered(&name, "nvidia") || name == "dxg"
        })
        .map(|entry| entry.path())
        .min()
}

/// Where the dynamic linker finds libraries.
struct Libraries {
    /// What `ldconfig -p` prints; empty where there is no such cache, as with musl.
    cache: String,
    directories: Vec<PathBuf>,
}

impl Libraries {
    fn gather() -> Self {
        // Outside of root's search path on some systems, hence the second name.
        let cache = ["ldconfig", "/sbin/ldconfig"]
            .iter()
            .find_map(|program| Command::new(program).arg("-p").output().ok())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let mut directories: Vec<PathBuf> =
            env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths).collect();
        directories.extend(["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
        directories.push(format!("/usr/lib/{}-linux-gnu", env::consts::ARCH).into());
        Self { cache, directories }
    }

    fn contain(&self, name: &str) -> bool {
        self.cache.lines().any(|line| line.split_whitespace().next() == Some(name))
            || self.directories.iter().any(|directory| directory.join(name).exists())
    }
}

#[cfg(test)]
mod tests;
