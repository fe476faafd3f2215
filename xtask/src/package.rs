//! `cargo xtask package`: the package as its users get it. It builds from its own tarball, has what it needs
//! and nothing else, and an application outside the workspace (`tests/consumer/`) runs it with one back end
//! and without any.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::{ROOT, Result, cannot_start_cargo, cargo, print, target_directory, web};

/// Its version is the workspace's.
const PACKAGE: &str = concat!("wgpu-layernorm-", env!("CARGO_PKG_VERSION"));

/// What has to be in the tarball, beside what README and CHANGELOG link to. That it compiles shows the rest.
const NEEDED: [&str; 5] = ["Cargo.toml", "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];
/// The endings of source and text. Plots, reports and the tables of tests are of no use to a dependant.
const ENDINGS: [&str; 5] = ["rs", "wgsl", "md", "toml", "lock"];
/// Names without one of these endings.
const NAMES: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "Cargo.toml.orig", ".cargo_vcs_info.json"];
/// Packed; twice what it has today.
const MOST_BYTES: u64 = 512 << 10;

/// The consumer's features for a back end that every machine with this system has. On others it is Vulkan.
const BACK_END: &str = if cfg!(target_os = "macos") {
    "metal"
} else if cfg!(windows) {
    "dx12"
} else {
    "vulkan"
};

/// Packages of features that the application leaves out, and of tests.
const UNWANTED: [&str; 4] = ["web-time", "serde_json", "rayon", "criterion"];

pub(crate) fn run() -> Result<ExitCode> {
    let start = Instant::now();
    let result = check();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    print(&format!("=== package: {verdict} after {:.1} s", start.elapsed().as_secs_f64()));
    result.map(|()| ExitCode::SUCCESS)
}

fn check() -> Result<()> {
    let consumer = Path::new(ROOT).join("tests/consumer");
    let build = target_directory().join("consumer");
    // The workspace's own step does not reach another workspace.
    succeed(cargo().args(["fmt", "--check"]).current_dir(&consumer))?;

    // All that is built below is offline, so that it is what Cargo.lock names. Nothing is fetched where it is
    // there.
    let host = web::host().ok_or("there is no rustc: install a Rust toolchain")?;
    succeed(cargo().args(["fetch", "--locked", "--target", &host]).current_dir(ROOT))?;

    print("\n=== package: cargo package, which builds what it has packed");
    succeed(quick(&mut cargo(), &build).current_dir(ROOT).args([
        "package",
        // What is to be committed is tested before it is.
        "--allow-dirty",
        "--offline",
        "--package",
        "wgpu-layernorm",
    ]))?;
    let tarball = build.join("package").join(format!("{PACKAGE}.crate"));
    let unpacked = unpack(&tarball, &build.join("unpacked"))?;
    let bytes = fs::metadata(&tarball).map_err(|error| unreadable(&tarball, &error))?.len();
    let wrong = faults(&unpacked, bytes)?;
    if !wrong.is_empty() {
        return Err(format!("the package is wrong (`include` in Cargo.toml): {}", wrong.join("; ")));
    }
    print(&format!("=== package: {bytes} bytes packed, {MOST_BYTES} allowed"));

    // Where `../..` is the package. With the workspace's versions, which are there without a network.
    let application = unpacked.join("tests/consumer");
    copy(&consumer.join("Cargo.toml"), &application.join("Cargo.toml"))?;
    copy(&consumer.join("src/main.rs"), &application.join("src/main.rs"))?;
    copy(&Path::new(ROOT).join("Cargo.lock"), &application.join("Cargo.lock"))?;
    for back_end in [Some(BACK_END), None] {
        print(&format!("\n=== package: an application with {}", back_end.unwrap_or("no back end")));
        let command = |subcommand: &str| {
            let mut command = cargo();
            quick(&mut command, &build).current_dir(&application).args([subcommand, "--offline"]);
            command.args(back_end.map(|back_end| format!("--features={back_end}")));
            command
        };
        let mut tree = command("tree");
        tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p} [{f}]"]);
        let tree = tree.stderr(Stdio::inherit()).output().map_err(cannot_start_cargo)?;
        if !tree.status.success() {
            return Err("cargo does not say what the application depends on: see above".to_owned());
        }
        let unwanted = unwanted(&String::from_utf8_lossy(&tree.stdout), back_end);
        if !unwanted.is_empty() {
            return Err(format!("an application with the feature gpu alone gets {}", unwanted.join(", ")));
        }
        succeed(&mut command("run"))?;
    }
    Ok(())
}

/// Builds into a directory of its own, in which the package and the application share their dependencies.
fn quick<'a>(command: &'a mut Command, build: &Path) -> &'a mut Command {
    // Nobody debugs what is built here.
    command.env("CARGO_TARGET_DIR", build).env("CARGO_PROFILE_DEV_DEBUG", "false")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(cannot_start_cargo)?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: see above")) }
}

