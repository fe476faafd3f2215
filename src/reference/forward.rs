//! `y = gain * xhat + bias`

use super::{
    OfColumns, RowStatistics, biases, check_length, check_parameter, check_problem, check_row_gain,
    check_type, gains, map_in_order, rows_per_block,
};
use crate::op::Stored;
use crate::{Element, Error, ForwardInputs, Problem, Real, Rows, RowsMut};

/// What [`forward`] writes. Slices may be longer than what is written to them; the rest stays as it is. Written with
/// `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Debug)]
pub struct ForwardOutputs<'a, R, O> {
    /// The result, `[rows, cols]`.
    pub y: RowsMut<'a, O>,
    /// `x + residual` rounded to R, `[rows, cols]`; only with a residual.
    pub sum: Option<RowsMut<'a, R>>,
    /// mean (0 for RMS norm and L2) and rstd of each row, `[rows]`.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Option<&'a mut [[f64; 2]]>,
}

impl<'a, R, O> ForwardOutputs<'a, R, O> {
    /// y alone.
    #[must_use]
    pub const fn new(y: RowsMut<'a, O>) -> Self {
        Self { y, sum: None, statistics: None }
    }
}

/// Layer norm (Ba, Kiros, Hinton 2016, equation 3), RMS norm (Zhang, Sennrich 2019, equation 4) or L2 of each row.
///
/// ```text
/// sum  = x + residual, rounded to R                    (x alone without a residual)
/// mean = sum_cols(sum) / cols                          (0 for RMS norm and L2)
/// rstd = 1 / sqrt(sum_cols((sum - mean)^2) / cols + eps)
///        1 / max(sqrt(sum_cols(sum^2)), eps)           (L2)
/// y    = gain * (sum - mean) * rstd + bias             (gain 1 and bias 0 where there is none)
///        gain and bias of the column, or of its channel where the problem has channels
///        row_gain * (sum - mean) * rstd                (where rows have gains: Salimans, Kingma 2016, equation 2, for L2)
/// ```
///
/// All in float64; y is rounded once, to `O`. A row with a NaN or an infinity gives a y row of NaN (and NaN for its
/// rstd), in RMS norm too, and touches no other row. A row without variance where eps is 0 (a standard
/// deviation below 2^-126) has rstd 0, and so y = bias.
///
/// # Errors
/// [`Error::Invalid`] for a problem out of its ranges, types other than the problem's or a stride below cols;
/// [`Error::MissingBuffer`] or [`Error::UnusedBuffer`] for gain and bias that do not fit [`Problem::affine`] and for a
/// sum without a residual; [`Error::BufferTooSmall`]. Nothing is written then.
#[doc(alias = "layer_norm", alias = "rms_norm")]
pub fn forward<T: Element, P: Element, O: Real, R: Element>(
    problem: &Problem,
    inputs: &ForwardInputs<'_, T, P, R>,
    outputs: ForwardOutputs<'_, R, O>,
) -> Result<(), Error> {
    check_problem::<T, P>(problem)?;
    if inputs.residual.is_some() {
        check_type("type of residual and sum", R::DTYPE, Stored::AsResidual.dtype(problem))?;
    }
    let (rows, cols, parameters) = (inputs.rows, problem.cols as usize, problem.parameters() as usize);
    problem.check_rows(rows as u64)?;
    check_parameter("gain", inputs.gain, problem.affine.has_gain(), parameters)?;
    check_parameter("bias", inputs.bias, problem.affine.has_bias(), parameters)?;
    check_row_gain(problem, inputs.row_gain, rows)?;
    if outputs.sum.is_some() && inputs.residual.is_none() {
        return Err(Error::UnusedBuffer { buffer: "sum", why: "without a residual the sum is x" });
    }
    let x = inputs.x.checked("x", rows, cols)?;
    let residual = inputs.residual.map(|residual| residual.checked("residual", rows, cols)).transpose()?;
    let y = outputs.y.checked("y", rows, cols)?;
    let sum = outputs.sum.map(|sum| sum.checked("sum", rows, cols)).transpose()?;
    if let Some(statistics) = &outputs.statistics {
        check_length("statistics", statistics.len(), rows)?;
    }

    let block_rows = rows_per_block(rows, 1);
    let mut residual = residual.map(|residual| residual.blocks(block_rows));
    let mut sum = sum.map(|sum| sum.blocks(block_rows));
    let mut statistics = outputs.statistics.map(|statistics| statistics.chunks_mut(block_rows));
    let mut row_gain = inputs.row_gain.map(|row_gain| row_gain.chunks(block_rows));
    let blocks = x.blocks(block_rows).zip(y.blocks(block_rows)).enumerate().map(|(block, (x, y))| Block {
        first_row: block * block_rows,
        x,
        residual: residual.as_mut().and_then(Iterator::next),
        y,
        sum: sum.as_mut().and_then(Iterator::next),
        statistics: statistics.as_mut().and_then(Iterator::next),
        row_gain: row_gain.as_mut().and_then(Iterator::next),
    });
    let gain = gains(problem, inputs.gain);
    let bias = biases(problem, inputs.bias);
    map_in_order(blocks.collect(), |block| forward_block(problem, &gain, &bias, block));
    Ok(())
}

