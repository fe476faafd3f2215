//! The page as a directory of static files: those of `web/page/`, and the WebAssembly with the JavaScript
//! that loads it.

use std::fs;
use std::path::Path;

use wasm_bindgen_cli_support::Bindgen;

use crate::Result;

/// The files that are written by hand, fixed when this program is built: it is only ever run from its own
/// checkout.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../page");

/// Where the generated files lie; `web/page/worker.js` imports them from there.
const GENERATED: &str = "generated";

/// Writes the page to `site`, in place of what is there.
pub(crate) fn build(wasm: &Path, site: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("cannot write the page to {}: {error}", site.display());
    if site.exists() {
        fs::remove_dir_all(site).map_err(failed)?;
    }
    fs::create_dir_all(site).map_err(failed)?;
    for entry in fs::read_dir(PAGE).map_err(|error| format!("cannot read {PAGE}: {error}"))? {
        let entry = entry.map_err(failed)?;
        fs::copy(entry.path(), site.join(entry.file_name())).map_err(failed)?;
    }
    let generate = || {
        let mut bindgen = Bindgen::new();
        bindgen.input_path(wasm).web(true)?;
        // The module finds its WebAssembly beside itself.
        bindgen.omit_default_module_path(false).typescript(false).remove_name_section(true);
        bindgen.generate(site.join(GENERATED))
    };
    generate()
        .map_err(|error| format!("cannot make the page's JavaScript from {}: {error:#}", wasm.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// wasm-bindgen's tool refuses WebAssembly of another version of its library, after minutes of building
    /// it.
    #[test]
    fn both_halves_of_wasm_bindgen_have_one_version() {
        let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        let version = |package: &str| {
            let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).unwrap();
            after.split('"').next().unwrap().to_owned()
        };
        assert_eq!(
            version("wasm-bindgen"),
            version("wasm-bindgen-cli-support"),
            "set wasm-bindgen-cli-support in web/harness/Cargo.toml to the version of wasm-bindgen"
        );
    }

    #[test]
    fn what_is_no_webassembly_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let wasm = scratch.path().join("no.wasm");
        fs::write(&wasm, "text").unwrap();
        let message = build(&wasm, &scratch.path().join("site")).unwrap_err();
        assert!(message.contains("no.wasm"), "{message}");
    }
}
