//! Every file that the tool writes: what it replaces, what it refuses, and what an interrupted run leaves.
#![cfg(unix)]

use crate::emit::CASE;
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/llvmpipe-gl-22.3.6-bench.json");

/// Calls that write `out`, each by another flag; with the flag as errors name it.
fn calls(room: &Room, out: &str) -> Vec<(&'static str, Vec<String>)> {
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let input = room.path("in");
    let tune =
        ["tune", "--out", out, "--cols", "16", "--rows", "8", "--operation", "forward", "--dtype", "f32"];
    vec![
        ("OUT", owned(&["forward", &input, out, "--x", "x", "--adapter", "cpu"])),
        ("OUT", owned(&["backward", &input, out, "--x", "x", "--dy", "x", "--adapter", "cpu"])),
        ("--json", owned(&["compare", REPORT, "--json", out])),
        ("--html", owned(&["compare", REPORT, "--html", out])),
        ("--markdown", owned(&["compare", REPORT, "--markdown", out])),
        ("--svg", owned(&["compare", REPORT, "--svg", out])),
        ("--output", owned(&["emit", "--cols", "64", "--output", out])),
        ("--out", owned(&[&tune[..], &["--seconds", "0", "--adapter", "auto"]].concat())),
    ]
}

/// Runs each call on an OUT that `prepare` has made, with what is in its place given to `check`.
fn each_call(prepare: impl Fn(&Room), check: impl Fn(&Room, &str, &[String], crate::Run)) {
    let all = calls(&Room::new(), "out").len();
    for i in 0..all {
        let room = Room::new();
        let (flag, args) = calls(&room, &room.path("out")).swap_remove(i);
        prepare(&room);
        let result = run(layernorm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
        check(&room, flag, &args, result);
    }
}

fn assert_refused(flag: &str, args: &[String], result: &crate::Run, says: &str) {
    assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{args:?}: {result:?}");
    assert_eq!(result.stderr.lines().count(), 1, "before anything was run: {args:?}: {result:?}");
    assert!(result.stderr.contains(flag) && result.stderr.contains(says), "{args:?}: {result:?}");
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_link_stays_one_even_if_it_leads_to_nothing() {
    each_call(
        |room| {
            fs::create_dir(room.path("elsewhere")).unwrap();
            symlink("link", room.path("out")).unwrap();
            symlink("elsewhere/file", room.path("link")).unwrap();
        },
        |room, _, args, result| {
            assert_eq!(result.code, Some(0), "{args:?}: {result:?}");
            for link in ["out", "link"] {
                assert!(fs::symlink_metadata(room.path(link)).unwrap().is_symlink(), "{args:?}");
            }
            assert!(fs::metadata(room.path("elsewhere/file")).unwrap().len() > 0, "{args:?}");
        },
    );
    each_call(
        |room| symlink("out", room.path("out")).unwrap(),
        |_, flag, args, result| assert_refused(flag, args, &result, "leads to itself"),
    );
    each_call(
        |room| symlink("absent/file", room.path("out")).unwrap(),
        |_, flag, args, result| assert_refused(flag, args, &result, "there is no directory"),
    );
}

#[test]
fn a_file_that_is_replaced_keeps_its_permissions() {
    for kept in [0o600, 0o664, 0o755] {
        each_call(
            |room| {
                // What `tune` goes on with.
                fs::write(room.path("out"), r#"{"version": 1, "entries": []}"#).unwrap();
                fs::set_permissions(room.path("out"), Permissions::from_mode(kept)).unwrap();
            },
            |room, _, args, result| {
                assert_eq!(result.code, Some(0), "{args:?}: {result:?}");
                assert_eq!(mode(&room.path("out")), kept, "{args:?}");
                assert!(fs::metadata(room.path("out")).unwrap().len() > 40, "{args:?} has replaced nothing");
            },
        );
    }
}

#[test]
fn a_read_only_file_is_refused() {
    each_call(
        |room| {
            fs::write(room.path("out"), "precious").unwrap();
            fs::set_permissions(room.path("out"), Permissions::from_mode(0o444)).unwrap();
        },
        |room, flag, args, result| {
            assert_refused(flag, args, &result, "is read-only");
            assert_eq!(fs::read_to_string(room.path("out")).unwrap(), "precious", "{args:?}");
        },
    );
}

/// Not even root can write there.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_nothing_can_be_written_to_is_refused_before_the_run() {
    let room = Room::new();
    for (flag, args) in calls(&room, "/proc/self/out") {
        let result = run(layernorm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_refused(flag, &args, &result, "/proc/self cannot be written to");
    }
    let result = run(layernorm(&["emit", "--all", "/proc/self/out", "--case", CASE]));
    assert_refused("--all", &[], &result, "/proc/self cannot be written to");
}

#[test]
fn names_that_no_file_can_have_are_refused_before_the_run() {
    let (room, long) = (Room::new(), "o".repeat(300));
    for name in ["out/", long.as_str()] {
        for (flag, args) in calls(&room, &room.path(name)) {
            let result = run(layernorm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
            assert_refused(flag, &args, &result, name);
        }
    }
}

#[test]
fn two_flags_cannot_name_one_file() {
    let room = Room::new();
    symlink("both", room.path("link")).unwrap();
    let args = ["compare", REPORT, "--json", &room.path("both"), "--html", &room.path("link")];
    let result = run(layernorm(&args));
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stderr.contains("--json and --html both name"), "{result:?}");
    assert_eq!(room.names(), ["link"]);
}

#[test]
fn a_directory_is_replaced_by_its_links_and_permissions_too() {
    let room = Room::new();
    fs::create_dir(room.path("empty")).unwrap();
    fs::set_permissions(room.path("empty"), Permissions::from_mode(0o700)).unwrap();
    symlink("empty", room.path("link")).unwrap();
    let emit = |directory: &str| run(layernorm(&["emit", "--all", &room.path(directory), "--case", CASE]));
    let result = emit("link");
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(fs::symlink_metadata(room.path("link")).unwrap().is_symlink());
    assert!(fs::metadata(room.path("empty/index.json")).unwrap().is_file());
    assert_eq!(mode(&room.path("empty")), 0o700);
    fs::create_dir(room.path("locked")).unwrap();
    fs::set_permissions(room.path("locked"), Permissions::from_mode(0o555)).unwrap();
    assert_refused("--all", &[], &emit("locked"), "is read-only");
}

/// Starts a call, and sends it a signal when it has begun to write in the room.
fn interrupted(room: &Room, args: &[&str], signal: &str, shell: &str) -> Child {
    let before = room.names();
    let mut child = std::process::Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(assert_cmd::cargo::cargo_bin!("layernorm"))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It is there before it is wanted: on a busy machine a process starts in the time that a write takes.
    let mut kill = std::process::Command::new("sh")
        .args(["-c", &format!("read go; kill {signal} {}", child.id())])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(300);
    while room.names() == before {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} has ended");
        assert!(Instant::now() < end, "{args:?} writes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(kill.wait().unwrap().success());
    child
}

#[test]
fn an_interrupted_run_leaves_no_directory_behind() {
    let room = Room::new();
    let mut child = interrupted(&room, &["emit", "--all", &room.path("kernels")], "-TERM", "");
    assert_eq!(child.wait().unwrap().signal(), Some(15), "whoever waits sees the signal");
    assert_eq!(room.names(), [""; 0]);
}

/// A room with 128 MiB to normalize, which take long enough to write.
fn room_with_much() -> Room {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[1 << 15, 1 << 10], &vec![1.0; 1 << 25]))]);
    room
}

