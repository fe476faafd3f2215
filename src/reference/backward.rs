//! The gradients of forward.

mod outputs;

pub use outputs::BackwardOutputs;
use outputs::check_gated_sum;

use super::activation::gate;
use super::{
    GivenStatistics, OfColumns, RowStatistics, add_to, biases, check_given, check_length, check_problem,
    check_type, dot, gains, gates, map_in_order, mean_for_layer, mean_product, rows_per_block,
};
use crate::op::{Stored, check_gated, check_source};
use crate::types::check_statistics;
use crate::{
    BackwardInputs, Element, Error, GateOrder, Gradient, Normalization, Problem, Real, Rows, RowsMut, Running,
};

/// The gradients of layer norm (Ba, Kiros, Hinton 2016, equation 3, differentiated), RMS norm (Zhang,
/// Sennrich 2019, equation 4, differentiated) or L2.
///
/// ```text
/// xhat  = (x - mean) * rstd                            (mean and rstd as in forward, from x)
///         (y - bias) / gain                            (from y in place of x, with the rstd that is given)
/// dz    = dy * sigmoid(z) * (1 + z * sigmoid(-z))      (with `Activation::Silu`, z = gain * xhat + bias; in place of dy
///                                                      from here on)
/// dz    = dy * silu(gate_input)                        (with a gate after the norm; in place of dy from here on)
/// dxhat = dy * gain                                    (gain 1 where there is none)
/// dx    = rstd * (dxhat - mean_cols(dxhat) - xhat * mean_cols(dxhat * xhat))
///         + dsum                                       (without mean_cols(dxhat) for RMS norm and L2; for L2 the sum over
///                                                      the columns in place of the second mean, 0 where norm <= eps;
///                                                      dsum 0 where there is none)
///         row_gain times all of that but dsum          (where rows have gains, and dxhat = dy)
///         rstd * dxhat + dsum                          (where mean and variance were given to forward)
/// dgate_input = dy * gain * xhat * silu'(gate_input)   (with a gate after the norm; with one before it, x is x * silu(gate_input)
///               dx * x * silu'(gate_input)             above, dx that of the product, and dx becomes dx * silu(gate_input))
/// dbranch = gate * dx                                  (x being the sum of a residual and gate * branch, and dx as above,
///                                                      with dsum, or with what it is added to)
/// dgate = sum_rows(dx * branch)                        (over the rows of a sample, where the gate has a row for each)
/// dgain = sum_rows(dy * xhat)                          (where the problem has channels: and over the columns of each)
/// dbias = sum_rows(dy)
/// drow_gain = sum_cols(dy * xhat)                      (NaN where that is not finite, unless mean and variance were given)
/// ```
///
/// xhat from y is 0 where |gain| is below the least, and for layer norm of one column; NaN where y is not
/// finite; and else -4096 to 4096.
///
/// All in float64, statistics included; each result is rounded once, to `O` or `Q`, after it has been added
/// to the value present where [`Gradient::Accumulate`] asks for it.
///
/// A NaN or an infinity in a row of x or dy makes that row of dx NaN, and no other; one in x makes all of
/// dgain NaN; dbias and, for dy, dgain are as arithmetic has it. Where mean and variance were given, x does
/// not count for dx, and what is not finite in dy stays in its own element of it. With an activation what is
/// not finite in dy counts as NaN, x counts for all gradients, and one of its rows that is not finite makes
/// all of dbias NaN too (where mean and variance were given, its own element counts). With 0 rows dgain and
/// dbias become 0, or stay when accumulating.
///
/// # Errors
/// [`Error::Invalid`] for a problem out of its ranges, types other than the problem's or a stride below cols;
/// [`Error::MissingBuffer`] or [`Error::UnusedBuffer`] for gain, bias, dgain and dbias that do not fit
/// [`Problem::affine`] and [`Problem::activation`], and for one of mean and variance, or both for another
/// norm than layer norm; [`Error::BufferTooSmall`]. Nothing is written then.
#[doc(alias = "layer_norm_backward", alias = "vjp")]
pub fn backward<T: Element, P: Element, O: Real, Q: Real, D: Element>(
    problem: &Problem,
    inputs: &BackwardInputs<'_, T, P, D>,
    outputs: BackwardOutputs<'_, O, Q>,
) -> Result<(), Error> {
    check_problem::<T, P>(problem)?;
    check_type("type of dy", D::DTYPE, Stored::AsY.dtype(problem))?;
    let (rows, cols, parameters) = (inputs.rows, problem.cols as usize, problem.parameters() as usize);
    let gates_count = problem.gates() as usize;
    problem.check_rows(rows as u64)?;
    // A gradient may always be left out.
    problem.affine.check_gain(inputs.gain.is_some())?;
    check_source(problem, inputs)?;
    problem.check_bias_of_backward(inputs.bias.is_some(), inputs.y.is_some())?;
    outputs.dgain.as_ref().map_or(Ok(()), |_| problem.affine.check_uses_gain("dgain"))?;
    outputs.dbias.as_ref().map_or(Ok(()), |_| problem.affine.check_uses_bias("dbias"))?;
    inputs.row_gain.map_or(Ok(()), |_| problem.check_uses_row_gain("row_gain"))?;
    check_gate(problem, inputs, outputs.dx.is_some(), outputs.dgate_input.is_some())?;
    check_gated_sum::<T, P, D, O, Q>(problem, inputs, &outputs)?;
    check_given("gain", inputs.gain, parameters)?;
    check_given("bias", inputs.bias, parameters)?;
    check_given("dgain", outputs.dgain.as_deref(), parameters)?;
    check_given("dbias", outputs.dbias.as_deref(), parameters)?;
    check_given("row_gain", inputs.row_gain, rows)?;
    match (&outputs.drow_gain, inputs.row_gain) {
        (Some(_), None) => {
            return Err(Error::MissingBuffer { buffer: "row_gain", why: "drow_gain is its gradient" });
        }
        (Some(drow_gain), Some(_)) => check_length("drow_gain", drow_gain.len(), rows)?,
        (None, _) => {}
    }
    let has_given = [inputs.mean, inputs.variance].map(|given| given.is_some());
    check_statistics(problem, has_given, None::<&Running<()>>, false)?;
    let given = GivenStatistics::new(rows, inputs.mean, inputs.variance)?;
    let x = match inputs.y {
        None => Some(inputs.x.checked("x", rows, cols)?),
        Some(_) => None,
    };
    let y = inputs.y.map(|y| y.checked("y", rows, cols)).transpose()?;
    inputs.rstd.map_or(Ok(()), |rstd| check_length("rstd", rstd.len(), rows))?;
    let dy = inputs.dy.checked("dy", rows, cols)?;
    let gate_input = inputs.gate_input.map(|gate| gate.checked("gate_input", rows, cols)).transpose()?;
    let dgate_input =
        outputs.dgate_input.map(|gradient| gradient.checked("dgate_input", rows, cols)).transpose()?;
    let dsum = inputs.dsum.map(|dsum| dsum.checked("dsum", rows, cols)).transpose()?;
    let dx = outputs.dx.map(|dx| dx.checked("dx", rows, cols)).transpose()?;
    let branch = inputs.branch.map(|branch| branch.checked("branch", rows, cols)).transpose()?;
    let dbranch = outputs.dbranch.map(|dbranch| dbranch.checked("dbranch", rows, cols)).transpose()?;

    // The column sums of a block take as much memory as 4 rows of f32: at 16 rows and more, a fraction of x.
    let block_rows = rows_per_block(rows, 16);
    let mut x = x.map(|x| x.blocks(block_rows));
    let mut y = y.map(|y| y.blocks(block_rows));
    let mut rstd = inputs.rstd.map(|rstd| rstd.chunks(block_rows));
    let mut gate_input = gate_input.map(|gate| gate.blocks(block_rows));
    let mut dgate_input = dgate_input.map(|gradient| gradient.blocks(block_rows));
    let mut dsum = dsum.map(|dsum| dsum.blocks(block_rows));
    let mut dx = dx.map(|dx| dx.blocks(block_rows));
    let mut branch = branch.map(|branch| branch.blocks(block_rows));
    let mut dbranch = dbranch.map(|dbranch| dbranch.blocks(block_rows));
    let mut row_gain = inputs.row_gain.map(|row_gain| row_gain.chunks(block_rows));
    let mut drow_gain = outputs.drow_gain.map(|drow_gain| drow_gain.chunks_mut(block_rows));
    let blocks = dy.blocks(block_rows).enumerate().map(|(block, dy)| Block {
        first_row: block * block_rows,
        x: x.as_mut().and_then(Iterator::next),
        y: y.as_mut().and_then(Iterator::next),
        rstd: rstd.as_mut().and_then(Iterator::next),
        least_gain: inputs.least_gain,
        gate_input: gate_input.as_mut().and_then(Iterator::next),
        gate_order: inputs.gate_order,
        dgate_input: dgate_input.as_mut().and_then(Iterator::next),
        dy,
        dsum: dsum.as_mut().and_then(Iterator::next),
        dx: dx.as_mut().and_then(Iterator::next),
        branch: branch.as_mut().and_then(Iterator::next),
        dbranch: dbranch.as_mut().and_then(Iterator::next),
        row_gain: row_gain.as_mut().and_then(Iterator::next),
        drow_gain: drow_gain.as_mut().and_then(Iterator::next),
        sums: ParameterSums {
            dgain: vec![0.0; if outputs.dgain.is_some() { parameters } else { 0 }],
            dbias: vec![0.0; if outputs.dbias.is_some() { parameters } else { 0 }],
            dgate: vec![0.0; if outputs.dgate.is_some() { gates_count } else { 0 }],
        },
    });
    let of_columns = [
        gains(problem, inputs.rows, inputs.gain),
        biases(problem, inputs.rows, inputs.bias),
        gates(problem, inputs.rows, inputs.gate),
    ];
    let gradients = [outputs.dx_gradient, outputs.parameter_gradient];
    let of_blocks =
        map_in_order(blocks.collect(), |block| backward_block(problem, &of_columns, given, gradients, block));

    let store_parameter =
        |gradient: Option<&mut [Q]>, count: usize, partial: fn(&ParameterSums) -> &[f64]| {
            let Some(gradient) = gradient else { return };
            let mut total = vec![0.0; count];
            for sums in &of_blocks {
                add_to(&mut total, partial(sums).iter().copied());
            }
            store(outputs.parameter_gradient, &mut gradient[..count], total.iter().copied());
        };
    store_parameter(outputs.dgain, parameters, |sums| &sums.dgain);
    store_parameter(outputs.dbias, parameters, |sums| &sums.dbias);
    store_parameter(outputs.dgate, gates_count, |sums| &sums.dgate);
    Ok(())
}

