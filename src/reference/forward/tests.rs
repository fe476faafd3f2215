//! Rows worked out by hand, where they are NaN, and what wrong calls say.

use super::*;
use crate::{Affine, Dtype, Normalization};
use half::f16;

/// y and statistics of rows without gaps, with the gain and bias that `affine` has.
fn run(problem: &Problem, x: &[f32], gain: &[f32], bias: &[f32]) -> (Vec<f64>, Vec<[f64; 2]>) {
    let stride = problem.cols as usize;
    let rows = x.len() / stride;
    let inputs = ForwardInputs {
        gain: problem.affine.has_gain().then_some(gain),
        bias: problem.affine.has_bias().then_some(bias),
        ..ForwardInputs::new(rows, Rows { data: x, stride })
    };
    let (mut y, mut statistics) = (vec![0.0; x.len()], vec![[0.0; 2]; rows]);
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut y, stride },
        sum: None,
        statistics: Some(&mut statistics),
        running: None,
    };
    forward(problem, &inputs, outputs).unwrap();
    (y, statistics)
}

#[test]
fn small_numbers_come_out_as_by_hand() {
    // Variance (mean square) 1, so rstd is 1 / sqrt(1 + 3).
    let problem = Problem { cols: 2, eps: 3.0, ..Problem::default() };
    for (normalization, affine, x, statistics, y) in [
        (Normalization::Layer, Affine::None, [1.0, 3.0], [2.0, 0.5], [-0.5, 0.5]),
        (Normalization::Layer, Affine::Gain, [1.0, 3.0], [2.0, 0.5], [-1.0, 2.0]),
        (Normalization::Layer, Affine::GainBias, [1.0, 3.0], [2.0, 0.5], [9.0, 22.0]),
        (Normalization::Layer, Affine::ZeroCenteredGain, [1.0, 3.0], [2.0, 0.5], [-1.5, 2.5]),
        (Normalization::Layer, Affine::ZeroCenteredGainBias, [1.0, 3.0], [2.0, 0.5], [8.5, 22.5]),
        (Normalization::Rms, Affine::None, [-1.0, 1.0], [0.0, 0.5], [-0.5, 0.5]),
        (Normalization::Rms, Affine::None, [1.0, 1.0], [0.0, 0.5], [0.5, 0.5]),
        (Normalization::Rms, Affine::GainBias, [1.0, 1.0], [0.0, 0.5], [11.0, 22.0]),
    ] {
        let problem = Problem { normalization, affine, ..problem };
        let result = run(&problem, &x, &[2.0, 4.0], &[10.0, 20.0]);
        assert_eq!(result, (y.to_vec(), vec![statistics]), "{normalization:?} {affine:?} {x:?}");
    }
}

#[test]
fn l2_divides_by_the_norm() {
    for (x, eps, y, rstd) in [
        ([3.0, -4.0], 0.0, [0.6, -0.8], Some(0.2)),
        // eps is the least norm, and not added.
        ([3.0, -4.0], 5.0, [0.6, -0.8], Some(0.2)),
        ([3.0, -4.0], 10.0, [0.3, -0.4], Some(0.1)),
        ([0.0, 0.0], 0.0, [0.0, 0.0], Some(0.0)),
        ([0.0, 0.0], 0.5, [0.0, 0.0], Some(2.0)),
        ([1e-30, -1e-30], 0.0, [0.5_f64.sqrt(), -0.5_f64.sqrt()], None),
    ] {
        let normalization = Normalization::L2;
        let problem = Problem { cols: 2, normalization, affine: Affine::None, eps, ..Problem::default() };
        let (got, statistics) = run(&problem, &x, &[], &[]);
        let close = got.iter().zip(y).all(|(got, y)| (got - y).abs() <= 1e-15);
        assert!(close, "{x:?}, eps {eps}: {got:?}");
        assert_eq!(statistics[0][0], 0.0);
        assert!(rstd.is_none_or(|rstd| statistics[0][1] == rstd), "{x:?}, eps {eps}: {statistics:?}");
    }
}

#[test]
fn the_sum_has_the_type_of_the_residual() {
    let problem = Problem {
        cols: 2,
        dtype: Dtype::F16,
        parameter_dtype: Dtype::F32,
        residual_dtype: Some(Dtype::F32),
        affine: Affine::None,
        ..Problem::default()
    };
    let x = [2048.0, 0.0].map(f16::from_f32);
    // 2049 has no place in f16.
    let residual = [1.0_f32, 2047.0];
    let (mut y, mut sum) = ([0.0_f64; 2], [0.0_f32; 2]);
    let rows = Rows { data: &x, stride: 2 };
    let inputs = ForwardInputs::<_, f32, _>::with_residual(1, rows, Rows { data: &residual, stride: 2 });
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut y, stride: 2 },
        sum: Some(RowsMut { data: &mut sum, stride: 2 }),
        statistics: None,
        running: None,
    };
    forward(&problem, &inputs, outputs).unwrap();
    assert_eq!(sum, [2049.0, 2047.0]);
    let wrong = ForwardInputs::<_, f32, _>::with_residual(1, rows, rows);
    let outputs =
        ForwardOutputs { y: RowsMut { data: &mut y, stride: 2 }, sum: None, statistics: None, running: None };
    let error = forward(&problem, &wrong, outputs).unwrap_err().to_string();
    assert_eq!(error, "type of residual and sum is f16, needs to be f32");
}

