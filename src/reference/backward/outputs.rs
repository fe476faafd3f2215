//! What backward writes, and what of it goes together.

use super::super::{check_given, check_type};
use crate::op::Stored;
use crate::{BackwardInputs, Element, Error, Gradient, Problem, RowsMut};

/// What [`backward`](super::backward()) writes: the gradients that are asked for. Slices may be longer than
/// what is written to them; the rest stays as it is. Written with `..`, over [`default`](Self::default), as
/// [all that grows](crate#what-grows).
#[derive(Debug)]
pub struct BackwardOutputs<'a, O, Q> {
    /// The gradient with respect to x, `[rows, cols]`; with a residual, the gradient of both summands.
    #[doc(alias = "grad_input")]
    pub dx: Option<RowsMut<'a, O>>,
    /// The gradient with respect to `gate_input`, `[rows, cols]`, always overwritten; only with one, and
    /// beside dx.
    #[doc(alias = "dz")]
    pub dgate_input: Option<RowsMut<'a, O>>,
    /// The gradient with respect to what a gate has multiplied, `[rows, cols]`; only with a gate. It is
    /// overwritten.
    pub dbranch: Option<RowsMut<'a, O>>,
    /// The gradient with respect to the gate, of its shape; only with a branch.
    #[doc(alias = "grad_gate")]
    pub dgate: Option<&'a mut [Q]>,
    /// The gradient with respect to gain, `[cols]`; only when [`Problem::affine`] has a gain.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<&'a mut [Q]>,
    /// The gradient with respect to bias, `[cols]`; only when [`Problem::affine`] has a bias.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<&'a mut [Q]>,
    /// The gradient with respect to `row_gain`, `[rows]`, not rounded; only with one.
    #[doc(alias = "grad_g")]
    pub drow_gain: Option<&'a mut [f64]>,
    /// What happens to the values in dx.
    pub dx_gradient: Gradient,
    /// What happens to the values in dgain, dbias, `dgate` and `drow_gain`.
    pub parameter_gradient: Gradient,
}

impl<O, Q> Default for BackwardOutputs<'_, O, Q> {
    /// None, overwritten.
    fn default() -> Self {
        Self {
            dx: None,
            dgate_input: None,
            dbranch: None,
            dgate: None,
            dgain: None,
            dbias: None,
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
        }
    }
}

/// That gate and branch are there exactly where a gradient depends on them.
pub(super) fn check_gated_sum<T: Element, P: Element, D: Element, O, Q>(
    problem: &Problem,
    inputs: &BackwardInputs<'_, T, P, D>,
    outputs: &BackwardOutputs<'_, O, Q>,
) -> Result<(), Error> {
    for (buffer, is_there, is_needed, why) in [
        ("gate", inputs.gate.is_some(), outputs.dbranch.is_some(), "dbranch is it times dx"),
        (
            "branch",
            inputs.branch.is_some(),
            outputs.dgate.is_some(),
            "dgate is the sum over rows of it times dx",
        ),
    ] {
        if is_needed && !is_there {
            return Err(Error::MissingBuffer { buffer, why });
        }
        if is_there {
            problem.check_uses_gate(buffer)?;
            if inputs.row_gain.is_some() {
                return Err(Error::UnusedBuffer { buffer: "row_gain", why: Problem::NO_GAIN_OF_SUMS });
            }
        }
    }
    let gates = problem.gates() as usize;
    check_given("gate", inputs.gate, gates)?;
    check_given("dgate", outputs.dgate.as_deref(), gates)?;
    match inputs.branch {
        Some(_) => check_type("type of branch", T::DTYPE, Stored::AsResidual.dtype(problem)),
        None => Ok(()),
    }
}
