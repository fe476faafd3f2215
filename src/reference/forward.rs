//! `y = gain * xhat + bias`, and an activation of it.

use super::activation::gate;
use super::{
    GivenStatistics, OfColumns, RowStatistics, biases, check_given, check_length, check_problem, check_type,
    gains, gates, map_in_order, rows_per_block,
};
use crate::op::{Stored, check_gated};
use crate::types::check_statistics;
use crate::{Element, Error, ForwardInputs, GateOrder, Problem, Real, Rows, RowsMut, Running};

/// What [`forward`] writes. Slices may be longer than what is written to them; the rest stays as it is.
/// Written with `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Debug)]
pub struct ForwardOutputs<'a, R, O> {
    /// The result, `[rows, cols]`.
    pub y: RowsMut<'a, O>,
    /// `x + residual`, or `gate * x + residual`, rounded to R, `[rows, cols]`; only with a residual.
    pub sum: Option<RowsMut<'a, R>>,
    /// mean (0 for RMS norm and L2) and rstd of each row, `[rows]`.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Option<&'a mut [[f64; 2]]>,
    /// Running mean and variance, `[rows]` each, after the call; only with those before it.
    pub running: Option<[&'a mut [f64]; 2]>,
}

impl<'a, R, O> ForwardOutputs<'a, R, O> {
    /// y alone.
    #[must_use]
    pub const fn new(y: RowsMut<'a, O>) -> Self {
        Self { y, sum: None, statistics: None, running: None }
    }
}

