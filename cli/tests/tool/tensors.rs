//! `forward` and `backward` on files: results, shapes, types.

use crate::files::{self, Tensor, ramp};
use crate::{Room, Run, fixture, layernorm, run};
use safetensors::tensor::{Dtype, SafeTensors};
use wgpu_layernorm::Real;

const NORM: &str = "00.embeddings.LayerNorm";
const EPS: &str = "1e-12";

/// Runs a call that has to succeed.
fn assert_runs(args: &[&str]) -> Run {
    let result = run(layernorm(args));
    assert_eq!(result.code, Some(0), "{args:?}: {result:?}");
    assert_eq!(result.stdout, "", "{args:?}");
    assert_eq!(result.stderr.lines().count(), 1, "says where it ran, and nothing else: {result:?}");
    result
}

/// All values within 4 units of 2^-24 of the largest of each `chunk`.
fn assert_close(name: &str, got: &Tensor, expected: &Tensor, chunk: usize) {
    assert_eq!((got.dtype, &got.shape), (expected.dtype, &expected.shape), "{name}");
    for (got, expected) in got.values().chunks(chunk).zip(expected.values().chunks(chunk)) {
        let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        for (got, expected) in got.iter().zip(expected) {
            let units = f64::from((got - expected).abs()) / f64::from(largest) * f64::from(1 << 24);
            assert!(units <= 4.0, "{name}: {got} is not {expected}: off by {units} units");
        }
    }
}

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

/// Gives `y` of an input on the CPU and on an adapter.
fn on_both(room: &Room, args: &[&str], outputs: &[&str]) -> [Vec<Tensor>; 2] {
    ["cpu", "auto"].map(|adapter| {
        let out = room.path("out");
        let mut all = vec![args[0], &args[1], &out, "--adapter", adapter];
        all.extend(&args[2..]);
        assert_runs(&all);
        let mut names = outputs.to_vec();
        names.sort_unstable();
        assert_eq!(files::names(&out), names);
        outputs.iter().map(|name| files::tensor(&out, name)).collect()
    })
}

/// Each value by itself, zeros exactly.
fn assert_near(name: &str, got: &Tensor, expected: &[f32]) {
    for (got, expected) in got.values().iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{name}: {got} is not {expected}");
    }
}

/// Equal but for one rounding of a 16-bit type.
fn assert_similar(name: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!((got.dtype, &got.shape), (expected.dtype, &expected.shape), "{name}");
    let tolerance = if got.dtype == Dtype::BF16 { 1.0 / 128.0 } else { 1.0 / 1024.0 };
    for (got, expected) in got.values().iter().zip(expected.values()) {
        let error = (got - expected).abs();
        assert!(error <= tolerance * expected.abs() + 1e-6, "{name}: {got} is not {expected}");
    }
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
fn rms_norm_keeps_the_mean() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[1, 2], &[3.0, 4.0]))]);
    let args = ["--x", "x", "--normalization", "rms", "--eps", "12.5"];
    let [cpu, adapter] = on_both(&room, &[&["forward", &room.path("in")], &args[..]].concat(), &["y"]);
    // The mean square is 12.5 too, so the root is 5.
    assert_close("y", &cpu[0], &Tensor::f32(&[1, 2], &[0.6, 0.8]), 2);
    assert_close("y", &adapter[0], &Tensor::f32(&[1, 2], &[0.6, 0.8]), 2);
}

