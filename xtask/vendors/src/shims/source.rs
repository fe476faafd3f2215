//! The source of Mesa, as apt-get fetches it.

use crate::Result;
use crate::tools::{self, output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The archive of Mesa's source, as its authors published it, from where the machine's packages are from:
/// apt-get checks it.
pub(super) fn source(room: &Path, version: &str, install: bool, say: &dyn Fn(&str)) -> Result<PathBuf> {
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

/// Lines for apt that ask for the sources of what the machine has packages from, and of Debian's backports to
/// it.
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
}
