//! The flags that say which variant.

use crate::adapters::parse_part;
use crate::words::{Wanted, activations, affines, dtypes, kinds, normalizations, outputs, wanted};
use clap::{Args, ValueEnum};
use wgpu_layernorm::plan::{AdapterKind, SubgroupSizes, Tensor};
use wgpu_layernorm::{Activation, Affine, Dtype, Normalization, Problem};

#[derive(Args, Debug)]
pub(crate) struct Choice {
    /// The split ones share a row among workgroups: the first of two leaves row_partials, which the second
    /// reads. channel-sums has the sums of dgain and dbias over channels, and backward then dx alone.
    /// reduce-parameters adds up the partial sums of dgain, dbias and dgate that either leaves; with
    /// --shared-affine those of dgate, and reduce-shared then those of dgain and dbias [default: forward]
    #[arg(long, value_enum, help_heading = "Kernel")]
    pub(super) operation: Option<OperationFlag>,

    /// Values in a row
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(Problem::MAX_COLS)),
        allow_negative_numbers = true,
        required_unless_present = "all",
        help_heading = "Kernel"
    )]
    pub(super) cols: Option<u32>,

    /// Storage of x, residual, sum, y, dy and dx [default: f32]
    #[arg(long, value_parser = dtypes(), help_heading = "Kernel")]
    pub(super) dtype: Option<Dtype>,

    /// Storage of gain, bias, gate and their gradients, f32 or that of the rows [default: that of the rows]
    #[arg(long, value_parser = dtypes(), help_heading = "Kernel")]
    pub(super) parameter_dtype: Option<Dtype>,

    /// Layer norm, RMS norm, which takes the mean as 0, or l2, x divided by its Euclidean norm [default:
    /// layer]
    #[arg(long, value_parser = normalizations(), help_heading = "Kernel")]
    pub(super) normalization: Option<Normalization>,

    /// Which of gain and bias there are [default: gain_bias]
    #[arg(long, value_parser = affines(), help_heading = "Kernel")]
    pub(super) affine: Option<Affine>,

    /// What is applied to each value after gain and bias: silu, z * sigmoid(z) [default: none]
    #[arg(long, value_parser = activations(), help_heading = "Kernel")]
    pub(super) activation: Option<Activation>,

    /// Channels of a sample, where gain and bias have a value for each: group norm, whose rows are groups
    #[arg(long, value_name = "C", requires = "groups", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Kernel")]
    pub(super) channels: Option<u32>,

    /// Groups of a sample, which divide its channels evenly; --cols has C / G channels
    #[arg(long, value_name = "G", requires = "channels", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Kernel")]
    pub(super) groups: Option<u32>,

    /// Groups share gain and bias, one for each column, and only a gate has one for each group: with channels
    /// of one column each
    #[arg(long, requires = "groups", help_heading = "Kernel")]
    pub(super) shared_affine: bool,

    /// Elements at once, 1, 2, 4, 8 or 16: every row starts on a multiple of N of them, where 8 stands for 16
    /// bytes in every type, and 16 for 32, which words of 64 bits take [default: 8, as far as N divides cols]
    #[arg(long, value_name = "N", help_heading = "Kernel")]
    pub(super) vector_width: Option<u32>,

    /// Rows may lie inside outer ones, as heads do, and columns apart, as channels do: docs/emit.md
    #[arg(long, help_heading = "Kernel")]
    pub(super) strided: bool,

    /// Columns may lie inside outer ones, as the positions of a channel do in each sample, or in
    /// reduce-parameters the dgain and dbias of heads and samples: docs/emit.md
    #[arg(long, conflicts_with = "strided", help_heading = "Kernel")]
    pub(super) outer_columns: bool,

    /// Rows lie side by side inside outer ones, and columns apart, as positions of samples do whose channels
    /// come first: an access has a column of four rows: docs/emit.md
    #[arg(long, conflicts_with_all = ["strided", "outer_columns", "vector_width"], help_heading = "Kernel")]
    pub(super) across: bool,

    /// Forward: add a residual to x first, and write the sum
    #[arg(long, help_heading = "Kernel")]
    pub(super) residual: bool,

    /// Forward: write mean and rstd
    #[arg(long, help_heading = "Kernel")]
    pub(super) statistics: bool,

    /// More options of the operation, by the names that labels have; a wrong one lists them
    #[arg(long, value_name = "NAME", num_args = 1.., help_heading = "Kernel")]
    pub(super) option: Vec<String>,

    /// The output that is written over x: y or sum in forward, dx in backward
    #[arg(long, value_parser = outputs(), value_name = "OUTPUT", help_heading = "Kernel")]
    pub(super) x_in: Option<Tensor>,

    /// Forward: the output that is written over the residual, y or sum
    #[arg(long, value_parser = outputs(), value_name = "OUTPUT", help_heading = "Kernel")]
    pub(super) residual_in: Option<Tensor>,

    /// Backward: the output that is written over dy, dx
    #[arg(long, value_parser = outputs(), value_name = "OUTPUT", help_heading = "Kernel")]
    pub(super) dy_in: Option<Tensor>,

    /// Backward: what happens to dx [default: overwrite]
    #[arg(long, value_parser = wanted(), help_heading = "Kernel")]
    pub(super) dx: Option<Wanted>,

    /// Backward: what happens to dgain [default: overwrite, if there is a gain]
    #[arg(long, value_parser = wanted(), help_heading = "Kernel")]
    pub(super) dgain: Option<Wanted>,

    /// Backward: what happens to dbias [default: overwrite, if there is a bias]
    #[arg(long, value_parser = wanted(), help_heading = "Kernel")]
    pub(super) dbias: Option<Wanted>,

    /// Plan for this adapter, by a part of its description, and not for the limits below
    #[arg(
        long,
        value_name = "SUBSTRING",
        value_parser = parse_part,
        help_heading = "Adapter",
        conflicts_with_all = [
            "kind", "subgroup_sizes", "full_subgroups", "shader_f16", "unrolls_loops", "max_invocations", "max_workgroup_bytes",
            "max_storage_buffers", "max_workgroups", "max_binding_bytes", "storage_alignment",
        ]
    )]
    pub(super) adapter: Option<String>,

    /// Which end of the ladder: many threads a row, or few [default: gpu]
    #[arg(long, value_parser = kinds(), help_heading = "Adapter")]
    pub(super) kind: Option<AdapterKind>,

    /// The smallest and the largest subgroup, such as 32..32, or none: without subgroup operations [default:
    /// none]
    #[arg(long, value_name = "MIN..MAX|none", value_parser = parse_subgroup_sizes, help_heading = "Adapter")]
    pub(super) subgroup_sizes: Option<Subgroups>,

    /// Every workgroup is made of full subgroups, as Vulkan's REQUIRE_FULL_SUBGROUPS demands: rows within one
    /// take no barrier
    #[arg(long, help_heading = "Adapter")]
    pub(super) full_subgroups: bool,

    /// The device has 16-bit floats
    #[arg(long, help_heading = "Adapter")]
    pub(super) shader_f16: bool,

    /// The driver's compiler unrolls loops with constant trips, as Mesa's for AMD does; else the text has
    /// them written out, which spills registers there in some kernels
    #[arg(long, help_heading = "Adapter")]
    pub(super) unrolls_loops: bool,

    /// Invocations in a workgroup [default: 256]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) max_invocations: Option<u32>,

    /// Bytes of workgroup memory [default: 16384]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) max_workgroup_bytes: Option<u32>,

    /// Storage buffers in a compute stage [default: 8]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) max_storage_buffers: Option<u32>,

    /// Workgroups in one dimension of a dispatch [default: 65535]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) max_workgroups: Option<u32>,

    /// Bytes of one storage binding [default: 134217728]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) max_binding_bytes: Option<u64>,

    /// What the offset of a storage binding must be a multiple of, in bytes [default: 256]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    pub(super) storage_alignment: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OperationFlag {
    Forward,
    ForwardSplitStatistics,
    ForwardSplitApply,
    Backward,
    BackwardSplitSums,
    BackwardSplitApply,
    ChannelSums,
    ReduceParameters,
    ReduceShared,
}