/// Consecutive rows of every tensor.
struct Block<'a, T, O, R> {
    first_row: usize,
    x: Rows<'a, T>,
    residual: Option<Rows<'a, R>>,
    y: RowsMut<'a, O>,
    sum: Option<RowsMut<'a, R>>,
    statistics: Option<&'a mut [[f64; 2]]>,
    row_gain: Option<&'a [f32]>,
}

fn forward_block<T: Element, O: Real, R: Element>(
    problem: &Problem,
    gain: &OfColumns,
    bias: &OfColumns,
    block: Block<'_, T, O, R>,
) {
    let cols = problem.cols as usize;
    let mut residual = block.residual.map(|residual| residual.each(cols));
    let mut sum = block.sum.map(|sum| sum.each(cols));
    let mut statistics = block.statistics.map(|statistics| statistics.iter_mut());
    let mut row_gain = block.row_gain.map(|row_gain| row_gain.iter());
    let mut values = vec![0.0; cols];
    for (i, (x, y)) in block.x.each(cols).zip(block.y.each(cols)).enumerate() {
        match residual.as_mut().and_then(Iterator::next) {
            Some(residual) => {
                for ((value, x), residual) in values.iter_mut().zip(x).zip(residual) {
                    *value = R::from_f64(x.to_f64() + residual.to_f64()).to_f64();
                }
            }
            None => {
                for (value, x) in values.iter_mut().zip(x) {
                    *value = x.to_f64();
                }
            }
        }
        if let Some(sum) = sum.as_mut().and_then(Iterator::next) {
            for (sum, value) in sum.iter_mut().zip(&values) {
                *sum = R::from_f64(*value);
            }
        }
        let row = RowStatistics::new(problem, &values);
        let of_row = row_gain.as_mut().and_then(Iterator::next).map_or(1.0, |gain| f64::from(*gain));
        let (gain, bias) = (gain.of_row(block.first_row + i), bias.of_row(block.first_row + i));
        for (((y, value), gain), bias) in y.iter_mut().zip(&values).zip(&*gain).zip(&*bias) {
            *y = O::from_f64(of_row * (gain * row.xhat(*value) + bias));
        }
        if let Some(statistics) = statistics.as_mut().and_then(Iterator::next) {
            *statistics = [row.mean(), row.rstd];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dtype, Normalization};
    use half::f16;

    /// y and statistics of rows without gaps, with the gain and bias that the problem's affine has.
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
        };
        forward(&problem, &inputs, outputs).unwrap();
        assert_eq!(sum, [2049.0, 2047.0]);
        let wrong = ForwardInputs::<_, f32, _>::with_residual(1, rows, rows);
        let outputs = ForwardOutputs { y: RowsMut { data: &mut y, stride: 2 }, sum: None, statistics: None };
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
            (|call| call.gain = None, "buffer gain is missing: the problem's affine has one"),
            (|call| call.bias = None, "buffer bias is missing: the problem's affine has one"),
            (
                |call| call.problem.affine = Affine::None,
                "buffer gain was given but is not used: the problem's affine has none",
            ),
            (
                |call| call.problem.affine = Affine::Gain,
                "buffer bias was given but is not used: the problem's affine has none",
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
        let outputs =
            ForwardOutputs { y: RowsMut { data: &mut [0_f32], stride: 1 }, sum: None, statistics: None };
        let message = forward(&problem, &inputs, outputs).unwrap_err().to_string();
        assert_eq!(message, "type of gain and bias is f16, needs to be f32");
    }
}
