//! Reports from what `wgpu_layernorm` measures and verifies.

use crate::format::{
    Adapter, CaseFailure, Failure, FailureKind, KernelVerdict, Measurement, Mode, OfChannels, OutputError,
    Timing, Unsupported, VerifyRun,
};
use crate::plan::Plan;
use serde_json::{Map, Value, json};
use wgpu_layernorm::bench::{self, Workload};
use wgpu_layernorm::plan;
use wgpu_layernorm::verify::{self, Case, Outcome};
use wgpu_layernorm::{Error, wgpu};

impl Adapter {
    /// What a report says of an adapter; `host` is where it runs.
    #[must_use]
    pub fn of(adapter: &wgpu::Adapter, host: &str) -> Self {
        let info = adapter.get_info();
        let (features, limits) = (adapter.features(), adapter.limits());
        Self {
            subgroup_sizes: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            name: info.name,
            backend: info.backend.to_string(),
            device_type: format!("{:?}", info.device_type),
            driver: info.driver,
            driver_info: info.driver_info,
            host: host.to_owned(),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
        }
    }
}

impl VerifyRun {
    /// A run of the library's cases, of which none has run so far.
    #[must_use]
    pub fn of_all(mode: Mode) -> Self {
        Self { all_cases: verify::cases().len(), ..Self::new(mode) }
    }

    /// Adds what became of a case.
    pub fn add(&mut self, case: &Case, result: &Result<Outcome, Error>) {
        let (kernel, dtype) = match result {
            Ok(outcome) => (Some(outcome.kernel.name()), outcome.dtype),
            Err(_) => (None, case.problem().dtype),
        };
        let group = self.group(kernel, dtype.name());
        group.cases += 1;
        let failures = match result {
            Ok(outcome) => {
                for error in &outcome.errors {
                    keep_worst(&mut group.errors, error);
                }
                outcome.failures.clone()
            }
            Err(error) if error.is_unsupported() => {
                group.unsupported += 1;
                let reason = error.to_string();
                match self.unsupported.iter_mut().find(|unsupported| unsupported.reason == reason) {
                    Some(unsupported) => unsupported.cases.push(case.name()),
                    None => self.unsupported.push(Unsupported { reason, cases: vec![case.name()] }),
                }
                return;
            }
            Err(error) => vec![error.to_string()],
        };
        if !failures.is_empty() {
            group.failed += 1;
            self.failures.push(CaseFailure { case: case.name(), failures });
        }
    }

    fn group(&mut self, kernel: Option<&str>, dtype: &str) -> &mut KernelVerdict {
        let is_same =
            |group: &KernelVerdict| (group.kernel.as_deref(), group.dtype.as_str()) == (kernel, dtype);
        let at = self.kernels.iter().position(is_same).unwrap_or_else(|| {
            self.kernels.push(KernelVerdict {
                kernel: kernel.map(str::to_owned),
                dtype: dtype.to_owned(),
                cases: 0,
                failed: 0,
                unsupported: 0,
                errors: Vec::new(),
            });
            self.kernels.len() - 1
        });
        &mut self.kernels[at]
    }
}

fn keep_worst(errors: &mut Vec<OutputError>, error: &verify::OutputError) {
    match errors.iter_mut().find(|worst| worst.output == error.tensor.name()) {
        // By its share of what is allowed: a group may have outputs in several types.
        Some(worst) if error.units / error.allowed > worst.units / worst.allowed => *worst = error.into(),
        Some(_) => {}
        None => errors.push(error.into()),
    }
}

impl From<&verify::OutputError> for OutputError {
    fn from(error: &verify::OutputError) -> Self {
        Self { output: error.tensor.name().to_owned(), units: error.units, allowed: error.allowed }
    }
}

impl Measurement {
    /// What became of a workload.
    #[must_use]
    pub fn of(workload: &Workload, result: &Result<bench::Measurement, Error>) -> Self {
        let problem = &workload.problem;
        let mut measurement = Self {
            operation: workload.operation.name().to_owned(),
            normalization: problem.normalization.name().to_owned(),
            affine: problem.affine.name().to_owned(),
            dtype: problem.dtype.name().to_owned(),
            parameter_dtype: problem.parameter_dtype.name().to_owned(),
            channels: problem
                .channels
                .map(|channels| OfChannels { count: channels.count, groups: channels.groups }),
            activation: problem.activation.is_some().then(|| problem.activation.name().to_owned()),
            rows: workload.rows,
            cols: problem.cols,
            kernel: None,
            plan: None,
            errors: Vec::new(),
            timing: None,
            failure: None,
        };
        match result {
            Ok(result) => {
                measurement.kernel = result.plans.first().map(|plan| plan.kernel.name().to_owned());
                measurement.plan = Plan::of(&result.plans);
                measurement.errors = result.errors.iter().map(OutputError::from).collect();
                measurement.timing = result.timing.as_ref().map(Timing::from);
                if measurement.timing.is_none() {
                    let message = result.failures.join("; ");
                    measurement.failure = Some(Failure { kind: FailureKind::WrongResult, message });
                }
            }
            Err(error) => {
                let kind =
                    if error.is_unsupported() { FailureKind::Unsupported } else { FailureKind::Failed };
                measurement.failure = Some(Failure { kind, message: error.to_string() });
            }
        }
        measurement
    }
}

impl From<&bench::Timing> for Timing {
    fn from(timing: &bench::Timing) -> Self {
        Self {
            median_seconds: timing.call.median,
            p10_seconds: timing.call.p10,
            p90_seconds: timing.call.p90,
            bytes: timing.bytes,
            gigabytes_per_second: timing.gigabytes_per_second(),
            copy_median_seconds: timing.copy.median,
            copy_p10_seconds: timing.copy.p10,
            copy_p90_seconds: timing.copy.p90,
            copy_gigabytes_per_second: timing.copy_gigabytes_per_second(),
            copy_ratio: timing.copy_ratio(),
            copy_form: timing.copy_form.name(),
            clock: timing.clock.name().to_owned(),
            rounds: timing.rounds,
            calls_per_submit: timing.calls[0],
            copies_per_submit: timing.calls[1],
            buffer_sets: timing.sets,
        }
    }
}

impl Plan {
    /// The plans of a call: the first, and in it those that follow.
    #[must_use]
    pub fn of(plans: &[plan::Plan]) -> Option<Self> {
        let (first, others) = plans.split_first()?;
        Some(Self { then: others.iter().map(Self::one).collect(), ..Self::one(first) })
    }

    fn one(plan: &plan::Plan) -> Self {
        Self {
            label: plan.label(),
            kernel: plan.kernel.name().to_owned(),
            threads_per_row: plan.threads_per_row,
            rows_per_workgroup: plan.rows_per_workgroup,
            vector_width: plan.vector_width,
            steps: plan.steps,
            reduction: plan.reduction.name().to_owned(),
            more: more(plan),
            then: Vec::new(),
        }
    }
}

/// What a plan has beyond the fields that every report shows: a new field of the library's plans goes here.
fn more(plan: &plan::Plan) -> Map<String, Value> {
    let entries = [
        ("workgroup_size", json!(plan.workgroup_size())),
        ("workgroup_bytes", json!(plan.workgroup_bytes())),
        ("values_per_thread", json!(plan.values_per_thread())),
        ("block_rows", json!(plan.block_rows)),
        ("row_storage", json!(plan.storage(plan::Tensor::X).name())),
        ("parameter_storage", json!(plan.storage(plan::Tensor::Gain).name())),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
