//! `forward --codes`, on an adapter and by the reference, against y of the same call.

use crate::calls::on_both;
use crate::files::{self, Tensor, ramp};
use crate::{Room, layernorm, run};
use safetensors::tensor::Dtype;

/// The multiple of the unit that a code of `dtype` is, by its definition.
fn multiple(dtype: Dtype, code: u8) -> f64 {
    if dtype == Dtype::I8 {
        return f64::from(code.cast_signed());
    }
    let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7));
    let size = match exponent {
        0 => fraction / 512.0,
        _ => (1.0 + fraction / 8.0) * 2_f64.powi(exponent - 7),
    };
    if code & 0x80 == 0 { size } else { -size }
}

#[test]
fn codes_stand_for_y_and_take_its_place() {
    let room = Room::new();
    let input = room.path("in");
    // Rows of 7 columns, and images whose channels come first.
    for (shape, flags, of_rows) in [
        (vec![2, 3, 7], &["--gain", "g"][..], vec![2, 3]),
        (vec![2, 7, 3], &["--gain", "g", "--normalization", "channel", "--residual", "x"], vec![2, 3]),
    ] {
        files::write(
            &input,
            &[("x", Tensor::f32(&shape, &ramp(42))), ("g", Tensor::f32(&[7], &ramp(9)[2..]))],
        );
        let forward = ["forward", &input, "--x", "x"];
        let of_residual: &[&str] = if flags.contains(&"--residual") { &["sum"] } else { &[] };
        let plain = [&forward[..], flags].concat();
        let [expected, _] = on_both(&room, &plain, &[&["y"], of_residual].concat());
        let y = expected[0].values();
        for (codes, dtype, largest) in [("int8", Dtype::I8, 127.0), ("fp8", Dtype::F8_E4M3, 448.0)] {
            for unit in [None, Some("0.25")] {
                let of_unit = unit.map_or(vec![], |unit| vec!["--unit", unit]);
                let args = [&plain[..], &["--codes", codes], &of_unit[..]].concat();
                let of_rows_names: &[&str] = if unit.is_none() { &["units"] } else { &[] };
                let outputs = [&["codes"], of_rows_names, of_residual].concat();
                for got in on_both(&room, &args, &outputs) {
                    assert_eq!((got[0].dtype, &got[0].shape), (dtype, &shape));
                    if unit.is_none() {
                        assert_eq!((got[1].dtype, &got[1].shape), (Dtype::F32, &of_rows));
                    }
                    for (i, (code, y)) in got[0].bytes().iter().zip(&y).enumerate() {
                        // The row of a value.
                        let row = if shape[1] == 7 { i / 21 * 3 + i % 3 } else { i / 7 };
                        let unit = if unit.is_none() { f64::from(got[1].values()[row]) } else { 0.25 };
                        let multiple = multiple(dtype, *code);
                        let y = (f64::from(*y) / unit).clamp(-largest, largest);
                        let half = if dtype == Dtype::I8 { 0.5 } else { (y.abs() / 15.9).max(1.0 / 1024.0) };
                        assert!((multiple - y).abs() <= 1.01 * half, "{codes}: {multiple} is not {y}");
                    }
                }
            }
        }
    }
}

#[test]
fn codes_that_cannot_be_are_refused() {
    let room = Room::new();
    let (input, out) = (room.path("in"), room.path("out"));
    let statistics = Tensor::f32(&[4], &[0.5; 4]);
    files::write(&input, &[("x", Tensor::f32(&[3, 4], &ramp(12))), ("m", statistics)]);
    for (flags, says) in [
        (&["--codes", "int4"][..], &["--codes", "int4", "int8", "fp8"][..]),
        (&["--unit", "0.5"], &["--codes"]),
        (&["--codes", "int8", "--unit", "0"], &["--unit is 0, needs to be 2^-126 to 2^126"]),
        (&["--codes", "fp8", "--unit", "nan"], &["--unit is NaN"]),
        (&["--codes", "int8", "--heads", "1", "--head-dim", "2"], &["--codes with --heads"]),
        (
            &[
                "--codes",
                "int8",
                "--normalization",
                "batch",
                "--running-mean",
                "m",
                "--running-variance",
                "m",
            ],
            &["--codes with --running-mean"],
        ),
    ] {
        let result = run(layernorm(&[&["forward", &input, &out, "--x", "x"], flags].concat()));
        assert_eq!(result.code, Some(2), "{flags:?}");
        for says in says {
            assert!(result.stderr.contains(says), "{flags:?}: {}", result.stderr);
        }
        assert!(!std::path::Path::new(&out).exists());
    }
}