#[test]
fn the_sum_is_rounded_before_it_is_normalized() {
    let problem = Problem { cols: 2, dtype: Dtype::F16, affine: Affine::None, ..Problem::default() };
    let x = [2048.0, 0.0].map(f16::from_f32);
    // 2049 lies between two f16 values; the even one is 2048.
    let residual = [1.0, 2048.0].map(f16::from_f32);
    for wants_sum in [true, false] {
        let (mut y, mut sum, mut statistics) = ([1.0; 2], [f16::ZERO; 2], [[0.0; 2]]);
        let inputs = ForwardInputs::<_, f32> {
            residual: Some(Rows { data: &residual, stride: 2 }),
            ..ForwardInputs::new(1, Rows { data: &x, stride: 2 })
        };
        let outputs = ForwardOutputs {
            y: RowsMut { data: &mut y, stride: 2 },
            sum: wants_sum.then_some(RowsMut { data: &mut sum, stride: 2 }),
            statistics: Some(&mut statistics),
            running: None,
        };
        forward(&problem, &inputs, outputs).unwrap();
        assert_eq!(y, [0.0; 2], "two equal values");
        assert_eq!(statistics[0][0], 2048.0);
        assert_eq!(sum.map(f16::to_f32), if wants_sum { [2048.0; 2] } else { [0.0; 2] });
    }
}

#[test]
fn nan_and_infinity_make_their_row_nan_and_no_other() {
    for normalization in Normalization::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // 9 columns: a whole vector of partial sums and one more; 200 rows: several rows in a block.
            for (cols, bad_col) in [(9, 0), (9, 8), (1, 0)] {
                let problem = Problem { cols, normalization, ..Problem::default() };
                let cols = cols as usize;
                let mut x: Vec<f32> =
                    [0.0, 3.0, 1.0, 4.0, 2.0].into_iter().cycle().take(200 * cols).collect();
                x[100 * cols + bad_col] = bad;
                let (y, statistics) = run(&problem, &x, &vec![1.0; cols], &vec![0.0; cols]);
                for (row, (y, [mean, rstd])) in y.chunks(cols).zip(statistics).enumerate() {
                    let case = format!("{normalization:?} {bad} at {bad_col} of {cols}, row {row}");
                    assert!(y.iter().all(|y| y.is_nan() == (row == 100)), "{case}: {y:?}");
                    assert_eq!(rstd.is_nan(), row == 100, "{case}");
                    assert!(normalization == Normalization::Layer || mean == 0.0, "{case}");
                }
            }
        }
    }
}

#[test]
fn squares_beyond_float32_are_finite() {
    for normalization in [Normalization::Layer, Normalization::Rms] {
        let problem = Problem { cols: 2, normalization, affine: Affine::None, ..Problem::default() };
        let (y, _) = run(&problem, &[f32::MAX, -f32::MAX], &[], &[]);
        assert_eq!(y, [1.0, -1.0], "{normalization:?}");
    }
}

#[test]
fn one_column_gives_the_bias() {
    let problem = Problem { cols: 1, eps: 1e-12, ..Problem::default() };
    let (y, statistics) = run(&problem, &[3.7, -1e30, 0.0], &[2.0], &[0.625]);
    assert_eq!(y, [0.625; 3]);
    assert_eq!(statistics[0][0], f64::from(3.7_f32));
}

#[test]
fn no_rows_are_valid_and_write_nothing() {
    let problem = Problem { cols: 3, ..Problem::default() };
    let inputs = ForwardInputs {
        gain: Some(&[1_f32; 3]),
        bias: Some(&[1_f32; 3]),
        ..ForwardInputs::new(0, Rows { data: &[0_f32; 0], stride: 3 })
    };
    let (mut y, mut statistics) = ([7.0; 4], [[7.0; 2]]);
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut y, stride: 3 },
        sum: None,
        statistics: Some(&mut statistics),
        running: None,
    };
    forward(&problem, &inputs, outputs).unwrap();
    assert_eq!((y, statistics), ([7.0; 4], [[7.0; 2]]));
}

/// A call by the lengths (and strides) of its slices.
struct Call {
    problem: Problem,
    rows: usize,
    x: (usize, usize),
    residual: Option<(usize, usize)>,
    gain: Option<usize>,
    bias: Option<usize>,
    y: (usize, usize),
    sum: Option<(usize, usize)>,
    statistics: Option<usize>,
}

impl Call {
    /// The least that 3 rows of 4 columns, 6 apart, need.
    fn good() -> Self {
        let rows = (16, 6);
        Self {
            problem: Problem { cols: 4, ..Problem::default() },
            rows: 3,
            x: rows,
            residual: Some(rows),
            gain: Some(4),
            bias: Some(4),
            y: rows,
            sum: Some(rows),
            statistics: Some(3),
        }
    }

