//! The libraries of Mesa's own tools that answer for a kernel driver, so that a driver compiles for a GPU that is not there:
//! built from source, once, and then found.

use crate::Result;
use crate::tools;
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

/// Programs that a build needs, and the packages that have them.
const PROGRAMS: [(&str, &str); 9] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("pkg-config", "pkg-config"),
    ("glslangValidator", "glslang-tools"),
    ("python3", "python3"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// Libraries that a build needs, by pkg-config's names, and the packages that have them.
const LIBRARIES: [(&str, &str); 4] = [
    ("libdrm", "libdrm-dev"),
    ("pciaccess", "libpciaccess-dev"),
    ("expat", "libexpat1-dev"),
    ("zlib", "zlib1g-dev"),
];

/// What builds Mesa, of the versions that it was tried with.
const PYTHON: [&str; 5] =
    ["meson==1.12.1", "ninja==1.13.2", "mako==1.4.3", "pyyaml==6.0.4", "packaging==26.4"];

/// What translates C's headers into Rust and back, built by cargo.
const RUST: [&str; 2] = ["bindgen-cli@0.73.2", "cbindgen@0.29.4"];

/// The library that bindgen reads headers with.
const LIBCLANG: &str = "libclang1-14";

/// Crates that Mesa's build takes as sources; their versions are in its subprojects.
const CRATES: [&str; 5] = ["paste", "proc-macro2", "quote", "syn", "unicode-ident"];

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

/// Makes sure of the compilers and headers.
fn packages(install: bool) -> Result<()> {
    let programs = PROGRAMS.iter().filter(|(program, _)| tools::on_path(program).is_none());
    // Without pkg-config all of them are asked for; those that are there are left as they are.
    let there = |library: &str| tools::run(Command::new("pkg-config").args(["--exists", library])).is_ok();
    let libraries = LIBRARIES.iter().filter(|(library, _)| !there(library));
    let missing: Vec<&(&str, &str)> = programs.chain(libraries).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let join = |names: Vec<&str>, between: &str| names.join(between);
    let names = join(missing.iter().map(|(name, _)| *name).collect(), ", ");
    let packages = join(missing.iter().map(|(_, package)| *package).collect(), " ");
    tools::apt(&packages, &format!("there is no {names}"), install)
}

/// Meson and ninja, in an environment of Python's of their own.
fn python(room: &Path, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let programs = room.join("python/bin");
    // Left by a run that was not ended midway.
    let whole = room.join("python/whole");
    if fs::read_to_string(&whole).is_ok_and(|packages| packages == PYTHON.join(" ")) {
        return Ok(programs);
    }
    if !install {
        return Err(format!(
            "meson is not there: leave out --no-install to have pip fetch {}",
            PYTHON.join(" ")
        ));
    }
    say(&format!("fetching {} with pip", PYTHON.join(" ")));
    let environment = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(room.join("python"));
        command
    };
    if let Err(error) = tools::run(&mut environment()) {
        // Debian's Python is without it.
        tools::apt("python3-venv", &format!("python3 makes no environment ({error})"), install)?;
        tools::run(&mut environment())?;
    }
    tools::run(
        Command::new(programs.join("python3"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON),
    )?;
    fs::write(&whole, PYTHON.join(" ")).map_err(|error| format!("{}: {error}", whole.display()))?;
    Ok(programs)
}

/// A program of the first of these directories, which finds the others'.
fn python_tool(programs: &[&Path], name: &str) -> Command {
    let mut path = std::ffi::OsString::new();
    for programs in programs {
        path.push(programs);
        path.push(":");
    }
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(programs.first().map_or_else(PathBuf::new, |first| first.join(name)));
    command.env("PATH", path);
    // What somebody else builds with these is not this.
    for variable in ["CFLAGS", "CXXFLAGS", "LDFLAGS", "CC", "CXX"] {
        command.env_remove(variable);
    }
    // libclang does not know where the C compiler has its own headers.
    if let Ok(headers) = output(Command::new("gcc").arg("-print-file-name=include")) {
        command.env("BINDGEN_EXTRA_CLANG_ARGS", format!("-I{}", headers.trim()));
    }
    command
}

/// bindgen and cbindgen, of a directory of their own.
fn rust(room: &Path, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let root = room.join("rust");
    let clang = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let is_there = || {
        let files = fs::read_dir(&clang).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libclang"))
    };
    if !is_there() {
        tools::apt(LIBCLANG, "there is no libclang", install)?;
    }
    // Cargo knows what it has installed there.
    let known = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    if RUST.iter().all(|tool| known.contains(&tool.replace('@', " "))) {
        return Ok(root.join("bin"));
    }
    if !install {
        return Err(format!(
            "bindgen is not there: leave out --no-install to have cargo build {}",
            RUST.join(" ")
        ));
    }
    say(&format!("building {} with cargo, which takes minutes", RUST.join(" ")));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    tools::run(
        Command::new(cargo)
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&root)
            .arg("--target-dir")
            .arg(room.join("rust-target"))
            .args(RUST),
    )?;
    remove(&room.join("rust-target"))?;
    Ok(root.join("bin"))
}

