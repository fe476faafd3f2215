//! What is decided from which facts, and how a machine's files tell them.

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
        Decision::Ready("adapter: GPU device /dev/dri/renderD128; Vulkan drivers: radeon_icd.json".into())
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
    assert!(none.contains(&"/usr/share/vulkan/icd.d".into()) && none.contains(&"/etc/vulkan/icd.d".into()));
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
