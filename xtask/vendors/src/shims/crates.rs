//! The sources of the crates that a build of Mesa needs, as cargo fetches them.

use crate::Result;
use crate::tools;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that Mesa's build takes as sources; their versions are in its subprojects.
const CRATES: [&str; 5] = ["paste", "proc-macro2", "quote", "syn", "unicode-ident"];

/// Lays the sources of crates where meson looks for them before it would fetch them.
pub(super) fn crates(tree: &Path, work: &Path) -> Result<()> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = cargo_home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let cache = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/cache");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(crate::directory_of(path))
            .and_then(|()| fs::write(path, text))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    for name in CRATES {
        let wrap = tree.join(format!("subprojects/{name}.wrap"));
        let text = fs::read_to_string(&wrap).map_err(|error| format!("{}: {error}", wrap.display()))?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("source_filename = ")?.strip_prefix(name)?.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".tar.gz"))
            .ok_or_else(|| format!("{} names no source", wrap.display()))?;
        // A package that needs nothing else: two of the versions do not go together in one.
        let package = work.join("crates").join(name);
        let manifest = format!(
            "[package]\nname = \"fetched\"\nversion = \"0.0.0\"\n[workspace]\n[dependencies]\n{name} = \"={version}\"\n"
        );
        write(&package.join("Cargo.toml"), &manifest)?;
        write(&package.join("src/lib.rs"), "")?;
        tools::run(Command::new(&cargo).args(["fetch", "--quiet"]).current_dir(&package))?;
        let registries = fs::read_dir(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        let file = format!("{name}-{version}.crate");
        let fetched =
            registries.flatten().map(|registry| registry.path().join(&file)).find(|path| path.is_file());
        let fetched =
            fetched.ok_or_else(|| format!("cargo has fetched {name} {version}, but there is no {file}"))?;
        let to = tree.join(format!("subprojects/packagecache/{name}-{version}.tar.gz"));
        fs::create_dir_all(crate::directory_of(&to))
            .and_then(|()| fs::copy(&fetched, &to))
            .map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}
