//! `forward` and `backward` on files: results, shapes, types.

use crate::calls::{assert_close, assert_runs, assert_similar, on_both};
use crate::files::{self, Tensor, ramp};
use crate::{Room, fixture, layernorm, run};
use safetensors::tensor::Dtype;

const NORM: &str = "00.embeddings.LayerNorm";
const EPS: &str = "1e-12";

/// The model's first norm, as `PyTorch` has it, on the CPU and on an adapter.
fn check_model(adapter: &str, runs_on: impl Fn(&str) -> bool) {
    let room = Room::new();
    let (input, out) = (fixture(), room.path("out"));
    let name = |tensor: &str| format!("{NORM}.{tensor}");
    let (x, gain, bias, dy) = (name("x"), name("gain"), name("bias"), name("dy"));
    let expected = |tensor: &str| files::tensor(&input, &name(tensor));

    let common = ["--x", &x, "--gain", &gain, "--eps", EPS, "--adapter", adapter];
    let mut args = vec!["forward", &input, &out, "--bias", &bias, "--statistics"];
    args.extend(common);
    let result = assert_runs(&args);
    assert!(result.stderr.starts_with("running on ") && runs_on(&result.stderr), "{result:?}");
    assert_eq!(files::names(&out), ["mean", "rstd", "y"]);
    assert_close("y", &files::tensor(&out, "y"), &expected("y"), 384);
    assert_close("rstd", &files::tensor(&out, "rstd"), &expected("rstd"), 1);
    // A mean near 0 is a sum of larger values, whose rounding is what counts.
    let (mean, largest) = (files::tensor(&out, "mean"), 1.0);
    assert_eq!((mean.dtype, &mean.shape[..]), (Dtype::F32, &[32][..]));
    for (got, expected) in mean.values().iter().zip(expected("mean").values()) {
        assert!((got - expected).abs() <= 4.0 * largest / (1 << 24) as f32, "{got} {expected}");
    }

    let mut args = vec!["backward", &input, &out, "--dy", &dy];
    args.extend(common);
    assert!(runs_on(&assert_runs(&args).stderr));
    assert_eq!(files::names(&out), ["dbias", "dgain", "dx"]);
    assert_close("dx", &files::tensor(&out, "dx"), &expected("dx"), 384);
    assert_close("dgain", &files::tensor(&out, "dgain"), &expected("dgain"), 384);
    assert_close("dbias", &files::tensor(&out, "dbias"), &expected("dbias"), 384);
    assert_eq!(room.names(), ["out"]);
}

#[test]
fn the_models_norm_on_the_cpu() {
    check_model("cpu", |line| line.contains("CPU reference"));
}

/// Fails where there is no adapter: it is not skipped.
#[test]
fn the_models_norm_on_an_adapter() {
    check_model("auto", |line| !line.contains("CPU reference"));
}

#[test]
fn an_adapter_is_chosen_by_a_part_of_its_description() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[2, 4], &ramp(8)))]);
    let args = ["forward", &room.path("in"), &room.path("out"), "--x", "x"];
    let auto = assert_runs(&args).stderr;
    let description = auto.trim().strip_prefix("running on ").unwrap().to_uppercase();
    let named = assert_runs(&[&args[..], &["--adapter", &description]].concat()).stderr;
    assert_eq!(named, auto);
}

#[test]
fn types_and_shapes_of_outputs_are_those_of_inputs() {
    let room = Room::new();
    let input = room.path("in");
    type Kind = fn(&[usize], &[f32]) -> Tensor;
    for kind in [Tensor::f32 as Kind, Tensor::f16, Tensor::bf16] {
        for parameter_kind in [kind, Tensor::f32] {
            let tensors = [
                ("x", kind(&[2, 3, 5], &ramp(30))),
                ("r", kind(&[2, 3, 5], &ramp(37)[7..])),
                ("dy", kind(&[2, 3, 5], &ramp(41)[11..])),
                ("g", parameter_kind(&[5], &ramp(5))),
                ("b", parameter_kind(&[5], &ramp(8)[3..])),
            ];
            files::write(&input, &tensors);
            let (x, gain) = (&tensors[0].1, &tensors[3].1);
            let flags = ["--x", "x", "--gain", "g", "--bias", "b", "--residual", "r", "--statistics"];
            let outputs = ["y", "sum", "mean", "rstd"];
            let [cpu, adapter] = on_both(&room, &[&["forward", &input], &flags[..]].concat(), &outputs);
            for (name, (cpu, adapter)) in outputs.iter().zip(cpu.iter().zip(&adapter)) {
                assert_similar(name, adapter, cpu);
            }
            for output in &cpu[..2] {
                assert_eq!((output.dtype, &output.shape), (x.dtype, &x.shape));
            }
            for output in &cpu[2..] {
                assert_eq!((output.dtype, &output.shape[..]), (Dtype::F32, &[2, 3][..]));
            }

            let flags = ["--x", "x", "--dy", "dy", "--gain", "g"];
            let outputs = ["dx", "dgain", "dbias"];
            let [cpu, adapter] = on_both(&room, &[&["backward", &input], &flags[..]].concat(), &outputs);
            for (name, (cpu, adapter)) in outputs.iter().zip(cpu.iter().zip(&adapter)) {
                assert_similar(name, adapter, cpu);
            }
            assert_eq!((cpu[0].dtype, &cpu[0].shape), (x.dtype, &x.shape));
            for output in &cpu[1..] {
                assert_eq!((output.dtype, &output.shape), (gain.dtype, &gain.shape));
            }
        }
    }
}

