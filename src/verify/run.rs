//! Running a case and judging its outputs.

use super::Outcome;
use super::asked::check_asked;
use super::cases::{Case, Task};
use super::codes::{CodesOf, GIVEN_UNIT};
use super::fenced::{Call, Results, poison};
use super::gate::Gate;
use super::judge::{ForwardTerms, Verdict, forward_terms};
use super::kinds::{Layout, SavedStatistics, Values};
use super::tolerance::{Expected, SMALLEST_NORMAL};
use crate::error::Error;
use crate::gpu::{CodeUnit, Context, ForwardBuffers, LayerNorm, Prepared};
use crate::op::Stored;
use crate::plan::{Forward, Kernel, Plan, Tensor};
use crate::reference::{self, ForwardOutputs};
use crate::types::{Affine, Dtype, ForwardInputs, Problem, Real, Rows, RowsMut, Running};

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
pub(super) const ONE_COLUMN: f64 = 6.0 / 4.0;

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

    /// Runs a prepared call, downloads its outputs and checks their fences.
    pub(super) async fn execute(
        &self,
        prepared: &Prepared,
        call: &Call,
    ) -> Result<(Verdict, Results), Error> {
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

    pub(super) fn outcome(&self, norm: &LayerNorm, plan: &Plan, verdict: Verdict) -> Outcome {
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
pub(super) fn first_plan(plans: Vec<Plan>) -> Result<Plan, Error> {
    let takes_sums =
        |plan: &&Plan| matches!(plan.kernel, Kernel::BackwardChannelSums | Kernel::BackwardReduceParameters);
    let of_rows = plans.iter().find(|plan| !takes_sums(plan));
    of_rows.or(plans.first()).copied().ok_or_else(|| Error::invalid("plans", "none", "one at least"))
}

pub(super) fn dense<T>(data: &[T], cols: usize) -> Rows<'_, T> {
    Rows { data, stride: cols }
}

mod other_calls;
#[cfg(test)]
mod tests;
