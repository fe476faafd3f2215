//! `forward` and `backward` with `--heads`: QK norm inside packed rows.

use crate::Room;
use crate::calls::{assert_close, on_both};
use crate::files::{self, Tensor, ramp};
use wgpu_layernorm::Real;

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

/// Two heads with a gain and a bias each, in the middle of rows: as the formulas have them.
#[test]
fn heads_may_have_a_gain_each() {
    const TOKENS: usize = 3;
    const WIDTH: usize = 11;
    const HEADS: usize = 2;
    const DIM: usize = 3;
    const OFFSET: usize = 4;
    let room = Room::new();
    let input = room.path("in");
    let x = ramp(TOKENS * WIDTH);
    let dy: Vec<f32> = x.iter().rev().map(|x| 0.5 - x).collect();
    let (gain, bias) = ([2.0, 1.0, -1.0, 0.5, 3.0, 0.25], [0.0, 1.0, 2.0, -3.0, 0.5, 1.5]);
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[TOKENS, WIDTH], &x)),
            ("dy", Tensor::f32(&[TOKENS, WIDTH], &dy)),
            ("g", Tensor::f32(&[HEADS, DIM], &gain)),
            ("b", Tensor::f32(&[HEADS, DIM], &bias)),
        ],
    );
    let heads = ["--heads", "2", "--head-dim", "3", "--offset", "4", "--gain", "g", "--eps", "0.25"];
    for (normalization, is_centered) in [("layer", 1.0), ("rms", 0.0)] {
        // y and dx with what they leave, dgain and dbias.
        let (mut y, mut dx) = (x.clone(), dy.clone());
        let (mut dgain, mut dbias, mut rstds) = ([0.0_f32; 6], [0.0_f32; 6], Vec::new());
        for row in 0..TOKENS * HEADS {
            let (first, own) = (row / HEADS * WIDTH + OFFSET + row % HEADS * DIM, row % HEADS * DIM);
            let of_row = |values: &[f32]| [0, 1, 2].map(|column| f64::from(values[first + column]));
            let mean_of = |values: [f64; 3]| values.iter().sum::<f64>() / 3.0;
            let mean = is_centered * mean_of(of_row(&x));
            let centered = of_row(&x).map(|x| x - mean);
            let rstd = 1.0 / (mean_of(centered.map(|c| c * c)) + 0.25).sqrt();
            let xhat = centered.map(|c| c * rstd);
            let dxhat = [0, 1, 2].map(|c| of_row(&dy)[c] * f64::from(gain[own + c]));
            let means = [is_centered * mean_of(dxhat), mean_of([0, 1, 2].map(|c| dxhat[c] * xhat[c]))];
            for c in 0..3 {
                y[first + c] = f32::from_f64(xhat[c] * f64::from(gain[own + c]) + f64::from(bias[own + c]));
                dx[first + c] = f32::from_f64(rstd * (dxhat[c] - means[0] - xhat[c] * means[1]));
                dgain[own + c] += f32::from_f64(of_row(&dy)[c] * xhat[c]);
                dbias[own + c] += dy[first + c];
            }
            rstds.push(f32::from_f64(rstd));
        }
        let forward = ["forward", &input, "--x", "x", "--bias", "b", "--statistics"];
        let flags = [&heads[..], &["--normalization", normalization]].concat();
        for has in on_both(&room, &[&forward[..], &flags].concat(), &["y", "mean", "rstd"]) {
            assert_close("y", &has[0], &Tensor::f32(&[TOKENS, WIDTH], &y), TOKENS * WIDTH);
            assert_close("rstd", &has[2], &Tensor::f32(&[TOKENS, HEADS], &rstds), 1);
            assert_eq!(has[1].shape, [TOKENS, HEADS]);
        }
        let backward = ["backward", &input, "--x", "x", "--dy", "dy"];
        for has in on_both(&room, &[&backward[..], &flags].concat(), &["dx", "dgain", "dbias"]) {
            assert_close("dx", &has[0], &Tensor::f32(&[TOKENS, WIDTH], &dx), TOKENS * WIDTH);
            assert_close("dgain", &has[1], &Tensor::f32(&[HEADS, DIM], &dgain), HEADS * DIM);
            assert_close("dbias", &has[2], &Tensor::f32(&[HEADS, DIM], &dbias), HEADS * DIM);
            let is_head = |i: usize| (OFFSET..OFFSET + HEADS * DIM).contains(&(i % WIDTH));
            let left = (0..TOKENS * WIDTH).filter(|i| !is_head(*i));
            left.for_each(|i| assert_eq!(has[0].values()[i].to_bits(), dy[i].to_bits()));
        }
    }
}
