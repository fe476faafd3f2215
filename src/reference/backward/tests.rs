//! Gradients worked out by hand, where they are NaN, and what wrong calls say.

use super::*;
use crate::{Affine, Dtype, Normalization};
use half::f16;

/// dx, dgain and dbias, added to what they hold or not, for rows without gaps.
fn run(
    problem: &Problem,
    (x, dy): (&[f32], &[f32]),
    gain: &[f32],
    gradient: Gradient,
    [dx, dgain, dbias]: [&mut [f64]; 3],
) {
    let stride = problem.cols as usize;
    let inputs = BackwardInputs {
        gain: problem.affine.has_gain().then_some(gain),
        ..BackwardInputs::new(x.len() / stride, Rows { data: x, stride }, Rows { data: dy, stride })
    };
    let outputs = BackwardOutputs {
        dgate_input: None,
        dx: Some(RowsMut { data: dx, stride }),
        dgain: problem.affine.has_gain().then_some(dgain),
        dbias: problem.affine.has_bias().then_some(dbias),
        drow_gain: None,
        dx_gradient: gradient,
        parameter_gradient: gradient,
        ..BackwardOutputs::default()
    };
    backward(problem, &inputs, outputs).unwrap();
}

#[test]
fn small_numbers_come_out_as_by_hand() {
    // rstd is 1/2 as in forward's test. Layer: xhat = [-1/2, 1/2], dxhat = [2, 4], both rows alike;
    // mean(dxhat) = 3, mean(dxhat * xhat) = 1/2, so dx = [2 - 3 + 1/4, 4 - 3 - 1/4] / 2. RMS: xhat = [1/2,
    // 1/2], mean(dxhat * xhat) = 3/2, dx = [2 - 3/4, 4 - 3/4] / 2. L2 of [3, 0], of norm 3 = eps: dx is
    // linear, [2, 4] / 3; of norm 4: xhat = [1, 0], sum(dxhat * xhat) = 2, dx = [0, 4 / 4].
    let problem = Problem { cols: 2, eps: 3.0, ..Problem::default() };
    for (normalization, x, dx_expected, dgain_expected) in [
        (Normalization::Layer, [1.0, 3.0, 1.0, 3.0], [-0.375, 0.375], [-1.0, 1.0]),
        (Normalization::Rms, [1.0, 1.0, 1.0, 1.0], [0.625, 1.625], [1.0, 1.0]),
        (Normalization::L2, [3.0, 0.0, 3.0, 0.0], [2.0 / 3.0, 4.0 / 3.0], [2.0, 0.0]),
        (Normalization::L2, [4.0, 0.0, 4.0, 0.0], [0.0, 1.0], [2.0, 0.0]),
    ] {
        for (gradient, before) in [(Gradient::Overwrite, 0.0), (Gradient::Accumulate, 100.0)] {
            let problem = Problem { normalization, ..problem };
            let (mut dx, mut dgain, mut dbias) = ([100.0; 4], [100.0; 2], [100.0; 2]);
            let outputs: [&mut [f64]; 3] = [&mut dx, &mut dgain, &mut dbias];
            run(&problem, (&x, &[1.0; 4]), &[2.0, 4.0], gradient, outputs);
            let [a, b] = dx_expected.map(|value| value + before);
            assert_eq!(dx, [a, b, a, b], "{normalization:?} {gradient:?}");
            assert_eq!(dgain, dgain_expected.map(|value| value + before), "{normalization:?} {gradient:?}");
            assert_eq!(dbias, [2.0 + before; 2], "{normalization:?} {gradient:?}");
        }
    }
}

#[test]
fn a_zero_centered_gain_is_one_less() {
    let x = [1.0_f32, 5.0, -2.0, 0.5];
    let dy = [0.5_f32, -1.0, 2.0, 1.0];
    let gradients = |affine, gain: &[f32]| {
        let problem = Problem { cols: 4, affine, ..Problem::default() };
        let (mut dx, mut dgain) = ([0.0_f64; 4], [0.0_f64; 4]);
        let rows = |data| Rows { data, stride: 4 };
        let inputs = BackwardInputs { gain: Some(gain), ..BackwardInputs::new(1, rows(&x), rows(&dy)) };
        let outputs = BackwardOutputs {
            dgate_input: None,
            dx: Some(RowsMut { data: &mut dx, stride: 4 }),
            dgain: Some(&mut dgain[..]),
            dbias: None,
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            ..BackwardOutputs::default()
        };
        backward(&problem, &inputs, outputs).unwrap();
        (dx, dgain)
    };
    let gain = [2.0, -0.5, 1.0, 4.0];
    let one_less = gain.map(|gain| gain - 1.0);
    assert_eq!(gradients(Affine::ZeroCenteredGain, &one_less), gradients(Affine::Gain, &gain));
}

