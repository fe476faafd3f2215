//! `backward --y NAME --rstd NAME`: the gradients of `--x`, and what does not go with it.

use crate::calls::on_both;
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};

/// x, dy and parameters for each channel or column, and beside them what forward makes of them with `flags`.
fn with_forward(room: &Room, flags: &[&str]) -> String {
    let input = room.path("in");
    let x: Vec<f32> = ramp(48).iter().enumerate().map(|(i, x)| x * [1.0, -3.0, 2.0][i % 3]).collect();
    let dy: Vec<f32> = ramp(48).iter().map(|value| 1.0 - value).collect();
    let (gain, bias) = ([2.0, -1.0, 0.5, 3.0], [0.5, -0.25, -2.0, 1.0]);
    let mut tensors = vec![
        ("x", Tensor::f32(&[2, 6, 4], &x)),
        ("dy", Tensor::f32(&[2, 6, 4], &dy)),
        ("gain", Tensor::f32(&[4], &gain)),
        ("bias", Tensor::f32(&[4], &bias)),
        ("small", Tensor::f32(&[4], &[2.0, 0.001, 0.0, 3.0])),
        ("wrong_rstd", Tensor::f32(&[5], &[1.0; 5])),
    ];
    files::write(&input, &tensors);
    let output = room.path("forward");
    let call =
        [&["forward", &input, &output, "--x", "x", "--statistics", "--adapter", "cpu"], flags].concat();
    let run = run(layernorm(&call));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    tensors.extend(["y", "rstd"].map(|name| (name, files::tensor(&output, name))));
    files::write(&input, &tensors);
    input
}

#[test]
fn gradients_from_y_are_those_from_x() {
    for (flags, parameters, wanted) in [
        (&["--eps", "0.25"][..], &["--gain", "gain", "--bias", "bias"][..], &["dx", "dgain", "dbias"][..]),
        (&["--normalization", "rms"], &["--gain", "gain"], &["dx", "dgain"]),
        (&["--normalization", "l2"], &[], &["dx"]),
        (
            &["--normalization", "group", "--groups", "2", "--channels-last"],
            &["--gain", "gain"],
            &["dx", "dgain"],
        ),
        (
            &["--normalization", "batch", "--channels-last"],
            &["--gain", "gain", "--bias", "bias"],
            &["dx", "dgain", "dbias"],
        ),
    ] {
        let room = Room::new();
        let input = with_forward(&room, &[flags, parameters].concat());
        let from_y =
            [&["backward", &input, "--y", "y", "--rstd", "rstd", "--dy", "dy"], flags, parameters].concat();
        // From x the bias does not matter.
        let without_bias = &parameters[..parameters.len().min(2)];
        let from_x = [&["backward", &input, "--x", "x", "--dy", "dy"], flags, without_bias].concat();
        // Nor is it known then that there is none.
        let of_bias = if parameters.is_empty() { &[][..] } else { &["dbias"] };
        let all = [&["dx"][..], &wanted[1..], of_bias].concat();
        let [_, of_x] = on_both(&room, &from_x, if wanted.len() == 2 { &all } else { wanted });
        for has in on_both(&room, &from_y, wanted) {
            for (name, (has, of_x)) in wanted.iter().zip(has.iter().zip(&of_x)) {
                assert_eq!(has.values().len(), of_x.values().len(), "{name} with {flags:?}");
                for (has, of_x) in has.values().iter().zip(of_x.values()) {
                    assert!((has - of_x).abs() < 2e-5, "{name} with {flags:?}: {has} is not {of_x}");
                }
            }
        }
    }
}

#[test]
fn small_gains_are_told_and_have_no_gradient() {
    let room = Room::new();
    let input = with_forward(&room, &["--gain", "small"]);
    let output = room.path("out");
    let call = [
        "backward",
        &input,
        &output,
        "--y",
        "y",
        "--rstd",
        "rstd",
        "--dy",
        "dy",
        "--gain",
        "small",
        "--adapter",
        "cpu",
    ];
    let has = run(layernorm(&call));
    assert_eq!(has.code, Some(0), "{}", has.stderr);
    let note = "2 of 4 gains are below --least-gain 0.00390625: xhat counts as 0 there, and their dgain is 0";
    assert!(has.stderr.contains(note), "{}", has.stderr);
    let dgain = files::tensor(&output, "dgain").values();
    assert_eq!((dgain[1], dgain[2]), (0.0, 0.0));
    assert!(dgain[0] != 0.0 && dgain[3] != 0.0, "{dgain:?}");
    let has = run(layernorm(&[&call[..], &["--least-gain", "0.001"]].concat()));
    assert!(has.stderr.contains("1 of 4 gains are below --least-gain 0.001"), "{}", has.stderr);
    let has = run(layernorm(&[&call[..], &["--least-gain", "0"]].concat()));
    assert_eq!(has.code, Some(2));
    assert!(has.stderr.contains("needs to be a number of 2^-126 or more"), "{}", has.stderr);
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let room = Room::new();
    let input = with_forward(&room, &["--gain", "gain", "--bias", "bias"]);
    let output = room.path("out");
    let of_y = ["--y", "y", "--rstd", "rstd"];
    for (flags, expected) in [
        (&["--y", "y"][..], "--rstd"),
        (&["--x", "x", "--y", "y", "--rstd", "rstd"], "'--x <NAME>' cannot be used with: --y <NAME>"),
        (&[], "--x <NAME>"),
        (
            &["--y", "y", "--rstd", "wrong_rstd"],
            "--rstd: tensor wrong_rstd is F32 [5], needs to be F32 with 12 values, one for each row of y",
        ),
        (
            &[&of_y[..], &["--activation", "silu"]].concat(),
            "--y does not go with --activation, as y does not tell what that was applied to: give --x",
        ),
        (
            &["--x", "x", "--gain", "gain", "--bias", "bias"],
            "--bias: no gradient depends on it without --activation silu, or --y in place of --x",
        ),
    ] {
        let has = run(layernorm(&[&["backward", &input, &output, "--dy", "dy"], flags].concat()));
        assert_eq!(has.code, Some(2), "{flags:?}: {}", has.stderr);
        assert!(has.stderr.contains(expected), "{flags:?}: {}", has.stderr);
    }
}
