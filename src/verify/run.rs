//! Running a case and judging its outputs.

use super::Outcome;
use super::asked::check_asked;
use super::cases::{Case, Task};
use super::codes::{CodesOf, GIVEN_UNIT};
use super::fenced::{Call, Results, poison};
use super::gate::Gate;
use super::judge::{BackwardTerms, ForwardTerms, RowTerms, Source, Verdict, forward_terms, shown_xhat};
use super::kinds::{Layout, SavedStatistics, Values};
use super::tolerance::{Expected, SMALLEST_NORMAL};
use crate::error::Error;
use crate::gpu::{BackwardBuffers, CodeUnit, Context, ForwardBuffers, LayerNorm, Prepared};
use crate::op::Stored;
use crate::plan::{Backward, Forward, Kernel, Plan, Tensor};
use crate::reference::{self, BackwardOutputs, ForwardOutputs};
use crate::types::{
    Affine, BackwardInputs, Dtype, ForwardInputs, Gradient, LEAST_GAIN, Problem, Real, Rows, RowsMut, Running,
};

/// Runs a case on a device and compares every output with the reference.
///
/// # Errors
/// [`Error::Unsupported`] where the device lacks what the case needs; [`Error::Device`] where wgpu fails.
/// Wrong results are no error: they are in the [`Outcome`].
pub async fn run(context: &Context, case: &Case) -> Result<Outcome, Error> {
    let mut runner =
        Runner { context, case, problem: &case.problem, cols: case.problem.cols as usize, saved: None };
    let norm = context.layer_norm(&case.problem)?;
    let mut failures = Vec::new();
    if case.saved == SavedStatistics::Device {
        let (saved, of_forward) = runner.saved_statistics(&norm).await?;
        runner.saved = Some(saved);
        failures = of_forward;
    }
    let call = runner.call(case.task.operation())?;
    let mut outcome = match case.task {
        Task::Forward(forward) => runner.forward(&norm, &call, &forward).await?,
        Task::Backward(backward) => runner.backward(&norm, &call, &backward).await?,
    };
    outcome.failures.extend(failures);
    Ok(outcome)
}

/// Where one column of gain or dy outweighs all others, the row's largest term is that column's own y or dx,
/// and how far that is off is the roundings on its way and no average: six units, see docs/numerics.md.
const ONE_COLUMN: f64 = 6.0 / 4.0;

/// The product with a row's gain is one more rounding of y, of one unit at most: see docs/numerics.md.
const ROW_GAIN: f64 = 5.0 / 4.0;

/// A case on a device.
pub(super) struct Runner<'a> {
    pub(super) context: &'a Context,
    pub(super) case: &'a Case,
    pub(super) problem: &'a Problem,
    pub(super) cols: usize,
    /// The statistics that the device's forward has saved, where backward has those.
    pub(super) saved: Option<Vec<f32>>,
}