/// Consecutive rows of every tensor.
struct Block<'a, T, O, D> {
    first_row: usize,
    x: Option<Rows<'a, T>>,
    y: Option<Rows<'a, D>>,
    rstd: Option<&'a [f32]>,
    least_gain: f32,
    gate_input: Option<Rows<'a, T>>,
    gate_order: GateOrder,
    dgate_input: Option<RowsMut<'a, O>>,
    dy: Rows<'a, D>,
    dsum: Option<Rows<'a, T>>,
    dx: Option<RowsMut<'a, O>>,
    branch: Option<Rows<'a, T>>,
    dbranch: Option<RowsMut<'a, O>>,
    row_gain: Option<&'a [f32]>,
    drow_gain: Option<&'a mut [f64]>,
    sums: ParameterSums,
}

/// What the rows of one block give to dgain, dbias and dgate; empty for one that nobody asked for.
struct ParameterSums {
    dgain: Vec<f64>,
    dbias: Vec<f64>,
    dgate: Vec<f64>,
}

fn backward_block<T: Element, O: Real, D: Element>(
    problem: &Problem,
    [gain, bias, of_gate]: &[OfColumns; 3],
    given: Option<GivenStatistics<'_>>,
    [dx_gradient, parameter_gradient]: [Gradient; 2],
    block: Block<'_, T, O, D>,
) -> ParameterSums {
    let cols = problem.cols as usize;
    let mut sums = block.sums;
    let mut dsum = block.dsum.map(|dsum| dsum.each(cols));
    let mut dx = block.dx.map(|dx| dx.each(cols));
    let mut branch = block.branch.map(|branch| branch.each(cols));
    let mut dbranch = block.dbranch.map(|dbranch| dbranch.each(cols));
    let mut row_gain = block.row_gain.map(|row_gain| row_gain.iter());
    let mut drow_gain = block.drow_gain.map(|drow_gain| drow_gain.iter_mut());
    let mut xhat = vec![0.0; cols];
    let mut dz = vec![0.0; cols];
    let mut dxhat = vec![0.0; cols];
    let mut total = vec![0.0; cols];
    let mut x = block.x.map(|x| x.each(cols));
    let mut y = block.y.map(|y| y.each(cols));
    let mut gate_input = block.gate_input.map(|gate| gate.each(cols));
    let mut dgate_input = block.dgate_input.map(|gradient| gradient.each(cols));
    for (i, dy) in block.dy.each(cols).enumerate() {
        let row_number = block.first_row + i;
        let (of_columns, gain, bias) = (gain, gain.of_row(row_number), bias.of_row(row_number));
        let (x, y) = (x.as_mut().and_then(Iterator::next), y.as_mut().and_then(Iterator::next));
        let gates = gate_input.as_mut().and_then(Iterator::next);
        let gates: Option<Vec<[f64; 2]>> =
            gates.map(|row| row.iter().map(|input| gate(input.to_f64())).collect());
        let before = gates.as_ref().filter(|_| block.gate_order == GateOrder::Before);
        let after = gates.as_ref().filter(|_| block.gate_order == GateOrder::After);
        let row = match (x, y, block.rstd) {
            (None, Some(y), Some(rstd)) => {
                for (((xhat, y), gain), bias) in xhat.iter_mut().zip(y).zip(&*gain).zip(&*bias) {
                    *xhat = xhat_of_y(problem, y.to_f64(), *gain, *bias, block.least_gain);
                }
                RowStatistics::saved(problem, rstd[i])
            }
            (x, ..) => {
                for (xhat, x) in xhat.iter_mut().zip(x.unwrap_or_default()) {
                    *xhat = x.to_f64();
                }
                for (xhat, [factor, _]) in xhat.iter_mut().zip(before.into_iter().flatten()) {
                    *xhat *= factor;
                }
                let of_row = given.map(|given| given.of_row(row_number));
                let row = RowStatistics::of_row(problem, &xhat, of_row);
                for xhat in &mut xhat {
                    *xhat = row.xhat(*xhat);
                }
                row
            }
        };
        for ((((dz, dy), xhat), gain), bias) in dz.iter_mut().zip(dy).zip(&xhat).zip(&*gain).zip(&*bias) {
            *dz = problem.activation.gradient(gain * xhat + bias, dy.to_f64());
        }
        for (dz, [factor, _]) in dz.iter_mut().zip(after.into_iter().flatten()) {
            *dz *= factor;
        }
        let products = dz.iter().zip(&xhat).map(|(dz, xhat)| dz * xhat);
        of_columns.add_row(row_number, &mut sums.dgain, products);
        of_columns.add_row(row_number, &mut sums.dbias, dz.iter().copied());

        for ((dxhat, dz), gain) in dxhat.iter_mut().zip(&dz).zip(&*gain) {
            *dxhat = dz * gain;
        }
        if let Some(drow_gain) = drow_gain.as_mut().and_then(Iterator::next) {
            let sum = dot(&dxhat, &xhat);
            let sum = if sum.is_finite() || row.is_given { sum } else { f64::NAN };
            store(parameter_gradient, std::slice::from_mut(drow_gain), std::iter::once(sum));
        }
        let of_row = row_gain.as_mut().and_then(Iterator::next).map_or(1.0, |gain| f64::from(*gain));
        let mut dx = dx.as_mut().and_then(Iterator::next);
        let branch = branch.as_mut().and_then(Iterator::next);
        let dbranch = dbranch.as_mut().and_then(Iterator::next);
        if dx.is_none() && branch.is_none() && dbranch.is_none() {
            continue;
        }
        let mean_dxhat = mean_for_layer(problem, &row, &dxhat);
        let mean_dxhat_xhat = match mean_product(problem, &row, &dxhat, &xhat) {
            mean if mean.is_finite() => mean,
            // Arithmetic alone would leave an infinity of dy in RMS norm at some columns, and NaN at others.
            _ => f64::NAN,
        };
        let of_column = |(dxhat, xhat): (&f64, &f64)| match row.is_given {
            true => of_row * (row.rstd * dxhat),
            false => of_row * (row.rstd * (dxhat - mean_dxhat - xhat * mean_dxhat_xhat)),
        };
        let mut values: Vec<f64> = dxhat.iter().zip(&xhat).map(of_column).collect();
        if let Some((gates, dgate_input)) = gates.as_ref().zip(dgate_input.as_mut().and_then(Iterator::next))
        {
            let of_row = if mean_dxhat_xhat.is_finite() { 0.0 } else { f64::NAN };
            for (column, [factor, slope]) in gates.iter().enumerate() {
                let product = match block.gate_order {
                    GateOrder::Before => values[column] * x.map_or(0.0, |x| x[column].to_f64()),
                    GateOrder::After => dy[column].to_f64() * (gain[column] * xhat[column]),
                };
                dgate_input[column] = O::from_f64(product * slope + of_row);
                if block.gate_order == GateOrder::Before {
                    values[column] *= factor;
                }
            }
        }
        total.copy_from_slice(&values);
        if let Some(dsum) = dsum.as_mut().and_then(Iterator::next) {
            add_to(&mut total, dsum.iter().map(|dsum| dsum.to_f64()));
        }
        if let Some(dx) = &mut dx {
            if dx_gradient == Gradient::Accumulate {
                add_to(&mut total, dx.iter().map(|dx| dx.to_f64()));
            }
            store(Gradient::Overwrite, dx, total.iter().copied());
        }
        if let Some(branch) = branch {
            let products = total.iter().zip(branch).map(|(total, branch)| total * branch.to_f64());
            of_gate.add_row(row_number, &mut sums.dgate, products);
        }
        if let Some(dbranch) = dbranch {
            let gate = of_gate.of_row(row_number);
            store(Gradient::Overwrite, dbranch, total.iter().zip(&*gate).map(|(total, gate)| total * gate));
        }
    }
    sums
}

