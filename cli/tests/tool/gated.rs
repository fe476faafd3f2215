//! `--gate-input NAME --gate-order before|after`, by formulas of its own, over rows and over groups.

use crate::calls::on_both;
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};

const EPS: f64 = 0.25;
const COLS: usize = 4;

/// y, dx, the gradient of the gate's input, and that of the gain, of groups of `COLS` columns that have a
/// gain each.
fn by_hand(is_before: bool, [x, z, dy]: [&[f32]; 3], gain: &[f32]) -> [Vec<f64>; 4] {
    let [mut y, mut dx, mut dz, mut dgain] = [const { Vec::new() }; 4];
    dgain.resize(gain.len(), 0.0);
    for row in 0..x.len() / COLS {
        let at = |values: &[f32], i: usize| f64::from(values[row * COLS + i]);
        let place = |i: usize| row * COLS % gain.len() + i;
        let gate = |i: usize| {
            let s = 1.0 / (1.0 + (-at(z, i)).exp());
            (at(z, i) * s, s * (1.0 + at(z, i) * (1.0 - s)))
        };
        let before = |i: usize| if is_before { gate(i).0 } else { 1.0 };
        let after = |i: usize| if is_before { 1.0 } else { gate(i).0 };
        let mean_square = (0..COLS).map(|i| (at(x, i) * before(i)).powi(2)).sum::<f64>() / COLS as f64;
        let rstd = 1.0 / (mean_square + EPS).sqrt();
        let xhat = |i: usize| at(x, i) * before(i) * rstd;
        let dxhat = |i: usize| at(dy, i) * after(i) * f64::from(gain[place(i)]);
        let mean = (0..COLS).map(|i| dxhat(i) * xhat(i)).sum::<f64>() / COLS as f64;
        for i in 0..COLS {
            let normalized = f64::from(gain[place(i)]) * xhat(i);
            let du = rstd * (dxhat(i) - xhat(i) * mean);
            y.push(normalized * after(i));
            dx.push(du * before(i));
            dz.push(gate(i).1 * if is_before { du * at(x, i) } else { at(dy, i) * normalized });
            dgain[place(i)] += at(dy, i) * after(i) * xhat(i);
        }
    }
    [y, dx, dz, dgain]
}

fn input(room: &Room) -> (String, [Vec<f32>; 4]) {
    let input = room.path("in");
    let x: Vec<f32> = ramp(48).iter().enumerate().map(|(i, x)| x * [1.0, -3.0, 2.0][i % 3]).collect();
    let z: Vec<f32> = ramp(48).iter().map(|value| 3.0 * value - 1.0).collect();
    let dy: Vec<f32> = ramp(48).iter().map(|value| 1.0 - value).collect();
    let gain = vec![2.0, -1.0, 0.5, 3.0, 1.0, -2.0, 0.25, 1.5];
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[6, 8], &x)),
            ("z", Tensor::f32(&[6, 8], &z)),
            ("dy", Tensor::f32(&[6, 8], &dy)),
            ("gain", Tensor::f32(&[2, 4], &gain)),
        ],
    );
    (input, [x, z, dy, gain])
}

#[test]
fn groups_have_a_gain_each_in_both_orders() {
    for order in ["before", "after"] {
        let room = Room::new();
        let (input, [x, z, dy, gain]) = input(&room);
        let expected = by_hand(order == "before", [&x, &z, &dy], &gain);
        let norm = [
            "--x",
            "x",
            "--normalization",
            "rms",
            "--eps",
            "0.25",
            "--heads",
            "2",
            "--head-dim",
            "4",
            "--gain",
            "gain",
            "--gate-input",
            "z",
            "--gate-order",
            order,
        ];
        let assert_close = |name: &str, got: &Tensor, expected: &[f64]| {
            assert_eq!(got.values().len(), expected.len(), "{name}");
            for (got, expected) in got.values().iter().zip(expected) {
                assert!((f64::from(*got) - expected).abs() < 2e-5, "{name} {order}: {got} is not {expected}");
            }
        };
        for has in on_both(&room, &[&["forward", &input][..], &norm].concat(), &["y"]) {
            assert_close("y", &has[0], &expected[0]);
        }
        let backward = [&["backward", &input, "--dy", "dy"][..], &norm].concat();
        let names = ["dx", "dgate_input", "dgain"];
        for has in on_both(&room, &backward, &names) {
            for ((name, has), expected) in names.iter().zip(&has).zip(&expected[1..]) {
                assert_close(name, has, expected);
            }
        }
    }
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let room = Room::new();
    let (input, _) = input(&room);
    let output = room.path("out");
    let of_gate = ["--x", "x", "--gate-input", "z"];
    let rms = ["--normalization", "rms"];
    for (flags, expected) in [
        (of_gate.to_vec(), "--gate-input needs --normalization rms"),
        ([&of_gate[..], &rms, &["--residual", "x"]].concat(), "--gate-input does not go with --residual"),
        ([&of_gate[..], &rms, &["--codes", "int8"]].concat(), "--gate-input does not go with --codes"),
        (
            [&of_gate[..], &rms, &["--activation", "silu"]].concat(),
            "--gate-input does not go with --activation",
        ),
        (
            [&["--x", "x", "--gate-input", "gain"][..], &rms].concat(),
            "--gate-input: tensor gain is F32 [2, 4], needs to be F32 [6, 8] as x is",
        ),
        (vec!["--x", "x", "--gate-order", "after"], "--gate-input <NAME>"),
    ] {
        let has = run(layernorm(&[&["forward", &input, &output][..], &flags].concat()));
        assert_eq!(has.code, Some(2), "{flags:?}: {}", has.stderr);
        assert!(has.stderr.contains(expected), "{flags:?}: {}", has.stderr);
    }
}