#[test]
fn l2_divides_by_the_norm_or_by_eps_where_that_is_larger() {
    let room = Room::new();
    let x = [3.0, 4.0, 0.0, 0.0, 3e-30, -4e-30];
    let tensors =
        [("x", Tensor::f32(&[3, 2], &x)), ("dy", Tensor::f32(&[3, 2], &[1.0, 0.0, 1.0, 2.0, 0.0, 0.0]))];
    files::write(&room.path("in"), &tensors);
    let input = room.path("in");
    let forward = ["forward", &input, "--x", "x", "--normalization", "l2"];
    for (eps, expected) in [
        (&[][..], [0.6, 0.8, 0.0, 0.0, 0.6, -0.8]),
        (&["--eps", "10"], [0.3, 0.4, 0.0, 0.0, 3e-31, -4e-31]),
        (&["--eps", "torch"], [0.6, 0.8, 0.0, 0.0, 3e-18, -4e-18]),
    ] {
        for has in on_both(&room, &[&forward[..], eps].concat(), &["y"]) {
            assert_near("y", &has[0], &expected);
        }
    }
    let backward = ["backward", &input, "--x", "x", "--dy", "dy", "--normalization", "l2"];
    // (dy - y * sum(dy * y)) / norm, and 0 at the zero vector.
    for has in on_both(&room, &backward, &["dx"]) {
        assert_near("dx", &has[0], &[0.128, -0.096, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn channels_of_each_position_are_a_row() {
    let room = Room::new();
    let input = room.path("in");
    // Two samples of two channels at three positions, and the same with the channels last.
    let first = [1.0, 5.0, -2.0, 3.0, 1.0, 2.0, 0.0, 8.0, 4.0, 4.0, 2.0, 4.0];
    let at = |sample: usize, channel: usize, position: usize| first[6 * sample + 3 * channel + position];
    let positions = || (0..2).flat_map(|sample| (0..3).map(move |position| (sample, position)));
    let last: Vec<f32> = positions().flat_map(|(n, s)| [at(n, 0, s), at(n, 1, s)]).collect();
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[2, 2, 3], &first)),
            ("last", Tensor::f32(&[2, 3, 2], &last)),
            ("g", Tensor::f32(&[2], &[2.0, 3.0])),
            ("b", Tensor::f32(&[2], &[0.5, 0.25])),
            ("none", Tensor::f32(&[2, 2, 0], &[])),
        ],
    );
    let y_of = |flags: &[&str], names: &[&str]| {
        let all = [&["forward", &input, "--gain", "g", "--bias", "b", "--eps", "0.25"], flags].concat();
        on_both(&room, &all, names)
    };
    let names = ["y", "mean", "rstd"];
    // Half the difference d of two channels has the variance d^2; with eps that is under the root.
    let expected = |channel: usize, n: usize, s: usize| {
        let half = (at(n, channel, s) - at(n, 1 - channel, s)) / 2.0;
        [2.0, 3.0][channel] * half / (half * half + 0.25).sqrt() + [0.5, 0.25][channel]
    };
    for has in y_of(&["--x", "x", "--normalization", "channel", "--statistics"], &names) {
        let y: Vec<f32> = (0..2)
            .flat_map(|n| (0..2).flat_map(move |c| (0..3).map(move |s| (c, n, s))))
            .map(|(c, n, s)| expected(c, n, s))
            .collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 2, 3], &y), 12);
        let means: Vec<f32> = positions().map(|(n, s)| (at(n, 0, s) + at(n, 1, s)) / 2.0).collect();
        assert_close("mean", &has[1], &Tensor::f32(&[2, 3], &means), 6);
        assert_eq!(has[2].shape, [2, 3]);
    }
    for has in y_of(&["--x", "last", "--normalization", "channel", "--channels-last"], &["y"]) {
        let y: Vec<f32> = positions().flat_map(|(n, s)| [expected(0, n, s), expected(1, n, s)]).collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 3, 2], &y), 12);
    }
    for has in y_of(&["--x", "x", "--normalization", "channel-rms"], &["y"]) {
        let value = |c: usize, n: usize, s: usize| {
            let square = (at(n, 0, s).powi(2) + at(n, 1, s).powi(2)) / 2.0;
            [2.0, 3.0][c] * at(n, c, s) / (square + 0.25).sqrt() + [0.5, 0.25][c]
        };
        let y: Vec<f32> = (0..2)
            .flat_map(|n| (0..2).flat_map(move |c| (0..3).map(move |s| (c, n, s))))
            .map(|(c, n, s)| value(c, n, s))
            .collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 2, 3], &y), 12);
    }
    for has in y_of(&["--x", "none", "--normalization", "channel", "--statistics"], &names) {
        assert_eq!((&has[0].shape[..], &has[1].shape[..]), (&[2, 2, 0][..], &[2, 0][..]));
    }
    let backward = ["backward", &input, "--x", "x", "--dy", "x", "--gain", "g", "--normalization", "channel"];
    for has in on_both(&room, &backward, &["dx", "dgain", "dbias"]) {
        let of_channel = |c| positions().map(|(n, s)| at(n, c, s)).sum();
        assert_close("dbias", &has[2], &Tensor::f32(&[2], &[of_channel(0), of_channel(1)]), 2);
        // What is added to all channels of a position changes nothing.
        let dx = has[0].values();
        for (n, s) in positions() {
            let both = [dx[6 * n + s], dx[6 * n + 3 + s]];
            assert!((both[0] + both[1]).abs() <= 1e-5, "{both:?}");
        }
    }
}

