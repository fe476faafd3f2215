//! SwiftShader as a Vulkan driver: a software adapter unlike lavapipe (subgroups of 4, no 16-bit floats, 256
//! invocations), which browsers bring.

use std::env;
use std::path::{Path, PathBuf};

use crate::{Result, apt};

/// The library, for those who have it elsewhere; its manifest lies beside it. `cargo xtask vendors` reads it,
/// too.
const VARIABLE: &str = "LAYERNORM_SWIFTSHADER";
const LIBRARY: &str = "/usr/lib/chromium/libvk_swiftshader.so";
const MANIFEST: &str = "vk_swiftshader_icd.json";
const APT_PACKAGE: &str = "chromium";

/// The driver's manifest; Debian's package is installed where there is none. The error says what is missing.
pub(crate) fn ensure(no_install: bool) -> Result<PathBuf> {
    let library = env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(library) = &library {
        return present(library).ok_or_else(|| {
            format!("{VARIABLE} is {}, and that or {MANIFEST} beside it is no file", library.display())
        });
    }
    if env::consts::OS != "linux" {
        return Err(format!("there is no SwiftShader: set {VARIABLE} to the library of a Chromium"));
    }
    apt::find_or_install(
        || present(Path::new(LIBRARY)),
        &format!("there is no {LIBRARY}, and {VARIABLE} is not set"),
        APT_PACKAGE,
        "for the software adapter SwiftShader",
        no_install,
    )
}

fn present(library: &Path) -> Option<PathBuf> {
    let manifest = library.with_file_name(MANIFEST);
    (library.is_file() && manifest.is_file()).then_some(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_to_be_there() {
        let root = env::temp_dir().join(format!("xtask-swiftshader-{}", std::process::id()));
        let library = root.join("libvk_swiftshader.so");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(&library, "").unwrap();
        assert_eq!(present(&library), None);
        std::fs::write(root.join(MANIFEST), "{}").unwrap();
        assert_eq!(present(&library), Some(root.join(MANIFEST)));
        assert_eq!(present(&root.join("other/libvk_swiftshader.so")), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
