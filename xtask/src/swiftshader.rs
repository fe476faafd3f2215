//! SwiftShader as a Vulkan driver: a software adapter unlike lavapipe (subgroups of 4, no 16-bit floats, 256 invocations),
//! which browsers bring.

use std::env;
use std::path::{Path, PathBuf};

use crate::{apt, note};

/// The library, for those who have it elsewhere; its manifest lies beside it. `cargo xtask vendors` reads it, too.
const VARIABLE: &str = "LAYERNORM_SWIFTSHADER";
const LIBRARY: &str = "/usr/lib/chromium/libvk_swiftshader.so";
const MANIFEST: &str = "vk_swiftshader_icd.json";
const APT_PACKAGE: &str = "chromium";

/// The driver's manifest; Debian's package is installed where there is none. The error says what is missing.
pub(crate) fn ensure(no_install: bool) -> Result<PathBuf, String> {
    let library = env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(library) = &library {
        return present(library).ok_or_else(|| {
            format!("{VARIABLE} is {}, and that or {MANIFEST} beside it is no file", library.display())
        });
    }
    if let Some(manifest) = present(Path::new(LIBRARY)) {
        return Ok(manifest);
    }
    let missing = format!("there is no {LIBRARY}");
    if env::consts::OS != "linux" || !apt::on_path("apt-get") {
        return Err(format!("{missing}: install Chromium, or set {VARIABLE} to the library of one"));
    }
    if no_install {
        return Err(format!(
            "{missing}: run `apt-get install {APT_PACKAGE}` as root, or leave out --no-install"
        ));
    }
    note(&format!("{missing}: installing {APT_PACKAGE} (for the software adapter SwiftShader)"));
    apt::install(APT_PACKAGE)?;
    present(Path::new(LIBRARY)).ok_or_else(|| format!("{APT_PACKAGE} was installed, but {missing}"))
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