/// Lays the sources of crates where meson looks for them before it would fetch them.
fn crates(tree: &Path, work: &Path) -> Result<()> {
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

/// The archive of Mesa's source, as its authors published it, from where the machine's packages are from: apt-get checks it.
fn source(room: &Path, version: &str, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let find = || {
        let names = ["xz", "gz"].map(|kind| room.join(format!("mesa_{version}.orig.tar.{kind}")));
        names.into_iter().find(|archive| archive.is_file())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    if tools::on_path("apt-get").is_none() {
        return Err(format!("there is no apt-get, which would fetch the source of Mesa {version}"));
    }
    if !install {
        return Err(format!("the source of Mesa {version} is not there: leave out --no-install to fetch it"));
    }
    say(&format!("fetching the source of Mesa {version} with apt-get"));
    // Lists of its own: the machine's stay as they are, and need not name sources.
    let places = output(
        Command::new("apt-get")
            .args(["indextargets", "--format"])
            .args(["$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]),
    )?;
    let lists = room.join("lists");
    fs::create_dir_all(lists.join("partial")).map_err(|error| format!("{}: {error}", lists.display()))?;
    let entries = room.join("sources.list");
    fs::write(&entries, deb_src(&places)).map_err(|error| format!("{}: {error}", entries.display()))?;
    let apt = |program: &str| {
        let mut command = Command::new(program);
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        command.current_dir(room).args(["-o", &set("Dir::Etc::SourceList", &entries)]);
        command.args(["-o", "Dir::Etc::SourceParts=-", "-o", &set("Dir::State::Lists", &lists)]);
        command.args(["-o", &set("Dir::Cache", room), "-o", "APT::Sandbox::User=root"]);
        command
    };
    // Not every release has backports, and the others' lists are good then.
    let updated = tools::run(apt("apt-get").args(["update", "-qq"]));
    let known = output(apt("apt-cache").args(["showsrc", "mesa"]))?;
    let known: Vec<&str> = known.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    let package = known.iter().find(|known| tools::upstream(known) == version).ok_or_else(|| {
        let why = updated.err().map_or_else(String::new, |error| format!(" ({error})"));
        format!(
            "where the machine's packages are from there is no source of Mesa {version}, but of {}{why}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )
    })?;
    tools::run(apt("apt-get").args([
        "source",
        "-qq",
        "--download-only",
        "--tar-only",
        &format!("mesa={package}"),
    ]))?;
    find().ok_or_else(|| format!("apt-get has fetched mesa {package}, but there is no archive of {version}"))
}

/// Lines for apt that ask for the sources of what the machine has packages from, and of Debian's backports to it.
fn deb_src(places: &str) -> String {
    const KEYS: [&str; 2] =
        ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/ubuntu-archive-keyring.gpg"];
    let keys: Vec<&str> = KEYS.into_iter().filter(|keys| Path::new(keys).is_file()).collect();
    // Else those that apt has anyway.
    let keys = if keys.is_empty() { String::new() } else { format!("[signed-by={}] ", keys.join(",")) };
    let mut lines: Vec<String> = Vec::new();
    for place in places.lines() {
        let &[origin, uri, release, component] = place.split('|').collect::<Vec<_>>().as_slice() else {
            continue;
        };
        if component != "main" || !["Debian", "Ubuntu"].contains(&origin) {
            continue;
        }
        let mut add = |release: &str| {
            let line = format!("deb-src {keys}{uri} {release} main\n");
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        add(release);
        if origin == "Debian" && !release.contains('-') {
            add(&format!("{release}-backports"));
        }
    }
    lines.concat()
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_asked_for_where_packages_are_from() {
        let lines = deb_src(
            "Debian|http://d/debian/|bookworm|main\nDebian|http://d/debian/|bookworm-updates|main\n\
             Debian|http://d/debian/|bookworm|main\nDebian|http://d/debian/|bookworm|contrib\n\
             Node|http://n/|nodistro|main\nnonsense\n",
        );
        let lines: Vec<&str> = lines.lines().map(|line| line.rsplit_once("http").unwrap().1).collect();
        assert_eq!(
            lines,
            [
                "://d/debian/ bookworm main",
                "://d/debian/ bookworm-backports main",
                "://d/debian/ bookworm-updates main"
            ]
        );
    }

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