#[test]
fn heads_are_normalized_and_the_rest_of_a_row_is_left() {
    let room = Room::new();
    let input = room.path("in");
    let x = ramp(2 * 11);
    let dy: Vec<f32> = x.iter().map(|x| 1.0 - x).collect();
    files::write(&input, &[("x", Tensor::f32(&[2, 1, 11], &x)), ("dy", Tensor::f32(&[2, 1, 11], &dy))]);
    let heads = ["--x", "x", "--heads", "2", "--head-dim", "3", "--offset", "4"];
    let is_head = |i: usize| (4..10).contains(&(i % 11));
    let forward = [&["forward", &input, "--statistics"][..], &heads].concat();
    let rows: Vec<f32> = (0..22).filter(|i| is_head(*i)).map(|i| x[i]).collect();
    files::write(&room.path("rows"), &[("x", Tensor::f32(&[4, 3], &rows))]);
    let plain =
        on_both(&room, &["forward", &room.path("rows"), "--x", "x", "--statistics"], &["y", "rstd", "mean"]);
    for (has, plain) in on_both(&room, &forward, &["y", "mean", "rstd"]).iter().zip(&plain) {
        assert_eq!((&has[0].shape[..], &has[2].shape[..]), (&[2, 1, 11][..], &[2, 1, 2][..]));
        let mut normalized = plain[0].values().into_iter();
        let expected: Vec<f32> =
            (0..22).map(|i| if is_head(i) { normalized.next().unwrap() } else { x[i] }).collect();
        assert_eq!(has[0].values(), expected);
        assert_eq!(has[2].values(), plain[1].values());
    }
    let backward = [&["backward", &input, "--dy", "dy"][..], &heads].concat();
    for has in on_both(&room, &backward, &["dx"]) {
        let dx = has[0].values();
        assert!((0..22).filter(|i| !is_head(*i)).all(|i| dx[i].to_bits() == dy[i].to_bits()), "{dx:?}");
        for head in [4, 7, 15, 18] {
            assert!(dx[head..head + 3].iter().sum::<f32>().abs() <= 1e-5, "{dx:?}");
        }
    }
}

