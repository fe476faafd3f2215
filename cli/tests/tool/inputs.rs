//! Every file that the tool reads: pipes, texts without end, names, sizes; and the environment.

use crate::files::{self, Tensor, ramp};
use crate::{Room, Run, layernorm, run};
use std::time::Duration;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/llvmpipe-gl-22.3.6-bench.json");

/// A safetensors file of this header.
fn write_header(path: &str, header: &str, data: &[u8]) {
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes(), data].concat()).unwrap();
}

fn forward(room: &Room, args: &[&str]) -> Run {
    let (input, out) = (room.path("in"), room.path("out"));
    run(layernorm(&[&["forward", &input, &out, "--adapter", "cpu"], args].concat()))
}

#[track_caller]
fn assert_refused(result: &Run, says: &[&str]) {
    assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{result:?}");
    assert_eq!(result.stderr.lines().count(), 1, "{result:?}");
    for text in says {
        assert!(result.stderr.contains(text), "does not say {text:?}: {result:?}");
    }
}

#[test]
fn dimensions_whose_product_is_beyond_64_bits_are_fine_without_values() {
    let room = Room::new();
    let header = r#"{"x": {"dtype": "F32", "shape": [0, 4294967296, 4294967296], "data_offsets": [0, 0]}}"#;
    write_header(&room.path("in"), header, &[]);
    let result = forward(&room, &["--x", "x", "--cols", "4", "--statistics"]);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(files::tensor(&room.path("out"), "y").shape, [0, 1 << 32, 1 << 32]);
    assert_eq!(files::tensor(&room.path("out"), "mean").shape, [0]);
}