/// Layer norm (Ba, Kiros, Hinton 2016, equation 3), RMS norm (Zhang, Sennrich 2019, equation 4) or L2 of each
/// row.
///
/// ```text
/// sum  = x + residual, rounded to R                    (x alone without a residual)
///        gate * x + residual                           (where x has a gate, that of the column, or of its sample's too)
/// mean = sum_cols(sum) / cols                          (0 for RMS norm and L2)
/// rstd = 1 / sqrt(sum_cols((sum - mean)^2) / cols + eps)
///        1 / max(sqrt(sum_cols(sum^2)), eps)           (L2)
/// y    = gain * (sum - mean) * rstd + bias             (gain 1 and bias 0 where there is none)
///        gain and bias of the column, or of its channel where the problem has channels
///        z * sigmoid(z), z being that                 (where the problem has `Activation::Silu`; 0 where z is -infinity)
///        row_gain * (sum - mean) * rstd                (where rows have gains: Salimans, Kingma 2016, equation 2, for L2)
/// mean and variance in place of the row's own, rstd = 1 / sqrt(variance + eps), where they are given
/// running statistics as [`Running`] has them          (Ioffe, Szegedy 2015, algorithm 2)
/// ```
///
/// All in float64; y is rounded once, to `O`. A row with a NaN or an infinity gives a y row of NaN (and NaN
/// for its rstd), in RMS norm too, and touches no other row; where mean and variance are given, no other
/// element. A row without variance where eps is 0 (a
/// standard deviation below 2^-126) has rstd 0, and so y = bias.
///
/// # Errors
/// [`Error::Invalid`] for a problem out of its ranges, types other than the problem's or a stride below cols;
/// [`Error::MissingBuffer`] or [`Error::UnusedBuffer`] for gain and bias that do not fit [`Problem::affine`],
/// for a sum or a gate without a residual, and for mean, variance and running statistics that do not go
/// together, with the normalization or with a residual; [`Error::Invalid`] too for a momentum that is not 0
/// to 1, and for running statistics of one column; [`Error::BufferTooSmall`]. Nothing is written then.
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
    problem.affine.check_gain(inputs.gain.is_some())?;
    problem.affine.check_bias(inputs.bias.is_some())?;
    inputs.row_gain.map_or(Ok(()), |_| problem.check_uses_row_gain("row_gain"))?;
    if inputs.gate_input.is_some() {
        check_gated(problem)?;
        let given = [("residual", inputs.residual.is_some()), ("row_gain", inputs.row_gain.is_some())];
        if let Some((buffer, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(Error::UnusedBuffer { buffer, why: "gated RMS norm has none" });
        }
    }
    if inputs.gate.is_some() {
        problem.check_gate_of_forward(inputs.residual.is_some(), inputs.row_gain.is_some())?;
        check_given("gate", inputs.gate, problem.gates() as usize)?;
    }
    check_given("gain", inputs.gain, parameters)?;
    check_given("bias", inputs.bias, parameters)?;
    check_given("row_gain", inputs.row_gain, rows)?;
    let has_given = [inputs.mean, inputs.variance].map(|given| given.is_some());
    check_statistics(problem, has_given, inputs.running.as_ref(), inputs.residual.is_some())?;
    let given = GivenStatistics::new(rows, inputs.mean, inputs.variance)?;
    match (&inputs.running, &outputs.running) {
        (Some(running), kept) => {
            check_length("running.mean", running.mean.len(), rows)?;
            check_length("running.variance", running.variance.len(), rows)?;
            for kept in kept.iter().flatten() {
                check_length("the running statistics after the call", kept.len(), rows)?;
            }
        }
        (None, Some(_)) => {
            let why = "those before the call are what they are made from";
            return Err(Error::MissingBuffer { buffer: "running.mean", why });
        }
        (None, None) => {}
    }
    if outputs.sum.is_some() && inputs.residual.is_none() {
        return Err(Error::UnusedBuffer { buffer: "sum", why: "without a residual the sum is x" });
    }
    let x = inputs.x.checked("x", rows, cols)?;
    let gate_input = inputs.gate_input.map(|gate| gate.checked("gate_input", rows, cols)).transpose()?;
    let residual = inputs.residual.map(|residual| residual.checked("residual", rows, cols)).transpose()?;
    let y = outputs.y.checked("y", rows, cols)?;
    let sum = outputs.sum.map(|sum| sum.checked("sum", rows, cols)).transpose()?;
    if let Some(statistics) = &outputs.statistics {
        check_length("statistics", statistics.len(), rows)?;
    }

    let block_rows = rows_per_block(rows, 1);
    let mut gate_input = gate_input.map(|gate| gate.blocks(block_rows));
    let mut residual = residual.map(|residual| residual.blocks(block_rows));
    let mut sum = sum.map(|sum| sum.blocks(block_rows));
    let mut statistics = outputs.statistics.map(|statistics| statistics.chunks_mut(block_rows));
    let mut row_gain = inputs.row_gain.map(|row_gain| row_gain.chunks(block_rows));
    let mut kept = outputs.running.map(|kept| kept.map(|kept| kept.chunks_mut(block_rows)));
    let blocks = x.blocks(block_rows).zip(y.blocks(block_rows)).enumerate().map(|(block, (x, y))| Block {
        first_row: block * block_rows,
        x,
        gate_input: gate_input.as_mut().and_then(Iterator::next),
        gate_order: inputs.gate_order,
        residual: residual.as_mut().and_then(Iterator::next),
        y,
        sum: sum.as_mut().and_then(Iterator::next),
        statistics: statistics.as_mut().and_then(Iterator::next),
        row_gain: row_gain.as_mut().and_then(Iterator::next),
        kept: kept.as_mut().and_then(|[mean, variance]| Some([mean.next()?, variance.next()?])),
    });
    let of_rows = OfRows { given, running: inputs.running };
    let gain = gains(problem, inputs.rows, inputs.gain);
    let bias = biases(problem, inputs.rows, inputs.bias);
    let gate = gates(problem, inputs.rows, inputs.gate);
    map_in_order(blocks.collect(), |block| forward_block(problem, [&gain, &bias, &gate], of_rows, block));
    Ok(())
}

/// Consecutive rows of every tensor.
struct Block<'a, T, O, R> {
    first_row: usize,
    x: Rows<'a, T>,
    gate_input: Option<Rows<'a, T>>,
    gate_order: GateOrder,
    residual: Option<Rows<'a, R>>,
    y: RowsMut<'a, O>,
    sum: Option<RowsMut<'a, R>>,
    statistics: Option<&'a mut [[f64; 2]]>,
    row_gain: Option<&'a [f32]>,
    kept: Option<[&'a mut [f64]; 2]>,
}

