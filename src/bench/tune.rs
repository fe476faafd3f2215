//! Looking for a rung that beats the ladder's.

use super::check::Inputs;
use super::measure::{Bench, Options};
use super::set::Set;
use super::workload::Workload;
use crate::error::Error;
use crate::gpu::{LayerNorm, adapter_info_of_device, tuned_adapter};
use crate::plan::{Plan, RowShape, RowSplit, Rung, Tuning, TuningEntry, TuningKey, WIDE};
use crate::types::{Dtype, Element};
use half::{bf16, f16};
use std::sync::Arc;
use std::time::Duration;

/// What [`Bench::tune`] has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// For a [`Tuning`].
    pub entry: TuningEntry,
    /// Rungs that were tried beside the ladder's.
    pub candidates: usize,
    /// Those of them whose plan does not run or gives wrong results, and why. None is expected: each is a
    /// fault of a kernel or of a driver.
    pub failures: Vec<(Rung, String)>,
}

/// Rounds of a first look at a candidate.
const FIRST_ROUNDS: usize = 3;
/// Candidates that are timed at length after it.
const FINALISTS: usize = 3;

impl Bench {
    /// The key of a workload on this device, whose rows lie dense.
    #[must_use]
    pub fn tuning_key(&self, workload: &Workload) -> TuningKey {
        let problem = &workload.problem;
        TuningKey {
            adapter: tuned_adapter(&adapter_info_of_device(self.context().device())),
            operation: workload.operation.name().to_owned(),
            normalization: problem.normalization,
            dtype: problem.dtype,
            cols: problem.cols,
            // Of a problem that is none there are no rungs.
            vector_width: RowShape::new(problem, WIDE, &self.context().caps())
                .map_or(1, |shape| shape.vector_width),
        }
    }