#[test]
fn an_interrupted_write_leaves_nothing_behind() {
    const PRECIOUS: u64 = 8;
    let room = room_with_much();
    let (input, out) = (room.path("in"), room.path("out"));
    let args = ["forward", &input, &out, "--x", "x", "--adapter", "cpu"];
    for (signal, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1)] {
        // A write may have ended before the signal is there.
        let was_midway = (0..10).any(|_| {
            fs::write(&out, "precious").unwrap();
            let status = interrupted(&room, &args, signal, "").wait().unwrap();
            assert_eq!(room.names(), ["in", "out"], "{signal}");
            let is_whole = fs::metadata(&out).unwrap().len() > 1 << 27;
            assert!(is_whole || fs::metadata(&out).unwrap().len() == PRECIOUS, "{signal}");
            assert!(status.signal() == Some(number) || is_whole && status.success(), "{signal}: {status}");
            !is_whole
        });
        assert!(was_midway, "{signal} was always late, or is ignored here as in the background of a shell");
    }
}

/// As nohup does it. A run that was told to ignore a signal goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let room = room_with_much();
    let (input, out) = (room.path("in"), room.path("out"));
    let args = ["forward", &input, &out, "--x", "x", "--adapter", "cpu"];
    let mut child = interrupted(&room, &args, "-HUP", "trap '' HUP;");
    assert!(child.wait().unwrap().success());
    assert_eq!(room.names(), ["in", "out"]);
    assert_eq!(files::names(&out), ["y"]);
}
