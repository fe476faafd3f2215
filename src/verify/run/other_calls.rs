//! Calls beside the one that a case is about: what that one is judged by, or reads.

use super::super::fenced::Call;
use super::super::judge::Verdict;
use super::super::tolerance::{Expected, SMALLEST_NORMAL};
use super::Runner;
use crate::error::Error;
use crate::gpu::{ForwardBuffers, LayerNorm};
use crate::plan::{Forward, Operation, Tensor};
use crate::reference;
use crate::types::{Dtype, GateOrder, Real};

impl Runner<'_> {
    /// The sum as this device stores it, from a call that writes it. The host cannot know it: the device adds
    /// in float32, and its rounding of that to float16 is its own. Neither y nor what y needs is in the call,
    /// so that four bindings are enough.
    pub(super) async fn written_sum(
        &self,
        norm: &LayerNorm,
        verdict: &mut Verdict,
    ) -> Result<Vec<f32>, Error> {
        let gate = self.case.task.operation().is_gated();
        let forward =
            Forward { residual: true, gate, statistics: true, without_y: true, ..Forward::default() };
        let call = self.call(Operation::Forward(forward))?;
        let buffers =
            ForwardBuffers::from_given(self.case.rows as u64, &forward, |tensor| call.given(tensor))
                .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        let (of_sum, results) = self.execute(&norm.prepare_forward(&buffers)?, &call).await?;
        verdict.failures.extend(of_sum.failures);
        let (dtype, sum) = results
            .get(Tensor::Sum)
            .ok_or(Error::MissingBuffer { buffer: "sum", why: "what is normalized is read from it" })?;
        self.judge_sum(&call, dtype, sum, verdict)?;
        Ok(sum.to_vec())
    }

    /// Those that forward saves of the case's x, and what else of that call is not as it should be.
    pub(super) async fn saved_statistics(&self, norm: &LayerNorm) -> Result<(Vec<f32>, Vec<String>), Error> {
        let given_statistics = self.case.task.operation().has_given_statistics();
        // A gate before the norm is part of what is normalized.
        let order = self.case.task.operation().gate_input();
        let gate_input = order.filter(|order| *order == GateOrder::Before);
        let plain = Forward { statistics: true, without_y: true, ..Forward::default() };
        let forward = Forward { given_statistics, gate_input, ..plain };
        let call = self.call(Operation::Forward(forward))?;
        let buffers =
            ForwardBuffers::from_given(self.case.rows as u64, &forward, |tensor| call.given(tensor))
                .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        let (verdict, results) = self.execute(&norm.prepare_forward(&buffers)?, &call).await?;
        let saved = results.get(Tensor::Statistics).map(|(_, values)| values.to_vec());
        let saved = saved.ok_or(Error::MissingBuffer { buffer: "statistics", why: "backward reads them" })?;
        Ok((saved, verdict.failures))
    }

    pub(super) fn judge_sum(
        &self,
        call: &Call,
        dtype: Dtype,
        sum: &[f32],
        verdict: &mut Verdict,
    ) -> Result<(), Error> {
        let (x, residual) = (call.needed(Tensor::X)?, call.needed(Tensor::Residual)?);
        let cols = self.cols;
        let gates = reference::gates(&self.exact(), self.case.rows, call.values(Tensor::Gate));
        verdict.judge(Tensor::Sum, dtype, cols, sum, |row, column| {
            let i = row * cols + column;
            let (x, residual) = (gates.at(row, column) * x[i].to_f64(), residual[i].to_f64());
            Expected { value: x + residual, terms: x.abs() + residual.abs(), flushed: 3.0 * SMALLEST_NORMAL }
        });
        Ok(())
    }
}