/// Unpacks into `place`, which is made anew; returns the package's directory.
fn unpack(tarball: &Path, place: &Path) -> Result<PathBuf> {
    if place.exists() {
        fs::remove_dir_all(place).map_err(|error| format!("cannot remove {}: {error}", place.display()))?;
    }
    make_directory(place)?;
    // Without the times in the tarball, which are the same in each: cargo would take an earlier build for
    // this one's.
    let status = Command::new("tar").arg("-xzmf").arg(tarball).arg("-C").arg(place).status();
    match status {
        Ok(status) if status.success() => Ok(place.join(PACKAGE)),
        Ok(_) => Err(format!("tar cannot unpack {}: see above", tarball.display())),
        Err(error) => Err(format!("cannot start tar, which unpacks the package: {error}")),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_directory(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(|_| ()).map_err(|error| format!("cannot copy {}: {error}", from.display()))
}

fn make_directory(place: &Path) -> Result<()> {
    fs::create_dir_all(place).map_err(|error| format!("cannot make {}: {error}", place.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// What is wrong with an unpacked package, whose tarball has so many bytes.
fn faults(package: &Path, bytes: u64) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    if bytes > MOST_BYTES {
        wrong.push(format!("the tarball has {bytes} bytes, may have {MOST_BYTES}"));
    }
    let texts = ["README.md", "CHANGELOG.md"].map(|name| package.join(name));
    // Whether they are there is said below.
    let texts = texts.map(|text| fs::read_to_string(text).unwrap_or_default());
    let needed: BTreeSet<&str> = texts.iter().flat_map(|text| links(text)).chain(NEEDED).collect();
    let missing = needed.into_iter().filter(|name| !package.join(name).is_file());
    wrong.extend(missing.map(|name| format!("{name} is missing")));
    let mut places = vec![package.to_owned()];
    while let Some(place) = places.pop() {
        let entries = fs::read_dir(&place).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for path in entries.map_err(|error| unreadable(&place, &error))?.iter().map(fs::DirEntry::path) {
            if path.is_dir() {
                places.push(path);
            } else if !has_place(&path) {
                let name = path.strip_prefix(package).unwrap_or(&path);
                wrong.push(format!("{} is neither source nor text", name.display()));
            }
        }
    }
    Ok(wrong)
}

fn has_place(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    let name = path.file_name().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.contains(&ending)) || name.is_some_and(|name| NAMES.contains(&name))
}

/// The files that a text links to, by paths from the package's root. Images are no links: a plot is not
/// packed.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    let targets = markdown.match_indices("](").filter_map(|(end, _)| {
        let (before, after) = markdown.split_at(end);
        let is_image = before[..before.rfind('[')?].ends_with('!');
        let (target, _) = after[2..].split_once(')')?;
        (!is_image).then_some(target)
    });
    let files = targets.map(|target| target.split_once('#').map_or(target, |(file, _)| file));
    files.filter(|file| !file.is_empty() && !file.contains("://"))
}

/// What lines like `wgpu v30.0.1 [std,vulkan,wgsl]`, with ` (*)` after one that came before, name that an
/// application with the feature `gpu` did not ask for.
fn unwanted(tree: &str, back_end: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in tree.lines().map(|line| line.trim_end_matches(" (*)")) {
        let name = line.split(' ').next().unwrap_or_default();
        let features = line.rsplit_once(" [").map_or("", |(_, features)| features.trim_end_matches(']'));
        let more = match name {
            "wgpu-layernorm" => features != "gpu",
            "wgpu" => features
                .split(',')
                .any(|feature| !["std", "wgsl"].contains(&feature) && Some(feature) != back_end),
            _ => UNWANTED.contains(&name),
        };
        if more && !wrong.iter().any(|known| known == line) {
            wrong.push(line.to_owned());
        }
    }
    if !tree.lines().any(|line| line.starts_with("wgpu-layernorm v")) {
        wrong.push("no wgpu-layernorm".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_paths_in_the_package() {
        let text = "[a](docs/a.md), [b](docs/b.md#part), ![c](docs/c.svg), [d](https://example.org/d.md), [e](#f), [g] (h)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md", "docs/b.md"]);
    }

    #[test]
    fn only_source_and_text_have_a_place() {
        for path in ["src/lib.rs", "shaders/a/b.wgsl", "Cargo.toml", "LICENSE-MIT", ".cargo_vcs_info.json"] {
            assert!(has_place(Path::new(path)), "{path}");
        }
        for path in ["docs/a.svg", "reports/a.json", "tests/a.csv", "LICENSE", "a"] {
            assert!(!has_place(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_package_without_its_license_or_with_a_plot_is_wrong() {
        let place = target_directory().join("tmp/xtask_package");
        let _ = fs::remove_dir_all(&place);
        make_directory(&place.join("docs")).unwrap();
        for name in ["Cargo.toml", "CHANGELOG.md", "LICENSE-APACHE", "docs/plot.svg"] {
            fs::write(place.join(name), "").unwrap();
        }
        fs::write(place.join("README.md"), "[more](docs/more.md)").unwrap();
        let wrong = faults(&place, MOST_BYTES + 1).unwrap();
        fs::remove_dir_all(&place).unwrap();
        let plot = Path::new("docs").join("plot.svg");
        assert_eq!(
            wrong,
            [
                "the tarball has 524289 bytes, may have 524288",
                "LICENSE-MIT is missing",
                "docs/more.md is missing",
                &format!("{} is neither source nor text", plot.display()),
            ]
        );
    }

    #[test]
    fn features_and_packages_that_nobody_asked_for_are_named() {
        let good = "consumer v0.0.0 (/a b) [vulkan]\nwgpu v30.0.1 [std,vulkan,wgsl]\n\
                    wgpu-layernorm v0.1.0 (/a b) [gpu]\nwgpu v30.0.1 [std,vulkan,wgsl] (*)";
        assert_eq!(unwanted(good, Some("vulkan")), [""; 0]);
        assert_eq!(unwanted(good, None), ["wgpu v30.0.1 [std,vulkan,wgsl]"]);
        let bench = "wgpu-layernorm v0.1.0 [bench,gpu,verify]\nweb-time v1.1.0 []\nweb-time v1.1.0 [] (*)";
        assert_eq!(unwanted(bench, None), ["wgpu-layernorm v0.1.0 [bench,gpu,verify]", "web-time v1.1.0 []"]);
        assert_eq!(unwanted("", None), ["no wgpu-layernorm"]);
    }
}
