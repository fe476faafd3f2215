//! The codes of host rows.

use super::context::{Context, check_types, no_x};
use super::host::HostCall;
use super::{CodeUnit, ForwardBuffers};
use crate::error::Error;
use crate::op::Shape;
use crate::plan::{Forward, Operation, Tensor};
use crate::types::{CodeFormat, Element, ForwardInputs, Problem, Statistics};

/// What [`Context::forward_codes`] has written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CodesResult<T> {
    /// A code for each y, `[rows, cols]`: [`CodeDtype::multiple`](crate::CodeDtype::multiple) has what each
    /// is.
    pub codes: Vec<u8>,
    /// The unit of each row, `[rows]`; none where it was given.
    #[doc(alias = "scale")]
    pub units: Option<Vec<f32>>,
    /// `x + residual`, rounded to its type, `[rows, cols]`, where there is a residual.
    pub sum: Option<Vec<T>>,
    /// Of each row.
    pub statistics: Vec<Statistics>,
}

impl Context {
    /// Normalizes host rows as [`Context::forward`] does, and writes y in codes of 8 bits instead.
    ///
    /// # Errors
    /// As [`Context::forward`]; also [`Error::UnusedBuffer`] where mean and variance are given or kept.
    pub async fn forward_codes<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
        format: &CodeFormat,
    ) -> Result<CodesResult<T>, Error> {
        check_types::<T, P>(problem)?;
        let norm = self.layer_norm(problem)?;
        let forward = Forward {
            residual: inputs.residual.is_some(),
            without_y: true,
            statistics: true,
            row_gain: inputs.row_gain.is_some(),
            given_statistics: inputs.mean.is_some(),
            running_statistics: inputs.running.is_some(),
            gate_input: inputs.gate_input.map(|_| inputs.gate_order),
            codes: Some(format.dtype),
            given_unit: format.unit.is_some(),
            ..Forward::default()
        };
        let call = HostCall::new(self, Operation::Forward(forward), problem, inputs.rows, &inputs.given())?;
        let rows = inputs.rows as u64;
        let mut buffers =
            ForwardBuffers::from_given(rows, &forward, |tensor| call.given(tensor)).ok_or_else(no_x)?;
        if let (Some(codes), Some(unit)) = (&mut buffers.codes, format.unit) {
            codes.unit = CodeUnit::Given(unit);
        }
        let prepared = norm.prepare_forward(&buffers)?;
        let results = call.run(self, &[&prepared]).await?;
        let codes: Vec<u8> = results.of(Tensor::Codes).unwrap_or_default();
        let (cols, of_row) = (problem.cols as usize, 4 * Shape::words(problem.cols) as usize);
        Ok(CodesResult {
            codes: codes.chunks(of_row).flat_map(|row| &row[..cols]).copied().collect(),
            units: results.of(Tensor::Units),
            sum: results.of(Tensor::Sum),
            statistics: results.of(Tensor::Statistics).unwrap_or_default(),
        })
    }

    /// [`Context::forward_codes`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::forward_codes`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forward_codes_blocking<T: Element, P: Element>(
        &self,
        problem: &Problem,
        inputs: &ForwardInputs<'_, T, P>,
        format: &CodeFormat,
    ) -> Result<CodesResult<T>, Error> {
        pollster::block_on(self.forward_codes(problem, inputs, format))
    }
}