impl Runner<'_> {
    /// The problem on the host, where all values are float32.
    pub(super) fn exact(&self) -> Problem {
        Stored::all(self.problem, Dtype::F32)
    }

    async fn forward(&self, norm: &LayerNorm, call: &Call, options: &Forward) -> Result<Outcome, Error> {
        let (rows, cols) = (self.case.rows, self.cols);
        let mut buffers = ForwardBuffers::from_given(rows as u64, options, |tensor| call.given(tensor))
            .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        if let (Some(codes), true) = (&mut buffers.codes, options.given_unit) {
            codes.unit = CodeUnit::Given(GIVEN_UNIT);
        }
        check_asked(self.case.task.operation(), norm.forward_asked(&buffers)?)?;
        let plan = first_plan(norm.plan_forward(&buffers)?)?;
        let prepared = norm.prepare_forward(&buffers)?;
        let (mut verdict, results) = self.execute(&prepared, call).await?;

        // What is normalized is the sum as this device has stored it, or as it stores it where it is written.
        let unwritten: Vec<f32>;
        let stored = match (results.get(Tensor::Sum), call.values(Tensor::Residual)) {
            (None, Some(_)) => {
                unwritten = self.written_sum(norm, &mut verdict).await?;
                &unwritten
            }
            (Some((dtype, sum)), Some(_)) => {
                self.judge_sum(call, dtype, sum, &mut verdict)?;
                sum
            }
            _ => call.needed(Tensor::X)?,
        };
        let (gain, bias) = (call.values(Tensor::Gain), call.values(Tensor::Bias));
        // Without y there are none, whatever the problem has.
        let affine = if gain.is_some() { self.problem.affine } else { Affine::None };
        let exact = Problem { affine, ..self.exact() };
        let mut expected_y = vec![0.0; rows * cols];
        let mut expected_statistics = vec![[0.0; 2]; rows];
        let row_gain = call.values(Tensor::RowGain);
        let (mean, variance) = (call.values(Tensor::Mean), call.values(Tensor::Variance));
        let old = call.values(Tensor::RunningMean).zip(call.values(Tensor::RunningVariance));
        let running = old.map(|(mean, variance)| Running::new(mean, variance));
        let gate_input = call.values(Tensor::GateInput);
        let order = options.gate_input.unwrap_or_default();
        let gate = gate_input.map(|input| Gate { order, input, x: stored, cols });
        let inputs = ForwardInputs {
            gain,
            bias,
            row_gain,
            mean,
            variance,
            running,
            gate_input: gate_input.map(|input| dense(input, cols)),
            gate_order: options.gate_input.unwrap_or_default(),
            ..ForwardInputs::new(rows, dense(stored, cols))
        };
        let mut kept = [vec![0.0; rows], vec![0.0; rows]];
        let [kept_mean, kept_variance] = &mut kept;
        let outputs = ForwardOutputs {
            statistics: Some(&mut expected_statistics),
            running: running.map(|_| [&mut kept_mean[..], &mut kept_variance[..]]),
            ..ForwardOutputs::new(RowsMut { data: &mut expected_y, stride: cols })
        };
        reference::forward(&exact, &inputs, outputs)?;

        let (gains, biases) =
            (reference::gains(&exact, self.case.rows, gain), reference::biases(&exact, self.case.rows, bias));
        let normalized = match gate {
            Some(gate) => gate.normalized(),
            None => stored.iter().map(|x| x.to_f64()).collect(),
        };
        let terms: Vec<ForwardTerms> = normalized
            .chunks(cols)
            .zip(&expected_statistics)
            .enumerate()
            .map(|(i, (row, statistics))| {
                forward_terms(exact.activation, row, *statistics, &gains.of_row(i), &biases.of_row(i))
            })
            .collect();
        let one_outweighs = [self.case.gain, self.case.bias].contains(&Values::OneHuge);
        let of_y = |row: usize, column: usize| {
            let of_row = &terms[row];
            let own = row_gain.map_or(1.0, |row_gain| ROW_GAIN * row_gain[row].to_f64().abs());
            let (gain, bias) = (gains.at(row, column), biases.at(row, column));
            // Beside a column that outweighs the others, those are judged by their own gains.
            let terms = if one_outweighs {
                ONE_COLUMN * of_row.own(gain, bias)
            } else {
                of_row.of_column(gain, bias)
            };
            let terms = gate.map_or(terms, |gate| {
                let rstd = expected_statistics[row][1];
                gate.of_y(row, column, rstd, [gain, of_row.most_xhat, terms])
            });
            let own =
                gate_input.map_or(own, |input| own * input[row * cols + column].to_f64().abs().max(1.0));
            let flushed = of_row.row.flushed * own.max(1.0);
            Expected { value: expected_y[row * cols + column], terms: own * terms, flushed }
        };
        if let Some((dtype, y)) = results.get(Tensor::Y) {
            verdict.judge(Tensor::Y, dtype, cols, y, of_y);
        }
        let units = results.get(Tensor::Units).map(|(_, units)| units);
        if let (Some(dtype), Some((_, words))) = (options.codes, results.get(Tensor::Codes)) {
            let codes = CodesOf { dtype, cols, y: of_y, units };
            if let Some(units) = units {
                codes.judge_units(&mut verdict, units);
            }
            codes.judge_codes(&mut verdict, words);
        }
        let most_x: Vec<f64> =
            stored.chunks(cols).map(|row| row.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max)).collect();
        if let Some(running) = running {
            let share = f64::from(running.momentum);
            for (which, tensor, old) in
                [(0, Tensor::RunningMean, running.mean), (1, Tensor::RunningVariance, running.variance)]
            {
                let Some((dtype, got)) = results.get(tensor) else { continue };
                verdict.judge(tensor, dtype, 1, got, |row, _| {
                    let value = kept[which][row];
                    let kept_old = (1.0 - share) * f64::from(old[row]);
                    // rstd within some units is a variance within twice as many.
                    let of_variance = 2.0 * (value - kept_old).abs();
                    let new = if which == 0 { share * most_x[row] } else { of_variance };
                    Expected { value, terms: kept_old.abs() + new, flushed: 3.0 * SMALLEST_NORMAL }
                });
            }
        }
        if let Some((dtype, got)) = results.get(Tensor::Statistics) {
            verdict.judge(Tensor::Statistics, dtype, 2, got, |row, column| {
                let value = expected_statistics[row][column];
                // The mean of a row that is not finite may be infinite or NaN; its rstd is NaN.
                let value = if column == 0 && !value.is_finite() { f64::from(got[2 * row]) } else { value };
                let of_gate = gate.map_or(0.0, |gate| gate.off_rstd(row, expected_statistics[row][1]));
                let terms = if column == 0 { most_x[row] } else { value * (1.0 + of_gate) };
                Expected { value, terms, flushed: SMALLEST_NORMAL }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    async fn backward(&self, norm: &LayerNorm, call: &Call, backward: &Backward) -> Result<Outcome, Error> {
        let (rows, cols) = (self.case.rows, self.cols);
        let buffers = BackwardBuffers::from_given(rows as u64, backward, |tensor| call.given(tensor))
            .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        check_asked(self.case.task.operation(), norm.backward_asked(&buffers)?)?;
        let plan = first_plan(norm.plan_backward(&buffers)?)?;
        let prepared = norm.prepare_backward(&buffers)?;
        let (mut verdict, results) = self.execute(&prepared, call).await?;

        let exact = self.exact();
        let (x, dy) = (&self.x(call)[..], call.needed(Tensor::Dy)?);
        let y = call.values(Tensor::Y);
        let rstd: Vec<f32> = match y {
            Some(_) => call.needed(Tensor::Statistics)?.iter().skip(1).step_by(2).copied().collect(),
            None => Vec::new(),
        };
        let order = backward.gate_input.unwrap_or_default();
        let gate = call.values(Tensor::GateInput).map(|input| Gate { order, input, x, cols });
        let (gain, bias) = (call.values(Tensor::Gain), call.values(Tensor::Bias));
        // What dx and the parameters' gradients are added to.
        let adds_to = |tensor, gradient| match gradient {
            Some(Gradient::Accumulate) => call.values(tensor),
            _ => None,
        };
        let old_dx = adds_to(Tensor::Dx, backward.dx);
        let dsum = call.values(Tensor::Dsum);
        let old_dgain = adds_to(Tensor::Dgain, backward.dgain);
        let old_dbias = adds_to(Tensor::Dbias, backward.dbias);
        let as_f64 = |old: Option<&[f32]>, count: usize| -> Vec<f64> {
            old.map_or_else(|| vec![0.0; count], |old| old.iter().map(|value| value.to_f64()).collect())
        };
        let mut expected_dx = as_f64(old_dx, rows * cols);
        let mut expected_dgate = vec![0.0; if gate.is_some() { rows * cols } else { 0 }];
        let parameters = self.problem.parameters() as usize;
        let (mut expected_dgain, mut expected_dbias) =
            (as_f64(old_dgain, parameters), as_f64(old_dbias, parameters));
        let row_gain = call.values(Tensor::RowGain);
        let old_drow_gain = adds_to(Tensor::DrowGain, backward.drow_gain);
        let mut expected_drow_gain = as_f64(old_drow_gain, rows);
        // Where the gradient alone is wanted, the gains themselves do not matter.
        let ones = vec![1.0; rows];
        let given = match backward.given_statistics {
            true => Some(self.given_statistics(x)?),
            false => None,
        };
        let inputs = BackwardInputs {
            mean: given.as_ref().map(|[mean, _]| &mean[..]),
            variance: given.as_ref().map(|[_, variance]| &variance[..]),
            row_gain: row_gain.or(backward.row_gain.then_some(&ones[..])),
            dsum: dsum.map(|dsum| dense(dsum, cols)),
            gain,
            bias,
            gate_input: gate.map(|gate| dense(gate.input, cols)),
            gate_order: backward.gate_input.unwrap_or_default(),
            y: y.map(|y| dense(y, cols)),
            rstd: y.map(|_| &rstd[..]),
            ..BackwardInputs::new(rows, dense(x, cols), dense(dy, cols))
        };
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut expected_dx, stride: cols }),
            dgate_input: gate.map(|_| RowsMut { data: &mut expected_dgate[..], stride: cols }),
            dgain: backward.dgain.map(|_| &mut expected_dgain[..]),
            dbias: backward.dbias.map(|_| &mut expected_dbias[..]),
            drow_gain: backward.drow_gain.map(|_| &mut expected_drow_gain[..]),
            dx_gradient: backward.dx.unwrap_or_default(),
            parameter_gradient: backward.dgain.or(backward.dbias).or(backward.drow_gain).unwrap_or_default(),
        };
        reference::backward(&exact, &inputs, outputs)?;

        let (gains, biases) =
            (reference::gains(&exact, self.case.rows, gain), reference::biases(&exact, self.case.rows, bias));
        let statistics = match y {
            Some(_) => rstd.iter().map(|rstd| [0.0, f64::from(*rstd)]).collect(),
            None => self.statistics_of(&self.normalized(call))?,
        };
        let gated = gate.map(|gate| {
            let normalized = gate.normalized();
            let of_row = |(row, [_, rstd]): (&[f64], &[f64; 2])| row.iter().map(|u| u * rstd).collect();
            normalized.chunks(cols).zip(&statistics).flat_map::<Vec<f64>, _>(of_row).collect()
        });
        let xhat = y.map(|y| shown_xhat(&exact, y, [&gains, &biases])).or(gated);
        let source = xhat.as_ref().map_or(Source::X(x), |xhat| Source::Xhat(xhat));
        let of_columns = [&gains, &biases];
        let terms = BackwardTerms::new(&exact, &statistics, source, dy, of_columns, given.is_some(), gate);
        let one_outweighs = [self.case.gain, self.case.dy].contains(&Values::OneHuge);
        let of_one_column = if one_outweighs { ONE_COLUMN } else { 1.0 };
        let size = |old: Option<&[f32]>, i: usize| old.map_or(0.0, |old| old[i].to_f64().abs());
        if let Some((dtype, dx)) = results.get(Tensor::Dx) {
            verdict.judge(Tensor::Dx, dtype, cols, dx, |row, column| {
                let i = row * cols + column;
                let of_row = terms.rows[row];
                let RowTerms { terms, flushed } = gate.map_or(of_row, |gate| gate.of_dx(row, column, of_row));
                let own = row_gain.map_or(1.0, |row_gain| row_gain[row].to_f64().abs());
                let terms = own * terms * of_one_column + size(old_dx, i) + size(dsum, i);
                Expected { value: expected_dx[i], terms, flushed: flushed * own.max(1.0) }
            });
        }
        if let (Some((dtype, got)), Some(gate)) = (results.get(Tensor::DgateInput), gate) {
            verdict.judge(Tensor::DgateInput, dtype, cols, got, |row, column| {
                let i = row * cols + column;
                let of_element = [dy[i].to_f64(), gains.at(row, column), terms.most_xhat[row]];
                let RowTerms { terms, flushed } =
                    gate.of_dgate_input(row, column, terms.rows[row], of_element);
                Expected { value: expected_dgate[i], terms: terms * of_one_column, flushed }
            });
        }
        if let Some((dtype, got)) = results.get(Tensor::DrowGain) {
            verdict.judge(Tensor::DrowGain, dtype, 1, got, |row, _| {
                let RowTerms { terms, flushed } = terms.row_gains[row];
                // One column of a row may outweigh the others whatever the data.
                let terms = terms * ONE_COLUMN + size(old_drow_gain, row);
                Expected { value: expected_drow_gain[row], terms, flushed }
            });
        }
        if let Some((dtype, got)) = results.get(Tensor::Clamped) {
            let is_clamped = |column: &usize| gains.at(0, *column).abs() < f64::from(LEAST_GAIN);
            let value = (0..cols).filter(is_clamped).count() as f64;
            let exactly = Expected { value, terms: 0.0, flushed: 0.0 };
            verdict.judge(Tensor::Clamped, dtype, 1, got, |_, _| exactly);
        }
        for (tensor, expected, old, terms) in [
            (Tensor::Dgain, &expected_dgain, old_dgain, terms.dgain()),
            (Tensor::Dbias, &expected_dbias, old_dbias, terms.dbias()),
        ] {
            let Some((dtype, got)) = results.get(tensor) else { continue };
            verdict.judge(tensor, dtype, parameters, got, |_, column| {
                let RowTerms { terms, flushed } = terms;
                Expected { value: expected[column], terms: terms + size(old, column), flushed }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    /// Runs a prepared call, downloads its outputs and checks their fences.
    async fn execute(&self, prepared: &Prepared, call: &Call) -> Result<(Verdict, Results), Error> {
        for (scratch, bytes) in prepared.scratch() {
            #[allow(clippy::cast_possible_truncation, reason = "smaller than the case's tensors")]
            let words = bytes as usize / size_of::<f32>();
            self.context.queue().write_buffer(&scratch, 0, &poison(Dtype::F32).repeat(words));
        }
        let buffers: Vec<_> = call.outputs().filter_map(|output| call.buffer(output.tensor)).collect();
        let downloads = self.context.run(&[prepared], &buffers).await?;
        let written = || call.outputs().zip(&downloads).map(|(output, bytes)| (output, output.part(bytes)));
        let mut failures: Vec<String> =
            written().filter_map(|(output, bytes)| output.check_fence(bytes)).collect();
        // Inputs beside outputs are bound so that a kernel could write to them.
        if let (Layout::Pool, Some(pool)) = (self.case.layout, downloads.first()) {
            failures.extend(call.inputs().filter_map(|input| input.check_unchanged(pool)));
        }
        let values =
            written().map(|(output, bytes)| (output.tensor, output.dtype, output.decoded(bytes))).collect();
        Ok((Verdict { errors: Vec::new(), failures }, Results(values)))
    }

    fn outcome(&self, norm: &LayerNorm, plan: &Plan, verdict: Verdict) -> Outcome {
        let Verdict { errors, failures } = verdict;
        Outcome {
            kernel: plan.kernel,
            is_tuned: norm.kernels().is_tuned(norm.problem(), plan),
            dtype: self.problem.dtype,
            errors,
            failures,
        }
    }
}

/// The plan that a call is told by: the first, but for the sums over channels where dx is wanted too.
fn first_plan(plans: Vec<Plan>) -> Result<Plan, Error> {
    let takes_sums =
        |plan: &&Plan| matches!(plan.kernel, Kernel::BackwardChannelSums | Kernel::BackwardReduceParameters);
    let of_rows = plans.iter().find(|plan| !takes_sums(plan));
    of_rows.or(plans.first()).copied().ok_or_else(|| Error::invalid("plans", "none", "one at least"))
}

fn dense<T>(data: &[T], cols: usize) -> Rows<'_, T> {
    Rows { data, stride: cols }
}

mod other_calls;
#[cfg(test)]
mod tests;
