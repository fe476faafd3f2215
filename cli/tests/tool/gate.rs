//! `forward` with `--residual` and `--gate`, and `backward` of such a sum.

use crate::calls::{assert_close, on_both};
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};
use wgpu_layernorm::Real;

const SAMPLES: usize = 2;
const TOKENS: usize = 3;
const COLS: usize = 4;
const COUNT: usize = SAMPLES * TOKENS * COLS;
const ROWS: usize = SAMPLES * TOKENS;

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().copied().map(f32::from_f64).collect()
}

/// `sum = residual + gate * x`, with a gate of each sample, of each row and of each column, beside nothing, a
/// gain and a bias, and a scale and a shift.
#[test]
fn a_sum_may_have_a_gate() {
    let room = Room::new();
    let input = room.path("in");
    let x: Vec<f32> = ramp(COUNT).iter().enumerate().map(|(i, x)| x * (i % 5) as f32).collect();
    let residual: Vec<f32> = x.iter().rev().map(|x| 0.25 * x + 1.0).collect();
    let dy: Vec<f32> = x.iter().rev().map(|x| 0.5 - x).collect();
    let dsum: Vec<f32> = ramp(COUNT).iter().enumerate().map(|(i, x)| x - (i % 3) as f32).collect();
    let gates: Vec<f32> = ramp(COUNT).iter().enumerate().map(|(i, x)| 0.5 * x - (i % 2) as f32).collect();
    let [factor, summand] = [0.25_f32, -0.5]
        .map(|by| -> Vec<f32> { ramp(SAMPLES * COLS).iter().map(|value| value * by).collect() });
    let rows = |values: &[f32]| Tensor::f32(&[SAMPLES, TOKENS, COLS], values);
    // What is normalized, for backward: the sum in float32.
    let sum_of = |tokens: usize| -> Vec<f32> {
        let gate = |i: usize| f64::from(gates[i / COLS / tokens * COLS + i % COLS]);
        (0..COUNT).map(|i| f32::from_f64(f64::from(residual[i]) + gate(i) * f64::from(x[i]))).collect()
    };
    let kinds = [("gate", TOKENS), ("row_gate", 1), ("column_gate", ROWS)];
    let sums = kinds.map(|(_, tokens)| sum_of(tokens));
    let columns = |values: &[f32]| Tensor::f32(&[COLS], &values[..COLS]);
    files::write(
        &input,
        &[
            ("x", rows(&x)),
            ("residual", rows(&residual)),
            ("dy", rows(&dy)),
            ("dsum", rows(&dsum)),
            ("gate", Tensor::f32(&[SAMPLES, COLS], &gates[..SAMPLES * COLS])),
            ("row_gate", rows(&gates)),
            ("column_gate", columns(&gates)),
            ("sum_of_gate", rows(&sums[0])),
            ("sum_of_row_gate", rows(&sums[1])),
            ("sum_of_column_gate", rows(&sums[2])),
            ("gain", columns(&factor)),
            ("bias", columns(&summand)),
            ("scale", Tensor::f32(&[SAMPLES, COLS], &factor)),
            ("shift", Tensor::f32(&[SAMPLES, COLS], &summand)),
        ],
    );
    for ((name, tokens), sum) in kinds.iter().zip(&sums) {
        for [by, plus] in [["", ""], ["gain", "bias"], ["scale", "shift"]] {
            // Scale and shift are those of samples, as the gate is.
            if by == "scale" && *name != "gate" {
                continue;
            }
            let own = |i: usize| if by == "scale" { i / COLS / TOKENS * COLS + i % COLS } else { i % COLS };
            let has = by.is_empty();
            let factor_of = |i: usize| if has { 1.0 } else { f64::from(factor[own(i)]) };
            let summand_of = |i: usize| if has { 0.0 } else { f64::from(summand[own(i)]) };
            let gate = |i: usize| i / COLS / tokens * COLS + i % COLS;
            let (mut y, mut dx, mut dbranch) = (vec![0.0; COUNT], vec![0.0; COUNT], vec![0.0; COUNT]);
            let mut dgate = vec![0.0; ROWS / tokens * COLS];
            let parameters = if by == "scale" { SAMPLES * COLS } else { COLS };
            let (mut dgain, mut dbias) = (vec![0.0; parameters], vec![0.0; parameters]);
            for row in 0..ROWS {
                let at = row * COLS..(row + 1) * COLS;
                let values: Vec<f64> = sum[at.clone()].iter().map(|value| f64::from(*value)).collect();
                let mean_of = |values: &[f64]| values.iter().sum::<f64>() / COLS as f64;
                let mean = mean_of(&values);
                let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
                let rstd = 1.0 / (mean_of(&squares) + 0.25).sqrt();
                let xhat: Vec<f64> = values.iter().map(|value| (value - mean) * rstd).collect();
                let dxhat: Vec<f64> = at.clone().map(|i| f64::from(dy[i]) * factor_of(i)).collect();
                let products: Vec<f64> = dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat).collect();
                let means = [mean_of(&dxhat), mean_of(&products)];
                for (c, i) in at.enumerate() {
                    y[i] = xhat[c] * factor_of(i) + summand_of(i);
                    dx[i] = rstd * (dxhat[c] - means[0] - xhat[c] * means[1]) + f64::from(dsum[i]);
                    dbranch[i] = f64::from(gates[gate(i)]) * dx[i];
                    dgate[gate(i)] += dx[i] * f64::from(x[i]);
                    dgain[own(i)] += f64::from(dy[i]) * xhat[c];
                    dbias[own(i)] += f64::from(dy[i]);
                }
            }
            let flags = ["--eps", "0.25", "--gate", name];
            let [of_gain, of_bias] = [by, plus].map(|name| format!("--{name}"));
            let mut forward =
                [&["forward", &input, "--x", "x", "--residual", "residual"][..], &flags].concat();
            let of_sum = format!("sum_of_{name}");
            let mut backward =
                [&["backward", &input, "--x", &of_sum, "--dy", "dy", "--dsum", "dsum"][..], &flags].concat();
            backward.extend(["--branch", "x"]);
            let names = [format!("d{by}"), format!("d{plus}")];
            let mut outputs = vec!["dx", "dbranch", "dgate"];
            if !by.is_empty() {
                forward.extend([&of_gain, by, &of_bias, plus]);
                backward.extend([&of_gain, by]);
                outputs.extend(names.iter().map(String::as_str));
            }
            for has in on_both(&room, &forward, &["y", "sum"]) {
                assert_close("y", &has[0], &rows(&floats(&y)), COUNT);
                assert_close("sum", &has[1], &rows(sum), COUNT);
            }
            let shape = match *name {
                "gate" => vec![SAMPLES, COLS],
                "row_gate" => vec![SAMPLES, TOKENS, COLS],
                _ => vec![COLS],
            };
            for has in on_both(&room, &backward, &outputs) {
                assert_close("dx", &has[0], &rows(&floats(&dx)), COUNT);
                assert_close("dbranch", &has[1], &rows(&floats(&dbranch)), COUNT);
                assert_close("dgate", &has[2], &Tensor::f32(&shape, &floats(&dgate)), COUNT);
                if !by.is_empty() {
                    let shape = if by == "scale" { vec![SAMPLES, COLS] } else { vec![COLS] };
                    assert_close("dgain", &has[3], &Tensor::f32(&shape, &floats(&dgain)), COUNT);
                    assert_close("dbias", &has[4], &Tensor::f32(&shape, &floats(&dbias)), COUNT);
                }
            }
        }
    }
}

