//! `layernorm forward --codes`: y in codes of 8 bits.

use crate::call::Call;
use crate::compute::Compute;
use crate::failure::Failure;
use crate::tensors::{self, zeroed};
use crate::words::code_dtypes;
use clap::Args;
use safetensors::tensor::TensorView;
use wgpu_layernorm::reference::{self, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{CodeDtype, CodeFormat, Element, ForwardResult, Problem, Real, RowsMut, Statistics};

#[derive(Args, Debug)]
pub(crate) struct CodesFlags {
    /// Write y in codes of 8 bits in its place, y ~ code * unit: whole numbers from -127 to 127, or E4M3 from
    /// -448 to 448
    #[arg(long, value_parser = code_dtypes())]
    codes: Option<CodeDtype>,

    /// The unit of all codes, 2^-126 to 2^126, in place of one for each row
    #[arg(long, value_name = "V", requires = "codes", allow_negative_numbers = true)]
    unit: Option<f32>,
}

/// The codes of a call, and the unit of each row where it was found.
pub(crate) struct Codes {
    dtype: CodeDtype,
    codes: Vec<u8>,
    units: Option<Vec<f32>>,
}

impl CodesFlags {
    /// What is asked for, if anything is, of a call that has it.
    pub(crate) fn format(&self, call: &Call) -> Result<Option<CodeFormat>, Failure> {
        let Some(dtype) = self.codes else { return Ok(None) };
        let wrong = |what: String| Err(Failure::WrongCall(what));
        if call.has_running() {
            let what = "--codes with --running-mean: rows whose statistics are kept or given have no codes";
            return wrong(what.to_owned());
        }
        if call.leaves_values() {
            let what = "--codes with --heads: what lies between the heads has no codes";
            return wrong(what.to_owned());
        }
        let Some(unit) = self.unit else { return Ok(Some(CodeFormat::per_row(dtype))) };
        if !(CodeDtype::LEAST_UNIT..=CodeDtype::MOST_UNIT).contains(&unit) {
            return wrong(format!("--unit is {unit}, needs to be 2^-126 to 2^126"));
        }
        Ok(Some(CodeFormat::with_unit(dtype, unit)))
    }
}

impl Codes {
    /// The tensors of OUT.
    pub(crate) fn views<'a>(
        &'a self,
        shape: &[usize],
        rows_shape: &[usize],
    ) -> Result<Vec<(&'static str, TensorView<'a>)>, Failure> {
        let dtype = match self.dtype {
            CodeDtype::Int8 => safetensors::Dtype::I8,
            CodeDtype::Fp8E4m3 => safetensors::Dtype::F8_E4M3,
            other => return Err(Failure::FailedRun(format!("a file has no type for {other} codes"))),
        };
        let codes = TensorView::new(dtype, shape.to_vec(), &self.codes)
            .map_err(|error| Failure::FailedRun(format!("the codes cannot be written: {error}")))?;
        let mut views = vec![("codes", codes)];
        if let Some(units) = &self.units {
            views.push(("units", tensors::view(rows_shape, units)?));
        }
        Ok(views)
    }
}

/// Runs forward for codes; y of the result is empty.
pub(crate) fn forward<T: Element, P: Element>(
    compute: &Compute,
    call: &Call,
    inputs: &ForwardInputs<'_, T, P>,
    format: &CodeFormat,
) -> Result<(Codes, ForwardResult<T>), Failure> {
    let (codes, units, result) = match compute {
        Compute::Adapter(context) => {
            let got = context.forward_codes_blocking(&call.problem, inputs, format);
            let got = got.map_err(|error| crate::compute::explain(&error))?;
            let mut result = ForwardResult::new(Vec::new());
            (result.sum, result.statistics) = (got.sum, got.statistics);
            (got.codes, got.units, result)
        }
        Compute::Cpu => on_cpu(&call.problem, inputs, format)?,
    };
    let codes = call.place_codes(codes)?;
    Ok((Codes { dtype: format.dtype, codes, units }, result))
}

type OnCpu<T> = (Vec<u8>, Option<Vec<f32>>, ForwardResult<T>);

fn on_cpu<T: Element, P: Element>(
    problem: &Problem,
    inputs: &ForwardInputs<'_, T, P>,
    format: &CodeFormat,
) -> Result<OnCpu<T>, Failure> {
    let (rows, stride) = (inputs.rows, problem.cols as usize);
    let mut y: Vec<f64> = zeroed("y", rows * stride)?;
    let mut sum = inputs.residual.map(|_| zeroed("sum", rows * stride)).transpose()?;
    let mut statistics = zeroed::<[f64; 2]>("statistics", rows)?;
    let outputs = ForwardOutputs {
        sum: sum.as_mut().map(|data| RowsMut { data, stride }),
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride })
    };
    reference::forward(problem, inputs, outputs)?;
    let of_rows = reference::codes(format, stride, &y)?;
    let mut result = ForwardResult::new(Vec::new());
    let as_stored =
        |[mean, rstd]: [f64; 2]| Statistics { mean: f32::from_f64(mean), rstd: f32::from_f64(rstd) };
    (result.sum, result.statistics) = (sum, statistics.into_iter().map(as_stored).collect());
    Ok((of_rows.codes, format.unit.is_none().then_some(of_rows.units), result))
}
