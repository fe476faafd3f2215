//! Makes sure that the machine has an adapter for wgpu: a GPU, or Mesa's software adapter lavapipe.
//!
//! This looks for what the Vulkan loader would look for and does not ask wgpu, which would make every command wait for
//! the build of wgpu. It can be wrong where a driver is installed and does not work; the demo and the tests then say so.

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

/// Makes sure that wgpu's GL back end has an adapter, Mesa's llvmpipe where there is no other. The error says what is missing.
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
    // Distributions install the drivers of GPUs that the machine does not have: without a device they do not count.
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

/// The `library_path` of a driver's manifest. A scan and not a JSON parser: the key occurs once in a manifest, and a
/// path with an escaped character only makes the library count as missing.
fn library_path(manifest: &str) -> Option<&str> {
    let (_, rest) = manifest.split_once("\"library_path\"")?;
    rest.split('"').nth(1)
}

/// The device file of a GPU: of a kernel driver with render nodes, of NVIDIA's driver in a container, or of WSL.
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
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            os: "linux",
            loader: true,
            drivers: Vec::new(),
            override_variable: None,
            gpu_device: None,
            apt: true,
        }
    }

    fn driver(name: &str, software: bool) -> Driver {
        Driver { manifest: format!("/usr/share/vulkan/icd.d/{name}.json").into(), software }
    }

    #[track_caller]
    fn refusal(facts: &Facts, no_install: bool) -> String {
        match decide(facts, no_install) {
            Decision::Refuse(message) => message,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_software_driver_is_an_adapter() {
        let facts = Facts { drivers: vec![driver("lvp_icd", true), driver("radeon_icd", false)], ..facts() };
        assert_eq!(
            decide(&facts, true),
            Decision::Ready("adapter: no GPU device; Vulkan drivers: lvp_icd.json (software)".into())
        );
    }

    #[test]
    fn a_hardware_driver_is_one_only_with_a_device() {
        let mut facts = Facts { drivers: vec![driver("radeon_icd", false)], ..facts() };
        assert!(matches!(decide(&facts, false), Decision::Install(_)));
        facts.gpu_device = Some("/dev/dri/renderD128".into());
        assert_eq!(
            decide(&facts, false),
            Decision::Ready(
                "adapter: GPU device /dev/dri/renderD128; Vulkan drivers: radeon_icd.json".into()
            )
        );
    }

    #[test]
    fn without_the_loader_a_driver_is_no_use() {
        let facts = Facts { loader: false, drivers: vec![driver("lvp_icd", true)], ..facts() };
        assert_eq!(decide(&facts, false), Decision::Install("no Vulkan loader (libvulkan.so.1)".into()));
    }

    #[test]
    fn no_install_says_what_to_install() {
        let message = refusal(&facts(), true);
        assert!(message.contains("apt-get install libvulkan1 mesa-vulkan-drivers"), "{message}");
    }

    #[test]
    fn without_apt_the_packages_are_named() {
        let message = refusal(&Facts { apt: false, ..facts() }, false);
        assert!(message.contains("Fedora: vulkan-loader mesa-vulkan-drivers"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn installing_cannot_help_against_an_override() {
        let message = refusal(&Facts { override_variable: Some("VK_DRIVER_FILES"), ..facts() }, false);
        assert!(message.contains("VK_DRIVER_FILES"), "{message}");
    }

    #[test]
    fn macos_and_windows_bring_their_own() {
        for os in ["macos", "windows"] {
            let facts = Facts { os, loader: false, apt: false, ..facts() };
            assert!(matches!(decide(&facts, true), Decision::Ready(_)));
        }
    }

    #[test]
    #[cfg(unix)]
    fn manifest_directories_follow_the_environment() {
        let none = manifest_directories(|_| None);
        assert!(
            none.contains(&"/usr/share/vulkan/icd.d".into()) && none.contains(&"/etc/vulkan/icd.d".into())
        );
        let set = manifest_directories(|name| match name {
            "HOME" => Some("/users/a".into()),
            "XDG_DATA_DIRS" => Some("/x:/y".into()),
            _ => None,
        });
        assert!(set.contains(&"/users/a/.local/share/vulkan/icd.d".into()));
        assert!(set.contains(&"/y/vulkan/icd.d".into()) && !set.contains(&"/usr/share/vulkan/icd.d".into()));
    }

    #[test]
    fn library_path_is_found_on_one_line_or_several() {
        assert_eq!(library_path(r#"{"ICD":{"library_path":"libvulkan_lvp.so"}}"#), Some("libvulkan_lvp.so"));
        assert_eq!(library_path("{\n  \"library_path\" :\n \"../a.so\",\n \"x\": 1}"), Some("../a.so"));
        assert_eq!(library_path(r#"{"library_path": 3}"#), None);
        assert_eq!(library_path("not JSON"), None);
    }

    #[test]
    fn drivers_count_if_their_library_exists() {
        let root = Scratch::new("drivers");
        let manifest = |name: &str, library: &str| {
            root.write(&format!("icd.d/{name}"), &format!(r#"{{"ICD": {{"library_path": "{library}"}}}}"#));
        };
        root.write("lib/libvulkan_lvp.so", "");
        root.write("beside.so", "");
        manifest("lvp_icd.json", "libvulkan_lvp.so");
        manifest("beside.json", "../beside.so");
        manifest("cached.json", "libcached.so");
        manifest("gone.json", "libgone.so");
        manifest("notes.txt", "libvulkan_lvp.so");
        root.write("icd.d/broken.json", "{");
        let libraries = Libraries {
            cache: "1 libs found\n\tlibcached.so (libc6,x86-64) => /lib/libcached.so\n".into(),
            directories: vec![root.0.join("lib")],
        };
        let names = |places: &[PathBuf]| {
            drivers(places, &libraries).iter().map(Driver::name).collect::<Vec<_>>().join(" ")
        };
        let directory = root.0.join("icd.d");
        assert_eq!(
            names(&[directory.clone(), directory.clone()]),
            "beside.json cached.json lvp_icd.json (software)"
        );
        assert_eq!(names(&[directory.join("cached.json"), directory.join("absent.json")]), "cached.json");
    }

    #[test]
    fn gpu_devices_are_told_from_other_files() {
        let root = Scratch::new("devices");
        for other in ["dri/card0", "nvidiactl", "null"] {
            root.write(other, "");
        }
        assert_eq!(gpu_device(&root.0), None);
        for name in ["dxg", "nvidia0", "dri/renderD128"] {
            let _ = fs::remove_file(root.0.join("dxg"));
            let _ = fs::remove_file(root.0.join("nvidia0"));
            root.write(name, "");
            assert_eq!(gpu_device(&root.0), Some(root.0.join(name)));
        }
    }

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(env::temp_dir().join(format!("xtask-{name}-{}", std::process::id())))
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
