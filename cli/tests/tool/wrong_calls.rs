//! Every wrong call ends with one line on stderr that says what to do, its exit code, and OUT as it was.

use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};

/// A file with a tensor of every kind that can be wrong.
fn room_with_tensors() -> Room {
    let room = Room::new();
    let tensors = [
        ("x", Tensor::f32(&[3, 4], &ramp(12))),
        ("x16", Tensor::f16(&[3, 4], &ramp(12))),
        ("turned", Tensor::f32(&[4, 3], &ramp(12))),
        ("scalar", Tensor::f32(&[], &[1.0])),
        ("no_cols", Tensor::f32(&[3, 0], &[])),
        ("integers", Tensor::i64(&[3, 4])),
        ("gain", Tensor::f32(&[4], &ramp(4))),
        ("gain_of_columns", Tensor::f32(&[1, 4], &ramp(4))),
        ("gain16", Tensor::f16(&[4], &ramp(4))),
        ("gain_bf16", Tensor::bf16(&[4], &ramp(4))),
        ("pair", Tensor::f32(&[2], &ramp(2))),
        ("long", Tensor::f32(&[5], &ramp(5))),
    ];
    files::write(&room.path("in"), &tensors);
    room
}

/// Runs a call of `forward` or `backward` on the file, IN and OUT first, and expects it to be refused.
fn assert_refused(
    room: &Room,
    command: &str,
    input: &str,
    out: &str,
    args: &[&str],
    code: i32,
    says: &[&str],
) {
    let mut all = vec![command, input, out];
    all.extend(args);
    let before = room.names();
    let result = run(layernorm(&all));
    assert_eq!(result.code, Some(code), "{all:?}: {result:?}");
    assert_eq!(result.stdout, "", "{all:?}");
    let line = result.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{all:?}: {result:?}"));
    assert!(!line.contains('\n'), "more than one line: {all:?}: {line}");
    assert!(line.starts_with("error: "), "{all:?}: {line}");
    for text in says {
        assert!(line.contains(text), "{all:?} does not say {text:?}: {line}");
    }
    assert_eq!(room.names(), before, "{all:?} left something behind");
}