#[test]
fn the_sum_is_what_gets_normalized() {
    let room = Room::new();
    let (input, out, again) = (room.path("in"), room.path("out"), room.path("again"));
    let tensors = [("x", Tensor::f16(&[2, 6], &ramp(12))), ("r", Tensor::f16(&[2, 6], &ramp(17)[5..]))];
    files::write(&input, &tensors);
    assert_runs(&["forward", &input, &out, "--x", "x", "--residual", "r", "--adapter", "cpu"]);
    let sum: Vec<f32> = ramp(12).iter().zip(&ramp(17)[5..]).map(|(x, r)| x + r).collect();
    assert_eq!(files::tensor(&out, "sum"), Tensor::f16(&[2, 6], &sum));
    assert_runs(&["forward", &out, &again, "--x", "sum", "--adapter", "cpu"]);
    assert_eq!(files::tensor(&again, "y"), files::tensor(&out, "y"));
}

#[test]
fn cols_says_how_long_a_row_is() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    files::write(
        &input,
        &[("x", Tensor::f32(&[2, 3, 4], &ramp(24))), ("flat", Tensor::f32(&[2, 12], &ramp(24)))],
    );
    let shapes = [(4, vec![2, 3]), (12, vec![2]), (24, vec![]), (6, vec![4]), (1, vec![24])];
    for (cols, leading) in shapes {
        let cols = cols.to_string();
        let args = ["forward", &input, &out, "--x", "x", "--cols", &cols, "--statistics", "--adapter", "cpu"];
        assert_runs(&args);
        assert_eq!(files::tensor(&out, "y").shape, [2, 3, 4]);
        assert_eq!(files::tensor(&out, "mean").shape, leading, "{cols}");
        if cols == "12" {
            let y = files::tensor(&out, "y").values();
            assert_runs(&["forward", &input, &out, "--x", "flat", "--adapter", "cpu"]);
            assert_eq!(files::tensor(&out, "y").values(), y);
        }
    }
}

#[test]
fn no_rows_are_fine() {
    let room = Room::new();
    let tensors = [("x", Tensor::f32(&[0, 5], &[])), ("g", Tensor::f32(&[5], &ramp(5)))];
    files::write(&room.path("in"), &tensors);
    let input = room.path("in");
    for results in on_both(&room, &["forward", &input, "--x", "x", "--statistics"], &["y", "mean", "rstd"]) {
        let shapes: Vec<_> = results.iter().map(|tensor| tensor.shape.clone()).collect();
        assert_eq!(shapes, [vec![0, 5], vec![0], vec![0]]);
    }
    let flags = ["backward", &input, "--x", "x", "--dy", "x", "--gain", "g"];
    for results in on_both(&room, &flags, &["dx", "dgain", "dbias"]) {
        let zeros = Tensor::f32(&[5], &[0.0; 5]);
        assert_eq!(results, [Tensor::f32(&[0, 5], &[]), zeros.clone(), zeros]);
    }
}

#[test]
fn nan_stays_in_its_row() {
    let room = Room::new();
    let mut x = ramp(12);
    x[5] = f32::NAN;
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &x))]);
    for results in on_both(&room, &["forward", &room.path("in"), "--x", "x"], &["y"]) {
        let is_nan: Vec<bool> = results[0].values().iter().map(|value| value.is_nan()).collect();
        assert_eq!(is_nan, [[false; 4], [true; 4], [false; 4]].concat());
    }
}

#[test]
fn without_a_gain_there_is_only_dx() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    on_both(&room, &["backward", &room.path("in"), "--x", "x", "--dy", "x"], &["dx"]);
}

#[test]
fn out_may_be_in() {
    let room = Room::new();
    let (file, out) = (room.path("file"), room.path("out"));
    files::write(&file, &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    assert_runs(&["forward", &file, &out, "--x", "x", "--adapter", "cpu"]);
    assert_runs(&["forward", &file, &file, "--x", "x", "--adapter", "cpu"]);
    assert_eq!(files::read(&file), files::read(&out));
    assert_eq!(room.names(), ["file", "out"]);
}

#[test]
fn out_is_found_from_the_current_directory() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    let mut command = layernorm(&["forward", "in", "out", "--x", "x", "--adapter", "cpu"]);
    command.current_dir(room.0.path());
    let result = run(command);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(files::names(&room.path("out")), ["y"]);
}

#[cfg(unix)]
#[test]
fn a_link_keeps_pointing_where_it_did() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[3, 4], &ramp(12)))]);
    std::fs::write(room.path("target"), "old").unwrap();
    symlink("target", room.path("link")).unwrap();
    assert_runs(&["forward", &room.path("in"), &room.path("link"), "--x", "x", "--adapter", "cpu"]);
    assert_eq!(files::names(&room.path("target")), ["y"]);
    assert!(std::fs::symlink_metadata(room.path("link")).unwrap().is_symlink());
    // Files are as readable as those that any other program writes here.
    let mode = |name: &str| std::fs::metadata(room.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("target"), mode("in"));
}
