//! `--activation silu`, by formulas of its own.

use crate::calls::on_both;
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};

const EPS: f64 = 0.25;
const SHAPE: [usize; 3] = [2, 4, 6];

/// y and dz of group norm over two channels of the four, and xhat beside them.
fn by_hand(x: &[f32], dy: &[f32], gain: &[f32], bias: &[f32]) -> [Vec<f64>; 3] {
    let mut results = [const { Vec::new() }; 3];
    for (row, (x, dy)) in x.chunks(12).zip(dy.chunks(12)).enumerate() {
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / 12.0;
        let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 12.0;
        for (column, (x, dy)) in x.iter().zip(dy).enumerate() {
            let channel = row % 2 * 2 + column / 6;
            let xhat = (f64::from(*x) - mean) / (variance + EPS).sqrt();
            let z = f64::from(gain[channel]) * xhat + f64::from(bias[channel]);
            let s = 1.0 / (1.0 + (-z).exp());
            let dz = f64::from(*dy) * s * (1.0 + z * (1.0 - s));
            for (result, value) in results.iter_mut().zip([z * s, dz, xhat]) {
                result.push(value);
            }
        }
    }
    results
}

/// The sums of a channel of all samples.
fn of_channels(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sums = vec![0.0; 4];
    values.enumerate().for_each(|(i, value)| sums[i / 6 % 4] += value);
    sums
}

fn assert_close(name: &str, got: &Tensor, expected: &[f64]) {
    assert_eq!(got.values().len(), expected.len(), "{name}");
    for (got, expected) in got.values().iter().zip(expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-5, "{name}: {got} is not {expected}");
    }
}

#[test]
fn silu_of_group_norm_and_its_gradients() {
    let room = Room::new();
    let input = room.path("in");
    let x: Vec<f32> = ramp(48).iter().enumerate().map(|(i, x)| x * [1.0, -3.0, 2.0][i % 3]).collect();
    let dy: Vec<f32> = ramp(48).iter().map(|value| 1.0 - value).collect();
    let (gain, bias) = ([2.0, -1.0, 0.5, 3.0], [0.5, -0.25, -2.0, 1.0]);
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&SHAPE, &x)),
            ("dy", Tensor::f32(&SHAPE, &dy)),
            ("gain", Tensor::f32(&[4], &gain)),
            ("bias", Tensor::f32(&[4], &bias)),
        ],
    );
    let [y, dz, xhat] = by_hand(&x, &dy, &gain, &bias);
    let norm =
        ["--x", "x", "--normalization", "group", "--groups", "2", "--eps", "0.25", "--activation", "silu"];
    let with_bias = ["--gain", "gain", "--bias", "bias"];
    let forward = [&["forward", &input][..], &norm, &with_bias].concat();
    for has in on_both(&room, &forward, &["y"]) {
        assert_close("y", &has[0], &y);
    }
    let backward = [&["backward", &input, "--dy", "dy"][..], &norm, &with_bias].concat();
    for has in on_both(&room, &backward, &["dx", "dgain", "dbias"]) {
        assert_close("dgain", &has[1], &of_channels(dz.iter().zip(&xhat).map(|(dz, xhat)| dz * xhat)));
        assert_close("dbias", &has[2], &of_channels(dz.iter().copied()));
        // What is added to a whole group changes nothing.
        for group in has[0].values().chunks(12) {
            assert!(group.iter().sum::<f32>().abs() < 1e-5, "{group:?}");
        }
    }
    // Without a bias there is a gain alone.
    let [_, dz, xhat] = by_hand(&x, &dy, &gain, &[0.0; 4]);
    let backward = [&["backward", &input, "--dy", "dy", "--gain", "gain"][..], &norm].concat();
    for has in on_both(&room, &backward, &["dx", "dgain"]) {
        assert_close("dgain", &has[1], &of_channels(dz.iter().zip(&xhat).map(|(dz, xhat)| dz * xhat)));
    }
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    let values = Tensor::f32(&[2, 3], &ramp(6));
    let parameters = || Tensor::f32(&[3], &ramp(3));
    files::write(&input, &[("x", values), ("gain", parameters()), ("bias", parameters())]);
    let x = ["--x", "x"];
    for (command, flags, says) in [
        (
            "backward",
            &["--dy", "x", "--gain", "gain", "--bias", "bias"][..],
            "--bias: no gradient depends on it without --activation silu",
        ),
        ("backward", &["--dy", "x", "--bias", "bias", "--activation", "silu"], "--bias needs --gain"),
        (
            "forward",
            &["--normalization", "weight", "--gain", "gain", "--axis", "1", "--activation", "silu"],
            "--activation silu: weight norm has none",
        ),
        ("forward", &["--activation", "relu"], "none, silu"),
    ] {
        let result = run(layernorm(&[&[command, &input, &out][..], &x, flags].concat()));
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.stderr.contains(says), "{says}: {result:?}");
    }
}