#[test]
fn what_is_no_gate_is_refused() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[SAMPLES, TOKENS, COLS], &ramp(COUNT))),
            ("gate", Tensor::f32(&[SAMPLES, COLS], &ramp(SAMPLES * COLS))),
            ("tokens", Tensor::f32(&[TOKENS, COLS], &ramp(TOKENS * COLS))),
            ("rows", Tensor::f32(&[ROWS, COLS], &ramp(COUNT))),
        ],
    );
    let with = |flags: &[&str]| {
        let call = [&["forward", &input, &out, "--x", "x"][..], flags].concat();
        let result = run(layernorm(&call));
        assert_eq!(result.code, Some(2), "{result:?}");
        result.stderr
    };
    for (flags, says) in [
        (&["--gate", "gate"][..], "--residual"),
        (&["--residual", "x", "--gate", "tokens"], "tokens has shape [3, 4], needs [samples, 4], or [6, 4]"),
        (&["--residual", "x", "--gate", "rows", "--scale", "gate"], "6 samples, needs 2, as many as --scale"),
        (
            &["--residual", "x", "--gate", "gate", "--activation", "silu"],
            "--gate does not go with --activation",
        ),
        (
            &["--residual", "x", "--gate", "gate", "--normalization", "channel"],
            "--gate needs --normalization layer, rms or l2",
        ),
    ] {
        let said = with(flags);
        assert!(said.contains(says), "{says}: {said}");
    }
    let backward = ["backward", &input, &out, "--x", "x", "--dy", "x", "--gate", "gate"];
    let result = run(layernorm(&backward));
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stderr.contains("--branch"), "{result:?}");
}
