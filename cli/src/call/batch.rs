//! Batch norm's own flags: whose statistics channels are normalized by.

use super::Call;
use crate::failure::Failure;
use crate::tensors::{TensorInfo, file_dtype};
use crate::words::NormalizationFlag;
use clap::{Args, ValueEnum};
use wgpu_layernorm::Dtype;

/// Whose statistics they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Those of the batch
    Training,
    /// The running ones
    Inference,
}

/// Of `forward` and `backward`.
#[derive(Args, Debug)]
pub(crate) struct BatchFlags {
    /// With batch: whose statistics channels are normalized by [default: training]
    #[arg(long, value_enum)]
    pub(super) mode: Option<Mode>,

    /// With batch: running mean of each channel, `[channels]` in F32. In inference it is what x is normalized
    /// by, in training what forward updates
    #[arg(long, value_name = "NAME", requires = "running_variance")]
    running_mean: Option<String>,

    /// With batch: running variance of each channel, likewise
    #[arg(long, value_name = "NAME", requires = "running_mean")]
    running_variance: Option<String>,
}

impl BatchFlags {
    /// That they are given to batch norm alone.
    pub(super) fn check(&self, normalization: NormalizationFlag) -> Result<(), Failure> {
        let given = [("--mode", self.mode.is_some()), ("--running-mean", self.running_mean.is_some())];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) if normalization != NormalizationFlag::Batch => {
                Err(Failure::WrongCall(format!("{flag} needs --normalization batch")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the statistics are the running ones.
    pub(super) fn is_inference(&self) -> bool {
        self.mode == Some(Mode::Inference)
    }

    /// The running mean and variance that the call names.
    pub(super) fn find(&self, call: &Call) -> Result<Option<[TensorInfo; 2]>, Failure> {
        let (Some(mean), Some(variance)) = (&self.running_mean, &self.running_variance) else {
            return match self.is_inference() {
                true => Err(Failure::WrongCall(
                    "--mode inference needs --running-mean and --running-variance".to_owned(),
                )),
                false => Ok(None),
            };
        };
        let find = |flag, name| {
            let tensor = call.file.find(flag, name)?;
            if tensor.elements() != call.rows || tensor.dtype != Dtype::F32 {
                return Err(Failure::WrongCall(format!(
                    "{} is {} {:?}, needs to be F32 with {} elements, one for each channel of x",
                    tensor.label,
                    file_dtype(tensor.dtype)?,
                    tensor.shape,
                    call.rows
                )));
            }
            Ok(tensor)
        };
        Ok(Some([find("--running-mean", mean)?, find("--running-variance", variance)?]))
    }
}