#[test]
fn accumulating_rounds_once() {
    // In f16, 2048 + 1 is 2048: adding the two ones of dbias one by one would lose both.
    let problem = Problem {
        cols: 1,
        dtype: Dtype::F16,
        parameter_dtype: Dtype::F16,
        affine: Affine::GainBias,
        ..Problem::default()
    };
    let ones = [f16::ONE; 2];
    let mut dbias = [f16::from_f32(2048.0)];
    let inputs = BackwardInputs {
        gain: Some(&ones[..1]),
        ..BackwardInputs::new(2, Rows { data: &ones, stride: 1 }, Rows { data: &ones, stride: 1 })
    };
    let outputs = BackwardOutputs::<f32, _> {
        dgate_input: None,
        dx: None,
        dgain: None,
        dbias: Some(&mut dbias),
        drow_gain: None,
        dx_gradient: Gradient::Overwrite,
        parameter_gradient: Gradient::Accumulate,
        ..BackwardOutputs::default()
    };
    backward(&problem, &inputs, outputs).unwrap();
    assert_eq!(dbias[0].to_f32(), 2050.0);
}

#[test]
fn nan_and_infinity_make_their_row_nan_and_no_other() {
    const ROWS: usize = 200;
    for normalization in Normalization::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for in_x in [true, false] {
                let (cols, bad_row, bad_col) = (9, 100, 8);
                let case = format!("{normalization:?} {bad} in {}", if in_x { "x" } else { "dy" });
                // With the large one, L2 has rows whose norm is below eps.
                let eps = if bad == f32::INFINITY { 1e6 } else { 1e-5 };
                let problem = Problem { cols, normalization, eps, ..Problem::default() };
                let cols = cols as usize;
                let mut x: Vec<f32> = (0..1800_u16).map(|i| f32::from(i % 17)).collect();
                let mut dy: Vec<f32> = (0..1800_u16).map(|i| f32::from(i % 13)).collect();
                (if in_x { &mut x } else { &mut dy })[bad_row * cols + bad_col] = bad;
                let (mut dx, mut dgain, mut dbias) = ([0.0; ROWS * 9], [0.0; 9], [0.0; 9]);
                let outputs: [&mut [f64]; 3] = [&mut dx, &mut dgain, &mut dbias];
                run(&problem, (&x, &dy), &[1.0; 9], Gradient::Overwrite, outputs);
                for (row, dx) in dx.chunks(cols).enumerate() {
                    assert!(dx.iter().all(|dx| dx.is_nan() == (row == bad_row)), "{case}, row {row}: {dx:?}");
                }
                for col in 0..cols {
                    let hit = col == bad_col && !in_x;
                    assert_eq!(dbias[col].is_finite(), !hit, "{case}: dbias {col}");
                    assert_eq!(dgain[col].is_finite(), !(hit || in_x), "{case}: dgain {col}");
                    assert!(!in_x || dgain[col].is_nan(), "{case}: dgain {col}");
                }
            }
        }
    }
}

#[test]
fn one_column_has_no_gradient_but_the_bias() {
    let problem = Problem { cols: 1, eps: 1e-12, ..Problem::default() };
    let (mut dx, mut dgain, mut dbias) = ([7.0; 3], [7.0], [7.0]);
    let outputs: [&mut [f64]; 3] = [&mut dx, &mut dgain, &mut dbias];
    run(&problem, (&[3.7, -1e30, 0.0], &[1.0, 2.0, 4.0]), &[2.0], Gradient::Overwrite, outputs);
    assert_eq!((dx, dgain, dbias), ([0.0; 3], [0.0], [7.0]));
}

#[test]
fn no_rows_give_zero_or_leave_what_is_there() {
    let problem = Problem { cols: 3, ..Problem::default() };
    for (gradient, after) in [(Gradient::Overwrite, 0.0), (Gradient::Accumulate, 7.0)] {
        let (mut dx, mut dgain, mut dbias) = ([7.0; 2], [7.0; 4], [7.0; 4]);
        let outputs: [&mut [f64]; 3] = [&mut dx, &mut dgain, &mut dbias];
        run(&problem, (&[], &[]), &[1.0; 3], gradient, outputs);
        assert_eq!(dx, [7.0; 2], "{gradient:?}");
        assert_eq!(dgain, [after, after, after, 7.0], "{gradient:?}");
        assert_eq!(dbias, [after, after, after, 7.0], "{gradient:?}");
    }
}