/// Runs a call with so many KiB of memory to name.
#[cfg(target_os = "linux")]
fn with_memory(kib: u64, args: &[&str]) -> Run {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")])
        .arg(assert_cmd::cargo::cargo_bin!("layernorm"))
        .args(args)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// By name, where an allocator would end the process.
#[cfg(target_os = "linux")]
#[test]
fn tensors_that_are_larger_than_memory_are_named() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    let sparse = |rows: u64| {
        let bytes = rows << 10;
        let tensor = |begin: u64| {
            let end = begin + bytes;
            format!(r#"{{"dtype": "F32", "shape": [{rows}, 256], "data_offsets": [{begin}, {end}]}}"#)
        };
        write_header(&input, &format!(r#"{{"a": {}, "b": {}}}"#, tensor(0), tensor(bytes)), &[]);
        let file = std::fs::OpenOptions::new().write(true).open(&input).unwrap();
        file.set_len(file.metadata().unwrap().len() + 2 * bytes).unwrap();
    };
    let args = ["forward", &input, &out, "--x", "a", "--adapter", "cpu"];
    let backward = ["backward", &input, &out, "--x", "a", "--dy", "b", "--adapter", "cpu"];
    for (rows, args, says) in [
        // Beyond what there is to name, half of it, and a third.
        (1 << 30, &args[..], "--x: tensor a has 1099511627776 bytes"),
        (700 << 10, &args[..], "y has 734003200 bytes"),
        (700 << 10, &backward[..], "--dy: tensor b has 734003200 bytes"),
        (450 << 10, &args[..], "out has 471859200 bytes"),
        (450 << 10, &backward[..], "dx has 471859200 bytes"),
    ] {
        sparse(rows);
        let result = with_memory(1_300_000, args);
        assert_eq!((result.code, result.stdout.as_str()), (Some(1), ""), "{says}: {result:?}");
        let line = result.stderr.lines().last().unwrap_or_default();
        assert!(line.contains(says) && line.ends_with("for which there is not enough memory"), "{line}");
        assert_eq!(room.names(), ["in"]);
    }
}

#[test]
fn names_that_come_twice_are_refused() {
    let room = Room::new();
    let tensor =
        |at: u32| format!(r#"{{"dtype": "F32", "shape": [4], "data_offsets": [{at}, {}]}}"#, at + 16);
    // The escape is an x.
    for again in ["x", r"\u0078"] {
        let header = format!(r#"{{"x": {}, "{again}": {}}}"#, tensor(0), tensor(16));
        write_header(&room.path("in"), &header, &[0; 32]);
        assert_refused(&forward(&room, &["--x", "x"]), &["IN", "two of the name \"x\""]);
    }
    let header = format!(r#"{{"__metadata__": {{"a": "1", "a": "2"}}, "x": {}}}"#, tensor(0));
    write_header(&room.path("in"), &header, &[0; 16]);
    assert_refused(&forward(&room, &["--x", "x"]), &["IN", "two of the name \"a\""]);

    let report = std::fs::read_to_string(REPORT).unwrap();
    let (json, twice) =
        (room.path("report.json"), report.replacen("\"made_by\":", "\"made_by\": \"me\", \"made_by\":", 1));
    assert_ne!(twice, report);
    std::fs::write(&json, twice).unwrap();
    assert_refused(&run(layernorm(&["compare", &json])), &["REPORT", "two of the name \"made_by\""]);
}

/// `mkfifo`, and nobody who writes.
#[cfg(unix)]
#[test]
fn a_pipe_without_a_writer_is_refused() {
    let room = Room::new();
    let (pipe, out) = (room.path("pipe"), room.path("out"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    for args in [
        &["forward", &pipe, &out, "--x", "x"][..],
        &["backward", &pipe, &out, "--x", "x", "--dy", "x"],
        &["forward", &room.path("in"), &out, "--x", "x", "--tuning", &pipe],
        &["verify", "--tuning", &pipe],
        &["bench", "--tuning", &pipe],
        &["bench", "--baseline", &pipe],
        &["compare", &pipe],
        &["tune", "--out", &pipe],
    ] {
        let mut command = layernorm(args);
        command.timeout(Duration::from_secs(30));
        assert_refused(&run(command), &["regular file", &pipe]);
    }
    assert_eq!(room.names(), ["in", "pipe"]);
}

/// As a shell's `<(...)` gives it.
#[cfg(unix)]
#[test]
fn a_pipe_that_is_open_is_read() {
    let mut command = layernorm(&["compare", "/dev/stdin"]);
    command.write_stdin(std::fs::read(REPORT).unwrap());
    assert_eq!(run(command).code, Some(0));
}

#[cfg(unix)]
#[test]
fn a_text_without_end_is_refused() {
    let mut command = layernorm(&["compare", "/dev/zero"]);
    command.timeout(Duration::from_secs(30));
    assert_refused(&run(command), &["regular file"]);
    let room = Room::new();
    let long = std::fs::File::create(room.path("long")).unwrap();
    long.set_len(1 << 40).unwrap();
    assert_refused(&run(layernorm(&["compare", &room.path("long")])), &["REPORT", "more than 64 MiB"]);
    assert_refused(
        &run(layernorm(&["verify", "--tuning", &room.path("long")])),
        &["--tuning", "more than 64 MiB"],
    );
}

/// What a terminal obeys is shown and not sent, whoever has chosen the name.
#[test]
fn control_characters_of_names_are_shown() {
    let is_quiet = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}');
    let room = Room::new();
    let name = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    files::write(&room.path("in"), &[(name, Tensor::f32(&[3, 4], &ramp(12)))]);
    let result = forward(&room, &["--x", "x"]);
    assert_refused(&result, &["which has \\u001b]0;owned\\u0007\\u009b2J\\u202e"]);
    assert!(is_quiet(&result.stderr), "{result:?}");
    // clap has words of its own for what it is given, and leaves out some of it.
    for args in [&["--x", "x", name, "--x"][..], &["--x", "x", "--eps", name], &["--x", "x", name]] {
        let result = forward(&room, args);
        assert_refused(&result, &["\\u202e"]);
        assert!(is_quiet(&result.stderr), "{result:?}");
    }

    let report = std::fs::read_to_string(REPORT).unwrap().replace("llvmpipe", "\\u001b[31mred\\u202e");
    let json = room.path("report.json");
    std::fs::write(&json, report).unwrap();
    let result = run(layernorm(&["compare", &json]));
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(result.stdout.contains("\\u001b[31mred\\u202e") && is_quiet(&result.stdout), "{}", result.stdout);
}

#[test]
fn a_name_that_is_long_is_cut() {
    let room = Room::new();
    files::write(&room.path("in"), &[(&"µ".repeat(5000), Tensor::f32(&[3, 4], &ramp(12)))]);
    let result = forward(&room, &["--x", "x"]);
    assert_refused(&result, &["µ..."]);
    assert!(result.stderr.len() < 1000, "{result:?}");
}

#[test]
fn back_ends_that_are_none_are_refused() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    let (input, out) = (room.path("in"), room.path("out"));
    let forward = ["forward", &input, &out, "--x", "x"];
    let with = |args: &[&str], variable: &str, value: &str| {
        let mut command = layernorm(args);
        command.env(variable, value);
        run(command)
    };
    for args in [&forward[..], &["adapters"], &["verify"], &["bench"], &["demo"], &["tune", "--out", &out]] {
        assert_refused(
            &with(args, "WGPU_BACKEND", "vulcan"),
            &["WGPU_BACKEND is vulcan", "vulkan, metal, dx12 and gl"],
        );
        assert_refused(&with(args, "WGPU_BACKEND", "gl,vulcan"), &["\"vulcan\" is no back end"]);
        for empty in ["", " "] {
            assert_refused(&with(args, "WGPU_BACKEND", empty), &["WGPU_BACKEND is empty"]);
            assert_refused(&with(args, "WGPU_ADAPTER_NAME", empty), &["WGPU_ADAPTER_NAME is empty"]);
        }
    }
    assert_eq!(with(&forward, "WGPU_BACKEND", "Vulkan, gl").code, Some(0));
    let cpu = [&forward[..], &["--adapter", "cpu"]].concat();
    assert_eq!(with(&cpu, "WGPU_BACKEND", "vulcan").code, Some(0), "nothing depends on it");
}

/// What a variable of the shell that is not set leaves of a flag.
#[test]
fn empty_names_are_refused() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    let (input, out) = (room.path("in"), room.path("out"));
    for args in [
        &["forward", &input, &out, "--x", "x", "--adapter", ""][..],
        &["forward", &input, &out, "--x", "x", "--adapter", " "],
        &["verify", "--adapter", ""],
        &["verify", "--adapter", "auto", "--case", ""],
        &["bench", "--adapter", "auto", ""],
        &["tune", "--out", &out, "--adapter", ""],
        &["emit", "--cols", "64", "--adapter", ""],
        &["emit", "--all", &out, "--case", ""],
    ] {
        let flag =
            args[args.len() - 1 - args.iter().rev().position(|arg| arg.starts_with("--")).unwrap()..][0];
        assert_refused(&run(layernorm(args)), &[flag, "is empty"]);
    }
}

/// clap would advise to give a flag that it does not know as a value, which is then taken for a file.
#[test]
fn no_tip_leads_astray() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    let (input, out) = (room.path("in"), room.path("out"));
    let result = run(layernorm(&["backward", &input, &out, "--x", "x", "--dy", "x", "--verbose", "b"]));
    assert_refused(&result, &["unexpected argument '--verbose' found; see --help"]);
    assert!(!result.stderr.contains("tip"), "{result:?}");
    let close = forward(&room, &["--x", "x", "--gian", "x"]);
    assert_refused(&close, &["'--gian'", "a similar argument exists: '--gain'"]);
    assert!(!close.stderr.contains("-- --gian"), "{close:?}");
}

#[test]
fn eps_may_be_pytorchs() {
    let room = Room::new();
    let values: Vec<f32> = ramp(12).iter().map(|value| value * 1e-3).collect();
    let tensors = [("x", Tensor::f32(&[3, 4], &values)), ("half", Tensor::f16(&[3, 4], &values))];
    files::write(&room.path("in"), &tensors);
    let y = |args: &[&str]| {
        let result = forward(&room, args);
        assert_eq!(result.code, Some(0), "{result:?}");
        files::tensor(&room.path("out"), "y")
    };
    for x in ["x", "half"] {
        let rms = ["--x", x, "--normalization", "rms", "--eps"];
        let torch = y(&[&rms[..], &["torch"]].concat());
        assert_eq!(torch, y(&[&rms[..], &["1.1920928955078125e-7"]].concat()));
        assert_ne!(torch, y(&rms[..4]), "1e-5");
        assert_eq!(y(&["--x", x, "--eps", "torch"]), y(&["--x", x, "--eps", "1e-5"]));
    }
    let help = run(layernorm(&["forward", "--help"])).stdout;
    assert!(help.contains("2^-23 for RMS norm"), "{help}");
}