#[test]
fn wrong_flags_and_tensors() {
    let room = room_with_tensors();
    let (input, out) = (room.path("in"), room.path("out"));
    let forward =
        |args: &[&str], says: &[&str]| assert_refused(&room, "forward", &input, &out, args, 2, says);
    let backward =
        |args: &[&str], says: &[&str]| assert_refused(&room, "backward", &input, &out, args, 2, says);

    forward(&[], &["--x"]);
    forward(&["--x", "x", "--frobnicate"], &["--frobnicate"]);
    forward(&["--x"], &["--x"]);
    forward(&["--x", "x", "extra"], &["extra"]);
    forward(&["--x", "absent"], &["--x", "absent", "gain16", "integers", "long"]);
    forward(&["--x", "integers"], &["--x", "integers", "I64", "F32, F16 or BF16"]);
    forward(&["--x", "scalar"], &["--x", "scalar", "[]", "--cols"]);
    forward(&["--x", "no_cols"], &["--x", "no_cols", "[3, 0]", "--cols"]);
    forward(&["--x", "x", "--gain", "absent"], &["--gain", "absent"]);
    forward(&["--x", "x", "--gain", "long"], &["--gain", "long", "[5]", "needs 4"]);
    forward(&["--x", "x", "--gain", "gain16"], &["--gain", "gain16", "F16", "F32 as x is"]);
    forward(&["--x", "x16", "--gain", "gain_bf16"], &["--gain", "gain_bf16", "BF16", "F16 as x is, or F32"]);
    forward(&["--x", "x", "--bias", "gain"], &["--gain"]);
    forward(&["--x", "x", "--gain", "gain", "--bias", "long"], &["--bias", "long", "needs 4"]);
    forward(&["--x", "x16", "--gain", "gain", "--bias", "gain16"], &["--bias", "gain16", "F32 as gain is"]);
    forward(&["--x", "x", "--residual", "turned"], &["--residual", "turned", "[4, 3]", "[3, 4]"]);
    forward(&["--x", "x", "--residual", "x16"], &["--residual", "x16", "F16", "F32"]);
    forward(&["--x", "x", "--residual", "absent"], &["--residual", "absent"]);
    for eps in ["-1", "nan", "inf", "small"] {
        forward(&["--x", "x", "--eps", eps], &["--eps", eps]);
    }
    for cols in ["0", "-1", "16777217", "few"] {
        forward(&["--x", "x", "--cols", cols], &["--cols", cols]);
    }
    forward(&["--x", "x", "--cols", "5"], &["--cols 5", "12 elements"]);
    forward(&["--x", "x", "--normalization", "mean"], &["--normalization", "mean", "layer", "rms"]);
    forward(&["--x", "gain", "--normalization", "channel"], &["gain", "[4]", "[samples, channels, ...]"]);
    forward(&["--x", "no_cols", "--normalization", "channel"], &["no_cols", "[3, 0]", "rows of 0", "need 1"]);
    forward(&["--x", "x", "--normalization", "channel", "--cols", "3"], &["--cols", "channel"]);
    forward(&["--x", "x", "--channels-last"], &["--channels-last", "channel-rms"]);
    forward(&["--x", "x", "--heads", "2"], &["--head-dim"]);
    forward(&["--x", "x", "--heads", "0", "--head-dim", "2"], &["--heads", "1 or more"]);
    let heads = ["--x", "x", "--heads", "2", "--head-dim", "2"];
    forward(&[&heads[..], &["--offset", "1"]].concat(), &["x", "rows of 4", "--offset 1", "5"]);
    forward(&[&heads[..], &["--cols", "2"]].concat(), &["--cols", "--heads"]);
    forward(&[&heads[..], &["--normalization", "channel"]].concat(), &["--heads", "channel"]);
    forward(&[&heads[..], &["--gain", "long"]].concat(), &["--gain", "long", "5", "2, one", "or 4, one"]);
    forward(&[&heads[..], &["--gain", "gain", "--bias", "long"]].concat(), &["--bias", "4", "each head"]);
    forward(&[&heads[..], &["--gain", "pair", "--bias", "gain"]].concat(), &["--bias", "2", "share"]);
    forward(&[&heads[..], &["--gain", "gain_of_columns"]].concat(), &["gain_of_columns", "[1, 4]", "[2, 2]"]);
    let one = ["--x", "x", "--heads", "1", "--head-dim", "2", "--residual", "x"];
    forward(&one, &["--residual", "--heads", "sum"]);
    let group = ["--x", "x", "--normalization", "group"];
    forward(&group, &["--normalization group needs --groups"]);
    forward(&[&group[..], &["--groups", "3"]].concat(), &["x", "[3, 4]", "4 channels", "--groups 3"]);
    forward(&[&group[..], &["--groups", "0"]].concat(), &["--groups", "1 or more"]);
    forward(&[&group[..], &["--groups", "2", "--cols", "2"]].concat(), &["group", "--cols"]);
    forward(&[&group[..], &["--groups", "2", "--gain", "long"]].concat(), &["long", "4", "channel of x"]);
    forward(&["--x", "gain", "--normalization", "instance"], &["gain", "[4]", "[samples, channels, ...]"]);
    forward(&["--x", "x", "--normalization", "instance", "--groups", "2"], &["--groups", "each channel"]);
    forward(&["--x", "x", "--groups", "2"], &["--groups", "--normalization group"]);
    let batch = ["--x", "x", "--normalization", "batch"];
    let with = |more: &[&'static str]| [&batch[..], more].concat();
    forward(&with(&["--mode", "inference"]), &["--mode inference", "--running-mean"]);
    forward(&with(&["--running-mean", "gain"]), &["--running-variance"]);
    let running = ["--running-mean", "gain", "--running-variance", "gain"];
    let of_running = |more: &[&'static str]| with(&[&running[..], more].concat());
    forward(&of_running(&["--momentum", "1.5"]), &["--momentum is 1.5", "0 to 1"]);
    forward(&of_running(&["--momentum", "0.5", "--mode", "inference"]), &["--momentum", "inference"]);
    forward(&of_running(&["--residual", "x"]), &["--residual", "running"]);
    let long = ["--running-mean", "long", "--running-variance", "gain"];
    forward(&with(&long), &["long", "F32 with 4 elements", "channel of x"]);
    forward(&with(&["--groups", "2"]), &["batch", "--groups"]);
    forward(&["--x", "gain", "--normalization", "batch"], &["gain", "[4]", "[samples, channels, ...]"]);
    forward(&["--x", "x", "--mode", "training"], &["--mode", "--normalization batch"]);
    forward(&[&["--x", "x"], &running[..]].concat(), &["--running-mean", "--normalization batch"]);
    let weight = ["--x", "x", "--normalization", "weight"];
    forward(&weight, &["weight", "--gain"]);
    forward(&[&weight[..], &["--gain", "gain"]].concat(), &["gain", "[4]", "needs 3", "--axis"]);
    forward(&[&weight[..], &["--gain", "gain", "--axis", "2"]].concat(), &["--axis 2", "[3, 4]", "3 dim"]);
    forward(&[&weight[..], &["--gain", "gain", "--axis", "1", "--bias", "gain"]].concat(), &["--bias"]);
    forward(&[&weight[..], &["--cols", "2"]].concat(), &["weight", "--axis", "--cols"]);
    forward(&["--x", "x", "--axis", "1"], &["--axis", "weight"]);
    backward(&[&weight[..], &["--dy", "x"]].concat(), &["weight", "--gain"]);
    backward(&["--x", "x"], &["--dy"]);
    backward(&["--x", "x", "--dy", "absent"], &["--dy", "absent"]);
    backward(&["--x", "x", "--dy", "turned"], &["--dy", "turned", "[4, 3]", "[3, 4]"]);
    backward(&["--x", "x", "--dy", "x16"], &["--dy", "x16", "F16", "F32"]);
    backward(&["--x", "x", "--dy", "x", "--gain", "long"], &["--gain", "long", "needs 4"]);
    backward(&["--x", "x", "--dy", "x", "--bias", "gain"], &["--bias"]);
}

#[test]
fn wrong_files() {
    let room = room_with_tensors();
    let (input, out) = (room.path("in"), room.path("out"));
    let whole = std::fs::read(&input).unwrap();
    let broken = |name: &str, bytes: &[u8]| {
        std::fs::write(room.path(name), bytes).unwrap();
        room.path(name)
    };
    let refused_input = |input: &str, says: &[&str]| {
        assert_refused(&room, "forward", input, &out, &["--x", "x"], 2, &[&["IN", input], says].concat());
    };
    refused_input(&room.path("absent"), &[]);
    refused_input(&room.path(""), &["safetensors"]);
    refused_input(&broken("empty", b""), &["safetensors", "0 bytes"]);
    refused_input(&broken("text", b"mean and variance\n"), &["safetensors"]);
    refused_input(&broken("header", b"\x04\0\0\0\0\0\0\0{\"x\""), &["safetensors"]);
    refused_input(&broken("endless", &[0xff; 32]), &["safetensors"]);
    refused_input(&broken("short", &whole[..whole.len() - 1]), &["safetensors", "its header needs"]);
    refused_input(&broken("cut", &whole[..20]), &["safetensors"]);

    let refused_out = |out: &str, says: &[&str]| {
        assert_refused(&room, "forward", &input, out, &["--x", "x"], 2, &[&["OUT"], says].concat());
    };
    refused_out(&room.path("absent/out"), &["directory", &room.path("absent")]);
    refused_out(&room.path("in/out"), &["directory"]);
    refused_out(&room.path(""), &["regular file"]);
    refused_out(&room.path(".."), &["regular file"]);
    #[cfg(unix)]
    refused_out("/dev/null", &["/dev/null", "regular file"]);
}

#[test]
fn an_adapter_that_is_not_there() {
    let room = room_with_tensors();
    let (input, out) = (room.path("in"), room.path("out"));
    let args = ["--x", "x", "--adapter", "Voodoo 2"];
    // With what there is: at least the software adapter that the tests need.
    assert_refused(&room, "forward", &input, &out, &args, 2, &["--adapter", "Voodoo 2", "there are", "["]);

    let refused = |args: &[&str], says: &str| {
        let result = run(layernorm(args));
        assert_eq!((result.code, result.stdout.as_str()), (Some(2), ""), "{result:?}");
        assert!(result.stderr.contains(says) && result.stderr.lines().count() == 1, "{result:?}");
    };
    refused(&["verify", "--adapter", "Voodoo 2"], "there are");
    refused(&["verify", "--case", "Voodoo 2"], "an example is ");
    refused(&["verify", "--json", &room.path("absent/report")], "directory");
    refused(&["bench", "--adapter", "Voodoo 2"], "there are");
    for flag in ["--json", "--html", "--markdown", "--svg"] {
        refused(&["bench", flag, &room.path("absent/report")], flag);
    }
    for shape in ["4096", "0x4", "4x0", "fewxmany", "4x16777217"] {
        refused(&["bench", "--shape", shape], "--shape");
    }
    refused(&["bench", "--dtype", "f64"], "bf16");
    refused(&["bench", "--operation", "sideways"], "backward_dx");
    refused(&["bench", "--normalization", "batch"], "rms");
    refused(&["bench", "--seconds", "-1"], "--seconds");
    refused(&["bench", "--seconds", "nan"], "--seconds");
    refused(&["bench", "--margin", "10"], "--baseline");
    refused(&["bench", "--baseline", &room.path("absent")], "cannot be read");
    refused(&["bench", "--baseline", &room.path("absent"), "--margin", "-1"], "--margin");
    refused(&["overclock"], "overclock");
    refused(&[], "subcommand");
    refused(&["adapters", "--yaml"], "--yaml");

    let mut command = layernorm(&["forward", &input, &out, "--x", "x"]);
    command.env("WGPU_ADAPTER_NAME", "Voodoo 2");
    let result = run(command);
    assert_eq!(result.code, Some(2), "a name that was given is not passed over: {result:?}");
    assert!(result.stderr.contains("WGPU_ADAPTER_NAME"), "{result:?}");
}

/// The back end that this machine cannot have.
const FOREIGN_BACKEND: &str = if cfg!(windows) { "metal" } else { "dx12" };

#[test]
fn without_an_adapter_the_commands_that_need_one_say_what_to_install() {
    for args in [&["adapters"][..], &["adapters", "--json"], &["verify"], &["bench"], &["tune", "--out", "x"]]
    {
        let mut command = layernorm(args);
        command.env("WGPU_BACKEND", FOREIGN_BACKEND);
        let result = run(command);
        assert_eq!(result.code, Some(1), "{result:?}");
        assert!(result.stderr.contains("mesa-vulkan-drivers"), "{result:?}");
        assert!(result.stderr.contains(FOREIGN_BACKEND), "{result:?}");
        assert_eq!(result.stdout, if args.contains(&"--json") { "[]\n" } else { "" });
    }
}

#[test]
fn without_an_adapter_the_demo_shows_the_reference_and_fails() {
    let mut command = layernorm(&["demo"]);
    command.env("WGPU_BACKEND", FOREIGN_BACKEND);
    let result = run(command);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(result.stdout.contains("CPU reference"), "{}", result.stdout);
    assert!(result.stderr.contains("mesa-vulkan-drivers"), "{}", result.stderr);
}

#[test]
fn without_an_adapter_auto_is_the_reference() {
    let room = room_with_tensors();
    let out = room.path("out");
    let mut command = layernorm(&["forward", &room.path("in"), &out, "--x", "x"]);
    command.env("WGPU_BACKEND", FOREIGN_BACKEND);
    let result = run(command);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(result.stderr.contains("CPU reference"), "{result:?}");
    assert_eq!(files::names(&out), ["y"]);
}

/// A write that fails midway, as on a full disk: here by a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_failed_write_leaves_out_as_it_was() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    files::write(&input, &[("x", Tensor::f32(&[64, 64], &ramp(4096)))]);
    std::fs::write(&out, "precious").unwrap();
    let script = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
    let binary = assert_cmd::cargo::cargo_bin!("layernorm");
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(binary)
        .args(["forward", &input, &out, "--x", "x", "--adapter", "cpu"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains(&format!("writing {out} failed")), "{stderr}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
    assert_eq!(room.names(), ["in", "out"]);
}

#[test]
fn a_wrong_call_leaves_an_existing_out_as_it_was() {
    let room = room_with_tensors();
    std::fs::write(room.path("out"), "precious").unwrap();
    let (input, out) = (room.path("in"), room.path("out"));
    assert_refused(&room, "forward", &input, &out, &["--x", "absent"], 2, &[]);
    assert_refused(&room, "forward", &input, &out, &["--x", "x", "--adapter", "Voodoo 2"], 2, &[]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
}

/// `layernorm … | head` ends quietly.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in [&["--help"][..], &["forward", "--help"], &["adapters"]] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("layernorm"))
            .args(args)
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            .stdout(pipe_without_reader())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}: {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}

fn pipe_without_reader() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().unwrap();
    writer
}
