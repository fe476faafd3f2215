//! Where to compute: on an adapter, or on the CPU by the reference.

use crate::adapters::{self, parse_part};
use crate::failure::Failure;
use crate::tensors::zeroed;
use clap::Args;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    AdapterChoice, BackwardResult, Context, Element, Error, ForwardResult, Problem, Real, RowsMut, Statistics,
};

/// Where commands compute whose results do not depend on it.
#[derive(Args, Debug)]
pub(crate) struct AdapterFlag {
    /// auto: a real GPU, else a software adapter, else the CPU reference; cpu: the CPU reference; else a part
    /// of an adapter's description, such as vulkan or its name
    #[arg(long, value_name = "auto|cpu|SUBSTRING", default_value = "auto", value_parser = parse_part)]
    pub(crate) adapter: String,
}

/// What `--adapter` chose.
#[derive(Debug)]
pub(crate) enum Compute {
    Adapter(Context),
    Cpu,
}

impl Compute {
    /// `auto`, `cpu`, or a part of an adapter's description.
    pub(crate) fn choose(adapter: &str) -> Result<Self, Failure> {
        let choice = match adapter {
            "cpu" => return Ok(Self::Cpu),
            "auto" => AdapterChoice::Auto,
            name => AdapterChoice::Named(name.to_owned()),
        };
        adapters::check_environment()?;
        match Context::new_blocking(&choice) {
            Ok(context) => Ok(Self::Adapter(context)),
            Err(Error::NoAdapter { requested, present }) => {
                // WGPU_ADAPTER_NAME may stand behind `auto`: a name that somebody gave is not passed over.
                if choice == AdapterChoice::Auto && requested == "auto" {
                    return Ok(Self::Cpu);
                }
                if present.is_empty() {
                    return Err(adapters::none_found());
                }
                Err(no_match(
                    if choice == AdapterChoice::Auto { "WGPU_ADAPTER_NAME" } else { "--adapter" },
                    &requested,
                    &present,
                ))
            }
            Err(error) => Err(Failure::FailedRun(format!("{error}; --adapter cpu does without a device"))),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Adapter(context) => context.description(),
            Self::Cpu => "the CPU reference (float64)".to_owned(),
        }
    }

    pub(crate) fn forward<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
    ) -> Result<ForwardResult<T>, Failure> {
        match self {
            Self::Adapter(context) => {
                context.forward_blocking(problem, inputs).map_err(|error| explain(&error))
            }
            Self::Cpu => forward_on_cpu(problem, inputs),
        }
    }

    pub(crate) fn backward<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &BackwardInputs<'_, T, P>,
    ) -> Result<BackwardResult<T, P>, Failure> {
        match self {
            Self::Adapter(context) => {
                context.backward_blocking(problem, inputs).map_err(|error| explain(&error))
            }
            Self::Cpu => backward_on_cpu(problem, inputs),
        }
    }
}

/// A number of rows, columns or channels, as a [`Problem`] has them.
pub(crate) fn size(size: usize) -> Result<u32, Failure> {
    u32::try_from(size).map_err(|error| Failure::FailedRun(error.to_string()))
}

/// The failure of a flag that matches none of the adapters that there are.
pub(crate) fn no_match(flag: &str, requested: &str, present: &[String]) -> Failure {
    Failure::WrongCall(format!("{flag}: no adapter matches {requested}; there are: {}", present.join(", ")))
}

pub(crate) fn explain(error: &Error) -> Failure {
    let way_out = if error.is_unsupported() { "; --adapter cpu has no such limit" } else { "" };
    Failure::FailedRun(format!("{error}{way_out}"))
}

/// [`reference::forward`] with results like those of an adapter: rounded to the types of the inputs.
pub(crate) fn forward_on_cpu<T: Element, P: Element>(
    problem: &Problem,
    inputs: &ForwardInputs<'_, T, P>,
) -> Result<ForwardResult<T>, Failure> {
    let stride = problem.cols as usize;
    let mut y = zeroed("y", inputs.rows * stride)?;
    let mut sum = inputs.residual.map(|_| zeroed("sum", inputs.rows * stride)).transpose()?;
    let rows = inputs.rows;
    let mut statistics = zeroed::<[f64; 2]>("statistics", rows)?;
    let of_rows = |_| Ok::<_, Failure>([zeroed("running_mean", rows)?, zeroed("running_variance", rows)?]);
    let mut running = inputs.running.map(of_rows).transpose()?;
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut y, stride },
        sum: sum.as_mut().map(|data| RowsMut { data, stride }),
        statistics: Some(&mut statistics),
        running: running.as_mut().map(|[mean, variance]| [&mut mean[..], &mut variance[..]]),
    };
    reference::forward(problem, inputs, outputs)?;
    let statistics = statistics
        .into_iter()
        .map(|[mean, rstd]| Statistics { mean: f32::from_f64(mean), rstd: f32::from_f64(rstd) })
        .collect();
    let mut result = ForwardResult::new(y);
    (result.sum, result.statistics) = (sum, statistics);
    let as_stored = |values: Vec<f64>| values.into_iter().map(f32::from_f64).collect();
    if let Some([mean, variance]) = running {
        (result.running_mean, result.running_variance) = (Some(as_stored(mean)), Some(as_stored(variance)));
    }
    Ok(result)
}

/// [`reference::backward`] with results like those of an adapter: rounded to the types of the inputs.
pub(crate) fn backward_on_cpu<T: Element, P: Element>(
    problem: &Problem,
    inputs: &BackwardInputs<'_, T, P>,
) -> Result<BackwardResult<T, P>, Failure> {
    let stride = problem.cols as usize;
    let mut dx = zeroed("dx", inputs.rows * stride)?;
    let parameters = problem.parameters() as usize;
    let mut dgain = problem.affine.has_gain().then(|| vec![P::zeroed(); parameters]);
    let mut dbias = problem.affine.has_bias().then(|| vec![P::zeroed(); parameters]);
    let elements = inputs.rows * stride;
    let mut dgate_input = inputs.gate_input.map(|_| zeroed("dgate_input", elements)).transpose()?;
    let mut drow_gain = inputs.row_gain.map(|_| zeroed("drow_gain", inputs.rows)).transpose()?;
    let mut dbranch = inputs.gate.map(|_| zeroed("dbranch", inputs.rows * stride)).transpose()?;
    let mut dgate = inputs.branch.map(|_| vec![P::zeroed(); problem.gates() as usize]);
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx, stride }),
        dgate_input: dgate_input.as_deref_mut().map(|data| RowsMut { data, stride }),
        dbranch: dbranch.as_mut().map(|data| RowsMut { data, stride }),
        dgate: dgate.as_deref_mut(),
        dgain: dgain.as_deref_mut(),
        dbias: dbias.as_deref_mut(),
        drow_gain: drow_gain.as_deref_mut(),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, inputs, outputs)?;
    let drow_gain = drow_gain.map(|drow_gain| drow_gain.into_iter().map(f32::from_f64).collect());
    let mut result = BackwardResult::new(dx);
    result.dgate_input = dgate_input;
    (result.dgain, result.dbias, result.drow_gain) = (dgain, dbias, drow_gain);
    (result.dbranch, result.dgate) = (dbranch, dgate);
    Ok(result)
}