    /// Looks for a rung that runs the workload faster than the ladder's by `margin`, a fraction.
    ///
    /// Each of [`Plan::candidates`] is checked as [`Bench::measure`] checks, and those that are right get a
    /// few rounds in turn with the ladder's plan. The best three are timed in turn with it for
    /// [`Options::budget`] each, and the best of those once more. Only that last time counts, because the
    /// best of several noisy times is biased. Before each step `go_on` is asked with the number of the
    /// candidate and how many there are; if it says no, nothing is found: `None`.
    ///
    /// # Errors
    /// Those of [`Bench::measure`]; also [`Error::Device`] where the ladder's own plan gives wrong results.
    pub async fn tune(
        &mut self,
        workload: &Workload,
        margin: f64,
        go_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<Tuned>, Error> {
        use Dtype::{Bf16, F16, F32};
        workload.validate()?;
        if workload.problem.channels.is_some() {
            let needs =
                "none for tuning: a table is of rows whose gain and bias have a value for each column";
            return Err(Error::invalid("channels", "given", needs));
        }
        match (workload.problem.dtype, workload.problem.parameter_dtype) {
            (F32, F32) => self.tune_typed::<f32, f32>(workload, margin, go_on).await,
            (F16, F16) => self.tune_typed::<f16, f16>(workload, margin, go_on).await,
            (Bf16, Bf16) => self.tune_typed::<bf16, bf16>(workload, margin, go_on).await,
            (dtype, parameter_dtype) => Err(Error::invalid("parameter_dtype", parameter_dtype, dtype)),
        }
    }

    async fn tune_typed<T: Element, P: Element>(
        &mut self,
        workload: &Workload,
        margin: f64,
        mut go_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<Tuned>, Error> {
        let inputs = Inputs::<T, P>::new(workload)?;
        let ladder = self.norm(workload, None)?;
        let (first, plans) = Set::first(self.context(), &ladder, workload, &inputs)?;
        let own = plans[0];
        let rungs = Plan::candidates(&workload.problem, own.operation, WIDE, &self.context().caps())?;
        if !go_on(0, rungs.len()) {
            return Ok(None);
        }
        let (_, failures) = first.check(self.context(), &inputs).await?;
        if !failures.is_empty() {
            return Err(Error::Device { doing: "checking the ladder's plan", message: failures.join("; ") });
        }
        let sets = self.sets(&ladder, workload, first)?;
        let mut failures = Vec::new();
        let mut right: Vec<(f64, Rung)> = Vec::new();
        for (i, rung) in rungs.iter().copied().enumerate().skip(1) {
            if !go_on(i, rungs.len()) {
                return Ok(None);
            }
            match self.calls(workload, rung, &sets, Some(&inputs)).await {
                Ok(calls) => {
                    right.push((self.speedup(&sets, &calls, FIRST_ROUNDS, Duration::ZERO).await?, rung));
                }
                Err(error) => failures.push((rung, error.to_string())),
            }
        }
        right.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        right.truncate(FINALISTS);
        let mut best: Option<(f64, Rung)> = None;
        for (_, rung) in right {
            if !go_on(rungs.len(), rungs.len()) {
                return Ok(None);
            }
            let calls = self.calls::<T, P>(workload, rung, &sets, None).await?;
            let speedup = self.long_speedup(&sets, &calls).await?;
            if best.is_none_or(|(best, _)| speedup > best) {
                best = Some((speedup, rung));
            }
        }
        let mut entry =
            TuningEntry { key: self.tuning_key(workload), rows: workload.rows, rung: None, speedup: 1.0 };
        if let Some((speedup, rung)) = best.filter(|(speedup, _)| *speedup >= 1.0 + margin) {
            log::debug!("{entry}: {rung:?}: {speedup:.3}");
            let calls = self.calls::<T, P>(workload, rung, &sets, None).await?;
            let speedup = self.long_speedup(&sets, &calls).await?;
            if speedup >= 1.0 + margin {
                entry = TuningEntry { rung: Some(rung), speedup, ..entry };
            }
        }
        Ok(Some(Tuned { entry, candidates: rungs.len() - 1, failures }))
    }

    /// A normalization that plans by the ladder or, for this workload, by a rung.
    fn norm(&self, workload: &Workload, rung: Option<Rung>) -> Result<Arc<LayerNorm>, Error> {
        let mut tuning = Tuning::default();
        if rung.is_some() {
            let key = self.tuning_key(workload);
            tuning.insert(TuningEntry { key, rows: workload.rows, rung, speedup: 1.0 })?;
        }
        let context = self.context().clone().with_row_split(RowSplit::Never).with_tuning(tuning);
        context.layer_norm(&workload.problem)
    }

    /// The workload's calls by a rung over the buffers of `sets`, the first of them checked against `inputs`.
    async fn calls<T: Element, P: Element>(
        &self,
        workload: &Workload,
        rung: Rung,
        sets: &[Set],
        inputs: Option<&Inputs<T, P>>,
    ) -> Result<Vec<Set>, Error> {
        let norm = self.norm(workload, Some(rung))?;
        let mut calls = Vec::with_capacity(sets.len());
        for set in sets {
            let (call, plans) = set.call_of(&norm, workload)?;
            // The ladder in its place would be timed against itself.
            if !norm.kernels().is_tuned(norm.problem(), &plans[0]) {
                return Err(Error::Device { doing: "planning by a rung", message: format!("{rung:?}") });
            }
            if let (Some(inputs), true) = (inputs, calls.is_empty()) {
                let (_, failures) = call.check(self.context(), inputs).await?;
                if !failures.is_empty() {
                    let message = failures.join("; ");
                    return Err(Error::Device { doing: "checking a candidate", message });
                }
            }
            calls.push(call);
        }
        Ok(calls)
    }

    async fn long_speedup(&self, ladder: &[Set], calls: &[Set]) -> Result<f64, Error> {
        self.speedup(ladder, calls, Options::LEAST_ROUNDS, self.options().budget).await
    }

    /// The time of the ladder's plan by that of the rung's.
    async fn speedup(
        &self,
        ladder: &[Set],
        calls: &[Set],
        least_rounds: usize,
        budget: Duration,
    ) -> Result<f64, Error> {
        let by_ladder = |set: usize, pass: &mut wgpu::ComputePass<'_>| ladder[set].call.record(pass);
        let by_rung = |set: usize, pass: &mut wgpu::ComputePass<'_>| calls[set].call.record(pass);
        let duel = self.duel(by_ladder, by_rung, ladder.len(), least_rounds, budget).await?;
        let [by_ladder, by_rung] = duel.times;
        Ok(by_ladder.median / by_rung.median)
    }
}
