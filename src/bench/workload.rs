//! What is timed.

use crate::error::Error;
use crate::types::{Activation, Affine, Channels, Dtype, Normalization, Problem, by_name};
use std::fmt;
use std::str::FromStr;

/// A call, told from others by the tensors of rows that it reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// x to y, without statistics, as in inference.
    Forward,
    /// x and residual to sum and y.
    ForwardResidual,
    /// x and dy to dx, and to dgain and dbias as far as the problem has them.
    Backward,
    /// x and dy to dx alone, as where parameters are frozen.
    BackwardDx,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 4] = [Self::Forward, Self::ForwardResidual, Self::Backward, Self::BackwardDx];

    /// `forward`, `forward_residual`, `backward` or `backward_dx`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ForwardResidual => "forward_residual",
            Self::Backward => "backward",
            Self::BackwardDx => "backward_dx",
        }
    }

    /// How many tensors of rows are read.
    #[must_use]
    pub const fn inputs(self) -> usize {
        match self {
            Self::Forward => 1,
            Self::ForwardResidual | Self::Backward | Self::BackwardDx => 2,
        }
    }

    /// How many tensors of rows are written.
    #[must_use]
    pub const fn outputs(self) -> usize {
        match self {
            Self::Forward | Self::Backward | Self::BackwardDx => 1,
            Self::ForwardResidual => 2,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("operation", &Self::ALL, Self::name, name)
    }
}

/// An operation on rows of one shape and storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// What is called.
    pub operation: Operation,
    /// What it computes.
    pub problem: Problem,
    /// On how many rows.
    pub rows: u64,
}

impl Workload {
    /// Layer norm with gain and bias, RMS norm with a gain, or L2 without, as models have them; parameters in
    /// the rows' storage.
    #[must_use]
    pub fn new(
        operation: Operation,
        normalization: Normalization,
        dtype: Dtype,
        rows: u64,
        cols: u32,
    ) -> Self {
        let affine = match normalization {
            Normalization::Layer => Affine::GainBias,
            Normalization::Rms => Affine::Gain,
            Normalization::L2 => Affine::None,
        };
        let eps = normalization.usual_eps();
        let problem =
            Problem { cols, dtype, parameter_dtype: dtype, normalization, affine, eps, ..Problem::default() };
        Self { operation, problem, rows }
    }

    /// The same with gain and bias in another storage: float32, or that of the rows. Models in mixed
    /// precision keep them in float32 beside rows in 16 bits.
    #[must_use]
    pub const fn with_parameter_dtype(mut self, parameter_dtype: Dtype) -> Self {
        self.problem.parameter_dtype = parameter_dtype;
        self
    }

    /// The same with gain and bias for each channel: group norm and instance norm, of rows that are groups.
    #[must_use]
    pub const fn with_channels(mut self, channels: Channels) -> Self {
        self.problem.channels = Some(channels);
        self
    }

    /// The same with an activation after gain and bias.
    #[must_use]
    pub const fn with_activation(mut self, activation: Activation) -> Self {
        self.problem.activation = activation;
        self
    }

    /// A name that tells it from others: `forward/layer/f32/4096x1024`,
    /// `forward/layer/f16_f32_parameters/4096x1024`, `forward/layer/f32/512x8192/256_channels_in_32/silu`.
    #[must_use]
    pub fn name(&self) -> String {
        let Problem { cols, dtype, parameter_dtype, normalization, channels, activation, .. } = self.problem;
        let activation = if activation.is_some() { format!("/{activation}") } else { String::new() };
        let parameters = if parameter_dtype == dtype { "" } else { "_f32_parameters" };
        let (operation, normalization) = (self.operation.name(), normalization.name());
        let channels = channels.map_or_else(String::new, |Channels { count, groups, .. }| {
            format!("/{count}_channels_in_{groups}")
        });
        format!("{operation}/{normalization}/{dtype}{parameters}/{}x{cols}{channels}{activation}", self.rows)
    }

    /// Whether there is something to time.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a field is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        self.problem.validate()?;
        self.problem.check_rows(self.rows)?;
        if self.problem.channels.is_some_and(Channels::is_blocked) {
            let needs = "groups whose rows take turns: outputs are checked by blocks of rows";
            return Err(Error::invalid("channels of a workload", "samples", needs));
        }
        // So that every size in bytes, all tensors together, is far below 2^63.
        let most = (1_u64 << 40) / u64::from(self.problem.cols);
        if self.rows == 0 || self.rows > most {
            return Err(Error::invalid(
                "rows",
                self.rows,
                format!("1 to {most} for {} cols", self.problem.cols),
            ));
        }
        Ok(())
    }

    /// Bytes of one tensor of rows.
    #[must_use]
    pub const fn tensor_bytes(&self) -> u64 {
        self.rows * self.problem.cols as u64 * self.problem.dtype.size() as u64
    }

    /// The bytes that any kernel would have to move: the tensors of rows, each once. gain, bias, their
    /// gradients, statistics and scratch are not among them.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.tensor_bytes() * (self.operation.inputs() + self.operation.outputs()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(operation: Operation, rows: u64, cols: u32) -> Workload {
        Workload::new(operation, Normalization::Layer, Dtype::F16, rows, cols)
    }

    #[test]
    fn bytes_count_each_tensor_of_rows_once() {
        let bytes = |operation| workload(operation, 3, 5).bytes();
        assert_eq!(Operation::ALL.map(bytes), [60, 120, 90, 90]);
    }

    #[test]
    fn rows_and_cols_are_limited() {
        assert!(workload(Operation::Forward, 1, 1).validate().is_ok());
        for (rows, cols) in [(0, 1), (1, 0), (u64::MAX, 1), (1 << 40, 2), (1, u32::MAX)] {
            let error = workload(Operation::Forward, rows, cols).validate().unwrap_err();
            assert!(error.is_invalid(), "{rows}x{cols}: {error}");
        }
    }

    #[test]
    fn names_tell_apart() {
        assert_eq!(workload(Operation::BackwardDx, 3, 5).name(), "backward_dx/layer/f16/3x5");
        let mixed = workload(Operation::Forward, 3, 5).with_parameter_dtype(Dtype::F32);
        assert_eq!(mixed.name(), "forward/layer/f16_f32_parameters/3x5");
        assert!(mixed.validate().is_ok());
        let of = |rows| {
            let channels = Channels::new(6, 3, 4);
            Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, rows, 8)
                .with_channels(channels)
        };
        assert_eq!(of(9).name(), "forward/layer/f32/9x8/6_channels_in_3");
        let activated = of(9).with_activation(Activation::Silu);
        assert_eq!(activated.name(), "forward/layer/f32/9x8/6_channels_in_3/silu");
        assert!(of(9).validate().is_ok() && of(8).validate().unwrap_err().is_invalid());
        assert!(mixed.with_parameter_dtype(Dtype::Bf16).validate().unwrap_err().is_invalid());
    }
}