#[test]
fn each_gradient_can_be_left_out() {
    let problem = Problem { cols: 2, ..Problem::default() };
    let (x, dy) = ([1_f32, 4.0, 2.0, 8.0], [1_f32, 2.0, -3.0, 6.0]);
    let inputs = BackwardInputs {
        gain: Some(&[2_f32, 3.0]),
        ..BackwardInputs::new(2, Rows { data: &x, stride: 2 }, Rows { data: &dy, stride: 2 })
    };
    let results = |wants: [bool; 3]| {
        let (mut dx, mut dgain, mut dbias) = ([7.0; 4], [7.0; 2], [7.0; 2]);
        let outputs = BackwardOutputs {
            dgate_input: None,
            dx: wants[0].then_some(RowsMut { data: &mut dx, stride: 2 }),
            dgain: wants[1].then_some(&mut dgain[..]),
            dbias: wants[2].then_some(&mut dbias[..]),
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            ..BackwardOutputs::default()
        };
        backward(&problem, &inputs, outputs).unwrap();
        [dx.to_vec(), dgain.to_vec(), dbias.to_vec()]
    };
    let all = results([true; 3]);
    assert!(all.iter().flatten().all(|value| *value != 7.0));
    for wants in (0..8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]) {
        for ((wanted, result), expected) in wants.into_iter().zip(results(wants)).zip(&all) {
            let untouched = vec![7.0; expected.len()];
            assert_eq!(&result, if wanted { expected } else { &untouched }, "{wants:?}");
        }
    }
}

/// A call by the lengths (and strides) of its slices.
struct Call {
    problem: Problem,
    rows: usize,
    x: (usize, usize),
    dy: (usize, usize),
    gain: Option<usize>,
    dx: Option<(usize, usize)>,
    dgain: Option<usize>,
    dbias: Option<usize>,
}

impl Call {
    /// The least that 3 rows of 4 columns, 6 apart, need.
    fn good() -> Self {
        let rows = (16, 6);
        Self {
            problem: Problem { cols: 4, ..Problem::default() },
            rows: 3,
            x: rows,
            dy: rows,
            gain: Some(4),
            dx: Some(rows),
            dgain: Some(4),
            dbias: Some(4),
        }
    }

    /// The error's words, or none; and whether anything was written.
    fn run(&self) -> (String, bool) {
        let values = vec![1_f32; 100];
        let rows = |(length, stride)| Rows { data: &values[..length], stride };
        let inputs = BackwardInputs {
            gain: self.gain.map(|length| &values[..length]),
            ..BackwardInputs::new(self.rows, rows(self.x), rows(self.dy))
        };
        let (mut dx, mut dgain, mut dbias) = (vec![7_f32; 100], vec![7_f32; 100], vec![7_f32; 100]);
        let outputs = BackwardOutputs {
            dgate_input: None,
            dx: self.dx.map(|(length, stride)| RowsMut { data: &mut dx[..length], stride }),
            dgain: self.dgain.map(|length| &mut dgain[..length]),
            dbias: self.dbias.map(|length| &mut dbias[..length]),
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            ..BackwardOutputs::default()
        };
        let result = backward(&self.problem, &inputs, outputs);
        let written = dx.iter().chain(&dgain).chain(&dbias).any(|value| *value != 7.0);
        (result.map_or_else(|error| error.to_string(), |()| String::new()), written)
    }
}

/// What makes a good call wrong, and what the error then says.
type Wrong = (fn(&mut Call), &'static str);

#[test]
fn wrong_calls_say_what_is_wrong_and_write_nothing() {
    assert_eq!(Call::good().run(), (String::new(), true));
    let table: [Wrong; 17] = [
        (|call| call.problem.cols = 0, "cols is 0, needs to be 1 to 16777216"),
        (|call| call.problem.eps = f32::NAN, "eps is NaN, needs to be a finite number of at least 0"),
        (|call| call.problem.dtype = Dtype::F16, "type of x is f32, needs to be f16"),
        (|call| call.gain = None, "buffer gain is missing: `affine` has a gain"),
        (
            |call| call.problem.affine = Affine::None,
            "buffer gain was given but is not used: `affine` has no gain",
        ),
        (
            |call| (call.problem.affine, call.gain) = (Affine::None, None),
            "buffer dgain was given but is not used: `affine` has no gain",
        ),
        (
            |call| call.problem.affine = Affine::Gain,
            "buffer dbias was given but is not used: `affine` has no bias",
        ),
        (|call| call.gain = Some(3), "buffer gain has 3 elements, needs 4"),
        (|call| call.dgain = Some(3), "buffer dgain has 3 elements, needs 4"),
        (|call| call.dbias = Some(3), "buffer dbias has 3 elements, needs 4"),
        (|call| call.x.0 = 15, "buffer x has 15 elements, needs 16"),
        (|call| call.dy.0 = 0, "buffer dy has 0 elements, needs 16"),
        (|call| call.dx = Some((15, 6)), "buffer dx has 15 elements, needs 16"),
        (|call| call.x.1 = 3, "x.stride is 3, needs to be at least cols, 4"),
        (|call| call.dy.1 = 3, "dy.stride is 3, needs to be at least cols, 4"),
        (|call| call.dx = Some((16, 3)), "dx.stride is 3, needs to be at least cols, 4"),
        (|call| call.rows = usize::MAX, "buffer x has 16 elements, needs 18446744073709551615"),
    ];
    for (break_it, message) in table {
        let mut call = Call::good();
        break_it(&mut call);
        assert_eq!(call.run(), (message.to_owned(), false));
    }
}
