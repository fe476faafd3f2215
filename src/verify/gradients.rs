//! Running backward of a case, and judging its outputs.

use super::Outcome;
use super::asked::check_asked;
use super::fenced::Call;
use super::gate::Gate;
use super::judge::{BackwardTerms, RowTerms, Source, shown_xhat};
use super::kinds::Values;
use super::run::{ONE_COLUMN, Runner, dense, first_plan};
use super::tolerance::{Expected, SMALLEST_NORMAL};
use crate::error::Error;
use crate::gpu::{BackwardBuffers, LayerNorm};
use crate::plan::{Backward, Tensor};
use crate::reference::{self, BackwardOutputs};
use crate::types::{BackwardInputs, Gradient, LEAST_GAIN, Real, RowsMut};

/// The product with a gate, or of dx with what a gate has multiplied, is one more rounding, of one unit at
/// most: see docs/numerics.md.
const GATE: f64 = 5.0 / 4.0;

impl Runner<'_> {
    pub(super) async fn backward(
        &self,
        norm: &LayerNorm,
        call: &Call,
        backward: &Backward,
    ) -> Result<Outcome, Error> {
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
        let mut expected_dgate_input = vec![0.0; if gate.is_some() { rows * cols } else { 0 }];
        let (of_gate, branch) = (call.values(Tensor::Gate), call.values(Tensor::Branch));
        let mut expected_dbranch = vec![0.0; rows * cols];
        let old_dgate = adds_to(Tensor::Dgate, backward.dgate);
        let mut expected_dgate = as_f64(old_dgate, self.problem.gates() as usize);
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
            gate: of_gate,
            branch: branch.map(|branch| dense(branch, cols)),
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
            dgate_input: gate.map(|_| RowsMut { data: &mut expected_dgate_input[..], stride: cols }),
            dbranch: of_gate.map(|_| RowsMut { data: &mut expected_dbranch, stride: cols }),
            dgate: branch.map(|_| &mut expected_dgate[..]),
            dgain: backward.dgain.map(|_| &mut expected_dgain[..]),
            dbias: backward.dbias.map(|_| &mut expected_dbias[..]),
            drow_gain: backward.drow_gain.map(|_| &mut expected_drow_gain[..]),
            dx_gradient: backward.dx.unwrap_or_default(),
            parameter_gradient: backward.of_parameters().unwrap_or_default(),
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
        // Of dx before it is rounded.
        let of_dx = |row: usize, column: usize| {
            let i = row * cols + column;
            let of_row = terms.rows[row];
            let RowTerms { terms, flushed } = gate.map_or(of_row, |gate| gate.of_dx(row, column, of_row));
            let own = row_gain.map_or(1.0, |row_gain| row_gain[row].to_f64().abs());
            let terms = own * terms * of_one_column + size(old_dx, i) + size(dsum, i);
            RowTerms { terms, flushed: flushed * own.max(1.0) }
        };
        if let Some((dtype, dx)) = results.get(Tensor::Dx) {
            verdict.judge(Tensor::Dx, dtype, cols, dx, |row, column| {
                let RowTerms { terms, flushed } = of_dx(row, column);
                Expected { value: expected_dx[row * cols + column], terms, flushed }
            });
        }
        if let Some((dtype, dbranch)) = results.get(Tensor::Dbranch) {
            let gates = reference::gates(&exact, rows, of_gate);
            verdict.judge(Tensor::Dbranch, dtype, cols, dbranch, |row, column| {
                let RowTerms { terms, flushed } = of_dx(row, column);
                let (value, own) = (expected_dbranch[row * cols + column], gates.at(row, column).abs());
                Expected { value, terms: GATE * own * terms, flushed: flushed * own.max(1.0) }
            });
        }
        if let (Some((dtype, got)), Some(branch)) = (results.get(Tensor::Dgate), branch) {
            let RowTerms { terms, flushed } = self.gate_terms(branch, of_dx);
            verdict.judge(Tensor::Dgate, dtype, got.len().max(1), got, |_, column| {
                let terms = GATE * terms + size(old_dgate, column);
                Expected { value: expected_dgate[column], terms, flushed }
            });
        }
        if let (Some((dtype, got)), Some(gate)) = (results.get(Tensor::DgateInput), gate) {
            verdict.judge(Tensor::DgateInput, dtype, cols, got, |row, column| {
                let i = row * cols + column;
                let of_element = [dy[i].to_f64(), gains.at(row, column), terms.most_xhat[row]];
                let RowTerms { terms, flushed } =
                    gate.of_dgate_input(row, column, terms.rows[row], of_element);
                Expected { value: expected_dgate_input[i], terms: terms * of_one_column, flushed }
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

    /// Terms of the gradient of a gate, the most of any column: of dx, times the branch.
    fn gate_terms(&self, branch: &[f32], of_dx: impl Fn(usize, usize) -> RowTerms) -> RowTerms {
        let count = self.problem.gates() as usize;
        let (mut terms, mut flushed) = (vec![0.0; count], vec![0.0; count]);
        for (i, branch) in branch.iter().enumerate() {
            let (row, column) = (i / self.cols, i % self.cols);
            let of_dx = of_dx(row, column);
            let at = self.problem.gate_of(self.case.rows, row, column);
            terms[at] += of_dx.terms * branch.to_f64().abs();
            flushed[at] += of_dx.flushed * branch.to_f64().abs() + SMALLEST_NORMAL;
        }
        // A column with an infinity says nothing about the others.
        let most = |of: &[f64]| of.iter().copied().filter(|of| of.is_finite()).fold(0.0, f64::max);
        RowTerms { terms: most(&terms), flushed: most(&flushed) }
    }
}