impl OperationFlag {
    pub(super) const fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardSplitStatistics | Self::ForwardSplitApply)
    }

    /// Whether it adds up partial sums.
    pub(super) const fn is_reduction(self) -> bool {
        matches!(self, Self::ReduceParameters | Self::ReduceShared)
    }
}

/// `--subgroup-sizes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subgroups {
    None,
    Sizes(SubgroupSizes),
}

fn parse_subgroup_sizes(text: &str) -> Result<Subgroups, String> {
    if text == "none" {
        return Ok(Subgroups::None);
    }
    let sizes = text.split_once("..").and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    sizes.and_then(|(min, max)| SubgroupSizes::new(min, max)).map(Subgroups::Sizes).ok_or_else(|| {
        "needs to be none, or two powers of two from 4 to 128, the smaller first, such as 32..64".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subgroup_sizes_are_two_powers_of_two_or_none() {
        assert_eq!(parse_subgroup_sizes("none"), Ok(Subgroups::None));
        let sizes = SubgroupSizes { min: 8, max: 32 };
        assert_eq!(parse_subgroup_sizes("8..32"), Ok(Subgroups::Sizes(sizes)));
        for wrong in ["", "32", "32..8", "2..4", "64..256", "6..8", "a..b", "8..", "-8..8"] {
            assert!(parse_subgroup_sizes(wrong).is_err(), "{wrong}");
        }
    }
}