/// That a gate goes with the problem and with the rest of the call.
fn check_gate<T, P, D>(
    problem: &Problem,
    inputs: &BackwardInputs<'_, T, P, D>,
    has_dx: bool,
    has_dgate_input: bool,
) -> Result<(), Error> {
    if inputs.gate_input.is_none() {
        let why = "there is no gate_input, of which it is the gradient";
        return match has_dgate_input {
            true => Err(Error::UnusedBuffer { buffer: "dgate_input", why }),
            false => Ok(()),
        };
    }
    match (has_dx, has_dgate_input) {
        (true, false) => {
            return Err(Error::MissingBuffer { buffer: "dgate_input", why: "it is written beside dx" });
        }
        (false, true) => {
            return Err(Error::MissingBuffer { buffer: "dx", why: "dgate_input is written beside it" });
        }
        _ => {}
    }
    check_gated(problem)?;
    let given =
        [("y", inputs.y.is_some()), ("dsum", inputs.dsum.is_some()), ("row_gain", inputs.row_gain.is_some())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((buffer, _)) => Err(Error::UnusedBuffer { buffer, why: "gated RMS norm has none" }),
        None => Ok(()),
    }
}

/// xhat of what forward made of it.
pub(crate) fn xhat_of_y(problem: &Problem, y: f64, gain: f64, bias: f64, least_gain: f32) -> f64 {
    let is_alone = problem.cols == 1 && problem.normalization == Normalization::Layer;
    match gain.abs() < least_gain.into() {
        _ if !y.is_finite() => f64::NAN,
        _ if is_alone => 0.0,
        true => 0.0,
        false => ((y - bias) / gain).clamp(-MOST_XHAT, MOST_XHAT),
    }
}

/// The root of the most columns.
const MOST_XHAT: f64 = 4096.0;

/// Writes `values`, or adds them in float64 to what is there; rounds once.
fn store<O: Real>(gradient: Gradient, out: &mut [O], values: impl Iterator<Item = f64>) {
    match gradient {
        Gradient::Overwrite => {
            for (out, value) in out.iter_mut().zip(values) {
                *out = O::from_f64(value);
            }
        }
        Gradient::Accumulate => {
            for (out, value) in out.iter_mut().zip(values) {
                *out = O::from_f64(out.to_f64() + value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
