//! The kernels that operations run.

use crate::error::Error;
use crate::types::by_name;
use std::fmt;
use std::str::FromStr;

/// The kernels. Each has a body of the same name in `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kernel {
    /// Forward; the row stays in registers between its one read and its one write.
    ForwardCached,
    /// Forward for rows beyond the register budget; x is read twice, the second time from cache where the row
    /// fits.
    ForwardStreamed,
    /// Forward where several workgroups share a row, first dispatch: mean and variance of each chunk of a
    /// row.
    ForwardSplitStatistics,
    /// Forward where several workgroups share a row, second dispatch: from x and the chunks' moments to y.
    /// Where mean and variance are given, the only one: from x to y.
    ForwardSplitApply,
    /// Backward; x and dy of the row stay in registers, beside the partial sums of dgain and dbias.
    BackwardCached,
    /// Backward for rows beyond the register budget; x and dy are read twice.
    BackwardStreamed,
    /// Backward where several workgroups share a row, first dispatch: the sums over the columns of each chunk
    /// of a row.
    BackwardSplitSums,
    /// Backward where several workgroups share a row, second dispatch: from x, dy and the chunks' sums to dx.
    /// Where mean and variance were given, dx is from dy alone.
    BackwardSplitApply,
    /// Backward where a row has several channels: the sums over the columns of each, a partial sum of dgain
    /// and dbias for each sample. Of a row of one channel the other kernels leave them.
    BackwardChannelSums,
    /// The sum over the partial sums of dgain and dbias that backward left.
    BackwardReduceParameters,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("kernel", &Self::ALL, Self::name, name)
    }
}

impl Kernel {
    /// All kernels.
    pub const ALL: [Self; 10] = [
        Self::ForwardCached,
        Self::ForwardStreamed,
        Self::ForwardSplitStatistics,
        Self::ForwardSplitApply,
        Self::BackwardCached,
        Self::BackwardStreamed,
        Self::BackwardSplitSums,
        Self::BackwardSplitApply,
        Self::BackwardChannelSums,
        Self::BackwardReduceParameters,
    ];

    /// The name of the body in `shaders/`, of the pipeline's label, of benches and tests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForwardCached => "forward_cached",
            Self::ForwardStreamed => "forward_streamed",
            Self::ForwardSplitStatistics => "forward_split_statistics",
            Self::ForwardSplitApply => "forward_split_apply",
            Self::BackwardCached => "backward_cached",
            Self::BackwardStreamed => "backward_streamed",
            Self::BackwardSplitSums => "backward_split_sums",
            Self::BackwardSplitApply => "backward_split_apply",
            Self::BackwardChannelSums => "backward_channel_sums",
            Self::BackwardReduceParameters => "backward_reduce_parameters",
        }
    }
}

impl Kernel {
    /// Bytes of an array's `Sums` in the shaders, what a thread adds up over a row at a time.
    pub(crate) const fn sums_bytes(self, of_four_rows: bool) -> u32 {
        match self {
            Self::ForwardStreamed if of_four_rows => 32,
            Self::BackwardStreamed if of_four_rows => 48,
            Self::ForwardCached
            | Self::ForwardStreamed
            | Self::ForwardSplitStatistics
            | Self::ForwardSplitApply => 8,
            Self::BackwardCached
            | Self::BackwardStreamed
            | Self::BackwardSplitSums
            | Self::BackwardSplitApply
            | Self::BackwardChannelSums
            | Self::BackwardReduceParameters => 16,
        }
    }

    /// Whether a thread holds what lies on its steps in registers, so that loops over them are written out
    /// where [`Plan::unroll`] asks for it.
    pub(crate) const fn is_written_out(self) -> bool {
        matches!(
            self,
            Self::ForwardCached | Self::ForwardSplitApply | Self::BackwardCached | Self::BackwardSplitApply
        )
    }

    /// Whether the width of a row decides what of it a thread holds in registers: its text has it as a
    /// constant. Those of the other kernels read it from the uniform.
    pub(crate) const fn holds_rows(self) -> bool {
        matches!(self, Self::ForwardCached | Self::BackwardCached)
    }

    /// Whether several workgroups share a row.
    pub(crate) const fn is_split(self) -> bool {
        matches!(
            self,
            Self::ForwardSplitStatistics
                | Self::ForwardSplitApply
                | Self::BackwardSplitSums
                | Self::BackwardSplitApply
        )
    }
}
