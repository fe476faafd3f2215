//! The gate of gated RMS norm.

use super::Call;
use crate::failure::Failure;
use crate::tensors::TensorInfo;
use crate::words::{NormalizationFlag, gate_orders};
use clap::Args;
use wgpu_layernorm::GateOrder;

/// The flags of a gate.
#[derive(Args, Debug)]
pub(crate) struct GateFlags {
    /// Gated RMS norm: a factor of silu(NAME), a tensor in the shape and type of x. With rms, without --bias
    /// and --activation
    #[arg(long, value_name = "NAME")]
    gate_input: Option<String>,

    /// With --gate-input: whether it is a factor of what is normalized, as in Mamba 2, or of y, as in
    /// Qwen3-Next
    #[arg(long, requires = "gate_input", value_parser = gate_orders(), default_value = "before")]
    pub(crate) gate_order: GateOrder,
}

impl GateFlags {
    pub(crate) const fn is_given(&self) -> bool {
        self.gate_input.is_some()
    }

    /// The tensor, where the rest of the call goes with it.
    pub(crate) fn find(&self, call: &Call, others: &[(&str, bool)]) -> Result<Option<TensorInfo>, Failure> {
        let Some(name) = &self.gate_input else { return Ok(None) };
        if call.normalization != NormalizationFlag::Rms {
            return Err(Failure::WrongCall("--gate-input needs --normalization rms".to_owned()));
        }
        let activation = ("--activation", call.problem.activation.is_some());
        if let Some((flag, _)) = others.iter().chain([&activation]).find(|(_, given)| *given) {
            return Err(Failure::WrongCall(format!("--gate-input does not go with {flag}")));
        }
        call.rows_like_x("--gate-input", name).map(Some)
    }
}
