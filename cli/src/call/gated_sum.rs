//! The gate of a gated sum, and what it multiplies.

use super::rows::samples;
use super::{Call, Common};
use crate::compute::size;
use crate::failure::Failure;
use crate::tensors::{TensorInfo, file_dtype};
use wgpu_layernorm::{Channels, Dtype, RowOrder};

impl Call {
    /// The gate by its name: of each column, or of each column of each sample or row, which the problem says
    /// from here on. Called when gain and bias are known.
    pub(crate) fn gate(&mut self, common: &Common, name: &str) -> Result<TensorInfo, Failure> {
        let wrong = |what: String| Err(Failure::WrongCall(what));
        if !common.normalization.is_of_plain_rows() {
            return wrong("--gate needs --normalization layer, rms or l2".to_owned());
        }
        if self.heads.is_some() {
            return wrong("--gate does not go with --heads".to_owned());
        }
        if common.activation.is_some() {
            return wrong(format!("--gate does not go with --activation {}", common.activation));
        }
        let gate = self.file.find("--gate", name)?;
        let cols = self.problem.cols;
        match self.problem.channels {
            Some(channels) if channels.order == RowOrder::Blocked => {
                let has = samples(&self.x, &gate, cols, self.rows)?;
                let needs = channels.groups as usize;
                if has != needs {
                    return wrong(format!(
                        "{} has a gate for each of {has} samples, needs {needs}, as many as --scale has",
                        gate.label
                    ));
                }
            }
            _ if gate.shape == [cols as usize] => {}
            _ if cols == 1 => {
                return wrong(format!(
                    "{} has rows of 1 value, and a gate of each sample needs 2 or more",
                    self.x.label
                ));
            }
            _ => {
                let samples = size(samples(&self.x, &gate, cols, self.rows)?)?;
                self.problem.channels = Some(match self.gain {
                    Some(_) => Channels::of_gates(samples, cols),
                    None => Channels::of_samples(samples, cols),
                });
            }
        }
        let needs = match &self.gain {
            Some(gain) if gate.dtype != gain.dtype => format!("{} as gain is", file_dtype(gain.dtype)?),
            None if gate.dtype != self.x.dtype && gate.dtype != Dtype::F32 => {
                format!("{} as x is, or F32", file_dtype(self.x.dtype)?)
            }
            _ => {
                self.problem.parameter_dtype = gate.dtype;
                return Ok(gate);
            }
        };
        let has = file_dtype(gate.dtype)?;
        wrong(format!("{} is {has}, needs to be {needs}", gate.label))
    }
}