    /// The error's words, or none; and whether anything was written.
    fn run(&self) -> (String, bool) {
        let values = vec![1_f32; 100];
        let rows = |(length, stride)| Rows { data: &values[..length], stride };
        let inputs = ForwardInputs {
            residual: self.residual.map(rows),
            gain: self.gain.map(|length| &values[..length]),
            bias: self.bias.map(|length| &values[..length]),
            ..ForwardInputs::new(self.rows, rows(self.x))
        };
        let (mut y, mut sum, mut statistics) = (vec![7_f32; 100], vec![7_f32; 100], vec![[7.0; 2]; 100]);
        let outputs = ForwardOutputs {
            y: RowsMut { data: &mut y[..self.y.0], stride: self.y.1 },
            sum: self.sum.map(|(length, stride)| RowsMut { data: &mut sum[..length], stride }),
            statistics: self.statistics.map(|length| &mut statistics[..length]),
            running: None,
        };
        let result = forward(&self.problem, &inputs, outputs);
        let written = y.iter().chain(&sum).any(|value| *value != 7.0)
            || statistics.iter().flatten().any(|value| *value != 7.0);
        (result.map_or_else(|error| error.to_string(), |()| String::new()), written)
    }
}

/// What makes a good call wrong, and what the error then says.
type Wrong = (fn(&mut Call), &'static str);

#[test]
fn wrong_calls_say_what_is_wrong_and_write_nothing() {
    assert_eq!(Call::good().run(), (String::new(), true));
    let table: [Wrong; 21] = [
        (|call| call.problem.cols = 0, "cols is 0, needs to be 1 to 16777216"),
        (|call| call.problem.eps = -1.0, "eps is -1, needs to be a finite number of at least 0"),
        (|call| call.problem.dtype = Dtype::F16, "type of x is f32, needs to be f16"),
        (
            |call| (call.problem.dtype, call.problem.parameter_dtype) = (Dtype::Bf16, Dtype::Bf16),
            "type of x is f32, needs to be bf16",
        ),
        (|call| call.gain = None, "buffer gain is missing: `affine` has a gain"),
        (
            |call| call.bias = None,
            "buffer bias is missing: `affine` has a bias; many norms have a gain alone, `Affine::Gain`",
        ),
        (
            |call| call.problem.affine = Affine::None,
            "buffer gain was given but is not used: `affine` has no gain",
        ),
        (
            |call| call.problem.affine = Affine::Gain,
            "buffer bias was given but is not used: `affine` has no bias",
        ),
        (
            |call| call.residual = None,
            "buffer sum was given but is not used: without a residual the sum is x",
        ),
        (|call| call.gain = Some(3), "buffer gain has 3 elements, needs 4"),
        (|call| call.bias = Some(0), "buffer bias has 0 elements, needs 4"),
        (|call| call.x.0 = 15, "buffer x has 15 elements, needs 16"),
        (|call| call.residual = Some((15, 6)), "buffer residual has 15 elements, needs 16"),
        (|call| call.y.0 = 15, "buffer y has 15 elements, needs 16"),
        (|call| call.sum = Some((15, 6)), "buffer sum has 15 elements, needs 16"),
        (|call| call.statistics = Some(2), "buffer statistics has 2 elements, needs 3"),
        (|call| call.x.1 = 3, "x.stride is 3, needs to be at least cols, 4"),
        (|call| call.residual = Some((16, 0)), "residual.stride is 0, needs to be at least cols, 4"),
        (|call| call.y.1 = 3, "y.stride is 3, needs to be at least cols, 4"),
        (|call| call.sum = Some((16, 3)), "sum.stride is 3, needs to be at least cols, 4"),
        (|call| call.rows = usize::MAX, "buffer x has 16 elements, needs 18446744073709551615"),
    ];
    for (break_it, message) in table {
        let mut call = Call::good();
        break_it(&mut call);
        assert_eq!(call.run(), (message.to_owned(), false));
    }
}

#[test]
fn a_stride_beyond_the_slice_is_fine_for_one_row() {
    let stride = usize::MAX;
    let call = Call {
        rows: 1,
        x: (4, stride),
        residual: Some((4, stride)),
        y: (4, stride),
        sum: Some((4, stride)),
        ..Call::good()
    };
    assert_eq!(call.run(), (String::new(), true));
}

#[test]
fn the_parameters_type_is_checked_even_where_there_are_none() {
    let problem = Problem { cols: 1, affine: Affine::None, ..Problem::default() };
    let inputs = ForwardInputs::<f32, f16>::new(1, Rows { data: &[1.0], stride: 1 });
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut [0_f32], stride: 1 },
        sum: None,
        statistics: None,
        running: None,
    };
    let message = forward(&problem, &inputs, outputs).unwrap_err().to_string();
    assert_eq!(message, "type of gain and bias is f16, needs to be f32");
}
