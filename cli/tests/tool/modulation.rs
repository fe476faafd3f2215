//! `forward` and `backward` with `--scale` and `--shift`: modulation of each sample.

use crate::calls::{assert_close, on_both};
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};
use wgpu_layernorm::Real;

const SAMPLES: usize = 2;
const TOKENS: usize = 3;
const COLS: usize = 4;
const COUNT: usize = SAMPLES * TOKENS * COLS;

/// As diffusion transformers have it, `(1 + scale) * xhat + shift`, and a scale for each row.
#[test]
fn samples_and_rows_have_scale_and_shift_of_their_own() {
    let room = Room::new();
    let input = room.path("in");
    let x: Vec<f32> = ramp(COUNT).iter().enumerate().map(|(i, x)| x * (i % 5) as f32).collect();
    let dy: Vec<f32> = x.iter().rev().map(|x| 0.5 - x).collect();
    let rows = SAMPLES * TOKENS;
    let [scale, shift] =
        [0.25_f32, -0.5].map(|by| -> Vec<f32> { ramp(rows * COLS).iter().map(|value| value * by).collect() });
    let of_samples = |values: &[f32]| Tensor::f32(&[SAMPLES, COLS], &values[..SAMPLES * COLS]);
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[SAMPLES, TOKENS, COLS], &x)),
            ("dy", Tensor::f32(&[SAMPLES, TOKENS, COLS], &dy)),
            ("scale", of_samples(&scale)),
            ("shift", of_samples(&shift)),
            ("row_scale", Tensor::f32(&[rows, COLS], &scale)),
            ("row_shift", Tensor::f32(&[SAMPLES, TOKENS, COLS], &shift)),
        ],
    );
    for (names, tokens, offset, normalization, centered) in [
        (["scale", "shift"], TOKENS, 1.0, "layer", 1.0),
        (["scale", "shift"], TOKENS, 0.0, "rms", 0.0),
        (["row_scale", "row_shift"], 1, 1.0, "layer", 1.0),
    ] {
        let (mut y, mut dx) = (Vec::new(), Vec::new());
        let parameters = rows / tokens * COLS;
        let (mut dscale, mut dshift) = (vec![0.0_f32; parameters], vec![0.0_f32; parameters]);
        for (row, (x, dy)) in x.chunks(COLS).zip(dy.chunks(COLS)).enumerate() {
            let own = row / tokens * COLS;
            let mean_of = |values: &[f64]| values.iter().sum::<f64>() / COLS as f64;
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let mean = centered * mean_of(&x);
            let squares: Vec<f64> = x.iter().map(|x| (x - mean).powi(2)).collect();
            let rstd = 1.0 / (mean_of(&squares) + 0.25).sqrt();
            let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * rstd).collect();
            let factor = |c: usize| offset + f64::from(scale[own + c]);
            let dxhat: Vec<f64> = (0..COLS).map(|c| f64::from(dy[c]) * factor(c)).collect();
            let products: Vec<f64> = dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat).collect();
            let means = [centered * mean_of(&dxhat), mean_of(&products)];
            for c in 0..COLS {
                y.push(f32::from_f64(xhat[c] * factor(c) + f64::from(shift[own + c])));
                dx.push(f32::from_f64(rstd * (dxhat[c] - means[0] - xhat[c] * means[1])));
                dscale[own + c] += f32::from_f64(f64::from(dy[c]) * xhat[c]);
                dshift[own + c] += dy[c];
            }
        }
        let offset = offset.to_string();
        let flags = ["--x", "x", "--scale", names[0], "--scale-offset", &offset];
        let flags = [&flags[..], &["--eps", "0.25", "--normalization", normalization]].concat();
        let forward = [&["forward", &input, "--shift", names[1], "--statistics"][..], &flags].concat();
        for has in on_both(&room, &forward, &["y", "mean", "rstd"]) {
            assert_close("y", &has[0], &Tensor::f32(&[SAMPLES, TOKENS, COLS], &y), COUNT);
            assert_eq!(has[1].shape, [SAMPLES, TOKENS]);
        }
        let backward = [&["backward", &input, "--dy", "dy"][..], &flags].concat();
        let shape = [rows / tokens, COLS];
        for has in on_both(&room, &backward, &["dx", "dscale", "dshift"]) {
            assert_close("dx", &has[0], &Tensor::f32(&[SAMPLES, TOKENS, COLS], &dx), COUNT);
            assert_close("dscale", &has[1], &Tensor::f32(&shape, &dscale), parameters);
            assert_close("dshift", &has[2], &Tensor::f32(&shape, &dshift), parameters);
        }
    }
}

#[test]
fn what_is_no_modulation_is_refused() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[SAMPLES, TOKENS, COLS], &ramp(COUNT))),
            ("gain", Tensor::f32(&[COLS], &ramp(COLS))),
            ("scale", Tensor::f32(&[SAMPLES, COLS], &ramp(SAMPLES * COLS))),
            ("tokens", Tensor::f32(&[TOKENS, COLS], &ramp(TOKENS * COLS))),
            ("turned", Tensor::f32(&[COLS, SAMPLES], &ramp(SAMPLES * COLS))),
        ],
    );
    for (flags, says) in [
        (&["--scale", "tokens"][..], "tokens has shape [3, 4], needs [samples, 4], or [6, 4] for a row each"),
        (&["--scale", "scale", "--shift", "tokens"], "needs 8, one for each column of each sample"),
        (&["--scale", "scale", "--shift", "turned"], "turned has shape [4, 2], needs [samples, 4]"),
        (&["--scale", "scale", "--gain", "gain"], "cannot be used with"),
        (&["--shift", "scale"], "--shift needs --scale"),
        (&["--scale-offset", "1"], "--scale-offset needs --scale"),
        (&["--zero-centered-gain"], "--zero-centered-gain needs --gain"),
        (&["--gain-offset", "1", "--scale", "scale"], "--gain-offset needs --gain"),
        (&["--scale", "scale", "--scale-offset", "2"], "needs to be 0 or 1"),
        (&["--gain", "gain", "--gain-offset", "0.5"], "needs to be 0 or 1"),
        (
            &["--scale", "scale", "--normalization", "channel"],
            "--scale needs --normalization layer, rms or l2",
        ),
        (&["--scale", "scale", "--heads", "2", "--head-dim", "2"], "--scale does not go with --heads"),
    ] {
        let result = run(layernorm(&[&["forward", &input, &out, "--x", "x"][..], flags].concat()));
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.stderr.contains(says), "{says}: {result:?}");
    }
}

/// `--gain-offset 1` is what `--zero-centered-gain` was called first.
#[test]
fn a_gain_may_have_an_offset() {
    let room = Room::new();
    let input = room.path("in");
    let gain = ramp(COLS);
    files::write(&input, &[("x", Tensor::f32(&[6, COLS], &ramp(24))), ("gain", Tensor::f32(&[COLS], &gain))]);
    let with = |flags: &[&str]| {
        let call = [&["forward", &input, "--x", "x", "--gain", "gain"][..], flags].concat();
        on_both(&room, &call, &["y"]).map(|mut has| has.remove(0).values())
    };
    assert_eq!(with(&["--gain-offset", "1"]), with(&["--zero-centered-gain"]));
    assert_eq!(with(&["--gain-offset", "0"]), with(&[]));
    assert_ne!(with(&["--gain-offset", "1"]), with(&[]));
}