#[test]
fn weight_norm_has_a_norm_for_each_index_of_an_axis() {
    let room = Room::new();
    let input = room.path("in");
    // Along the first axis the norms are 5 and 0, along the second 3, 4 and 0.
    let tensors = [
        ("v", Tensor::f32(&[2, 3], &[3.0, 4.0, 0.0, 0.0, 0.0, 0.0])),
        ("dw", Tensor::f32(&[2, 3], &[1.0, 0.0, 2.0, 3.0, 1.0, 1.0])),
        ("g", Tensor::f32(&[2, 1], &[10.0, 7.0])),
        ("g16", Tensor::f16(&[1, 3], &[2.0, -1.0, 3.0])),
        ("v16", Tensor::f16(&[2, 3], &[3.0, 4.0, 0.0, 0.0, 0.0, 0.0])),
        ("dw16", Tensor::f16(&[2, 3], &[1.0, 0.0, 2.0, 3.0, 1.0, 1.0])),
    ];
    files::write(&input, &tensors);
    let weight = ["--normalization", "weight"];
    let rows = [&["forward", &input, "--x", "v", "--gain", "g", "--statistics"], &weight[..]].concat();
    for has in on_both(&room, &rows, &["y", "norm"]) {
        assert_near("w", &has[0], &[6.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((has[1].values(), &has[1].shape[..]), (vec![5.0, 0.0], &[2, 1][..]));
    }
    let of_columns =
        [&["forward", &input, "--x", "v16", "--gain", "g16", "--axis", "1"], &weight[..]].concat();
    for has in on_both(&room, &of_columns, &["y"]) {
        assert_eq!((has[0].dtype, has[0].values()), (Dtype::F16, vec![2.0, -1.0, 0.0, 0.0, 0.0, 0.0]));
    }
    let backward = [&["backward", &input, "--x", "v", "--dy", "dw", "--gain", "g"], &weight[..]].concat();
    // sum(dw * xhat) = 0.6, and g / norm * (dw - xhat * 0.6).
    for has in on_both(&room, &backward, &["dx", "dgain"]) {
        assert_near("dv", &has[0], &[1.28, -0.96, 4.0, 0.0, 0.0, 0.0]);
        assert_near("dg", &has[1], &[0.6, 0.0]);
        assert_eq!(has[1].shape, [2, 1]);
    }
    let backward =
        [&["backward", &input, "--x", "v16", "--dy", "dw16", "--gain", "g16", "--axis", "1"], &weight[..]]
            .concat();
    for has in on_both(&room, &backward, &["dx", "dgain"]) {
        // Of [3, 0] and [1, 3] the first is along v: dv has the second, times g / norm.
        assert_similar("dv", &has[0], &Tensor::f16(&[2, 3], &[0.0, 0.0, 0.0, 2.0, -0.25, 0.0]));
        assert_similar("dg", &has[1], &Tensor::f16(&[1, 3], &[1.0, 0.0, 0.0]));
    }
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

/// PyTorch's group norm, with the channels first and last.
#[test]
fn group_and_instance_norm_are_those_of_pytorch() {
    let room = Room::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/torch.safetensors");
    let bytes = std::fs::read(vectors).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, groups, flags) in [
        ("group.gain_bias.8.4.15", 4, &["--eps", "1e-5", "--normalization", "group", "--groups", "4"][..]),
        ("group.gain_bias.6.6.49", 6, &["--eps", "1e-6", "--normalization", "instance"]),
    ] {
        let of = |tensor: &str| format!("{name}.{tensor}");
        let narrow = |tensor: &str| -> Vec<f32> {
            bytemuck::pod_collect_to_vec(tensors.tensor(&of(tensor)).unwrap().data())
        };
        let expected = |tensor: &str| -> Vec<f32> {
            let wide: Vec<f64> = bytemuck::pod_collect_to_vec(tensors.tensor(&of(tensor)).unwrap().data());
            wide.into_iter().map(f32::from_f64).collect()
        };
        let shape = tensors.tensor(&of("x")).unwrap().shape().to_vec();
        let [samples, channels, spatial] = shape[..] else { panic!("{shape:?}") };
        let last = |values: &[f32]| -> Vec<f32> {
            let place = |n: usize, s: usize, c: usize| (n * channels + c) * spatial + s;
            let in_sample =
                move |n| (0..spatial).flat_map(move |s| (0..channels).map(move |c| place(n, s, c)));
            (0..samples).flat_map(in_sample).map(|place| values[place]).collect()
        };
        let input = room.path("in");
        let (last_shape, shape) = ([samples, spatial, channels], [samples, channels, spatial]);
        files::write(
            &input,
            &[
                ("x", Tensor::f32(&shape, &narrow("x"))),
                ("dy", Tensor::f32(&shape, &narrow("dy"))),
                ("x_last", Tensor::f32(&last_shape, &last(&narrow("x")))),
                ("dy_last", Tensor::f32(&last_shape, &last(&narrow("dy")))),
                ("g", Tensor::f32(&[channels], &narrow("gain"))),
                ("b", Tensor::f32(&[channels], &narrow("bias"))),
            ],
        );
        let rows = [samples, groups];
        let channels = [channels];
        for is_last in [false, true] {
            let (x, dy) = if is_last { ("x_last", "dy_last") } else { ("x", "dy") };
            let flags = [flags, if is_last { &["--channels-last"][..] } else { &[] }].concat();
            let of_rows = |values: Vec<f32>| match is_last {
                true => Tensor::f32(&last_shape, &last(&values)),
                false => Tensor::f32(&shape, &values),
            };
            let forward = ["forward", &input, "--x", x, "--gain", "g", "--bias", "b", "--statistics"];
            for has in on_both(&room, &[&forward, &flags[..]].concat(), &["y", "mean", "rstd"]) {
                assert_close("y", &has[0], &of_rows(expected("y")), samples * channels[0] * spatial);
                assert_close("mean", &has[1], &Tensor::f32(&rows, &expected("mean")), samples * groups);
                assert_close("rstd", &has[2], &Tensor::f32(&rows, &expected("rstd")), samples * groups);
            }
            let backward = ["backward", &input, "--x", x, "--dy", dy, "--gain", "g"];
            for has in on_both(&room, &[&backward, &flags[..]].concat(), &["dx", "dgain", "dbias"]) {
                assert_close("dx", &has[0], &of_rows(expected("dx")), samples * channels[0] * spatial);
                assert_close("dgain", &has[1], &Tensor::f32(&channels, &expected("dgain")), channels[0]);
                assert_close("dbias", &has[2], &Tensor::f32(&channels, &expected("dbias")), channels[0]);
            }
        }
    }
}