/// Statistics of rows that a call is given.
#[derive(Clone, Copy)]
struct OfRows<'a> {
    given: Option<GivenStatistics<'a>>,
    running: Option<Running<&'a [f32]>>,
}

impl OfRows<'_> {
    /// Running mean and variance of a row after the call.
    fn kept(&self, problem: &Problem, number: usize, row: &RowStatistics) -> Option<[f64; 2]> {
        let running = self.running?;
        let share = f64::from(running.momentum);
        let average = |old: &[f32], new: f64| match row.rstd.is_finite() {
            true => (1.0 - share) * f64::from(old[number]) + share * new,
            false => f64::NAN,
        };
        let variance = row.variance * running.kept.factor(problem.cols);
        Some([average(running.mean, row.mean()), average(running.variance, variance)])
    }
}

fn forward_block<T: Element, O: Real, R: Element>(
    problem: &Problem,
    [gain, bias, of_gate]: [&OfColumns; 3],
    of_rows: OfRows<'_>,
    mut block: Block<'_, T, O, R>,
) {
    let cols = problem.cols as usize;
    let mut gate_input = block.gate_input.map(|gate| gate.each(cols));
    let mut residual = block.residual.map(|residual| residual.each(cols));
    let mut sum = block.sum.map(|sum| sum.each(cols));
    let mut statistics = block.statistics.map(|statistics| statistics.iter_mut());
    let mut row_gain = block.row_gain.map(|row_gain| row_gain.iter());
    let mut values = vec![0.0; cols];
    for (i, (x, y)) in block.x.each(cols).zip(block.y.each(cols)).enumerate() {
        match residual.as_mut().and_then(Iterator::next) {
            Some(residual) => {
                let gate = of_gate.of_row(block.first_row + i);
                for (((value, x), residual), gate) in values.iter_mut().zip(x).zip(residual).zip(&*gate) {
                    *value = R::from_f64(gate * x.to_f64() + residual.to_f64()).to_f64();
                }
            }
            None => {
                for (value, x) in values.iter_mut().zip(x) {
                    *value = x.to_f64();
                }
            }
        }
        let gates = gate_input.as_mut().and_then(Iterator::next);
        let gates: Option<Vec<f64>> =
            gates.map(|row| row.iter().map(|input| gate(input.to_f64())[0]).collect());
        let before = gates.as_ref().filter(|_| block.gate_order == GateOrder::Before);
        let after = gates.as_ref().filter(|_| block.gate_order == GateOrder::After);
        for (value, gate) in values.iter_mut().zip(before.into_iter().flatten()) {
            *value *= gate;
        }
        if let Some(sum) = sum.as_mut().and_then(Iterator::next) {
            for (sum, value) in sum.iter_mut().zip(&values) {
                *sum = R::from_f64(*value);
            }
        }
        let number = block.first_row + i;
        let row = RowStatistics::of_row(problem, &values, of_rows.given.map(|given| given.of_row(number)));
        let of_row = row_gain.as_mut().and_then(Iterator::next).map_or(1.0, |gain| f64::from(*gain));
        let (gain, bias) = (gain.of_row(number), bias.of_row(number));
        for (column, (((y, value), gain), bias)) in
            y.iter_mut().zip(&values).zip(&*gain).zip(&*bias).enumerate()
        {
            let factor = after.map_or(of_row, |gates| gates[column]);
            *y = O::from_f64(factor * problem.activation.of(gain * row.xhat(*value) + bias));
        }
        if let Some(statistics) = statistics.as_mut().and_then(Iterator::next) {
            *statistics = [row.mean(), row.rstd];
        }
        if let (Some([mean, variance]), Some(kept)) = (&mut block.kept, of_rows.kept(problem, number, &row)) {
            [mean[i], variance[i]] = kept;
        }
    }
}

#[cfg(test)]
mod tests;
