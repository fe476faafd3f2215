//! The library's words as values of flags, under the names that the library has for them.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::str::FromStr;
use wgpu_layernorm::bench::Operation;
use wgpu_layernorm::plan::{AdapterKind, RowSplit, Tensor};
use wgpu_layernorm::{Activation, Affine, CodeDtype, Dtype, Error, GateOrder, Gradient, Normalization};

pub(crate) fn dtypes() -> impl TypedValueParser<Value = Dtype> {
    words(Dtype::ALL.map(Dtype::name))
}

pub(crate) fn normalizations() -> impl TypedValueParser<Value = Normalization> {
    words(Normalization::ALL.map(Normalization::name))
}

pub(crate) fn affines() -> impl TypedValueParser<Value = Affine> {
    words(Affine::ALL.map(Affine::name))
}

pub(crate) fn activations() -> impl TypedValueParser<Value = Activation> {
    words(Activation::ALL.map(Activation::name))
}

pub(crate) fn gate_orders() -> impl TypedValueParser<Value = GateOrder> {
    words(GateOrder::ALL.map(GateOrder::name))
}

pub(crate) fn code_dtypes() -> impl TypedValueParser<Value = CodeDtype> {
    words(CodeDtype::ALL.map(CodeDtype::name))
}

pub(crate) fn row_splits() -> impl TypedValueParser<Value = RowSplit> {
    words(RowSplit::ALL.map(RowSplit::name))
}

pub(crate) fn kinds() -> impl TypedValueParser<Value = AdapterKind> {
    words(AdapterKind::ALL.map(AdapterKind::name))
}

/// What becomes of a gradient that may be left out. Under a name of its own, because clap takes an `Option`
/// in the type of a field for the flag's.
pub(crate) type Wanted = Option<Gradient>;

pub(crate) fn wanted() -> impl TypedValueParser<Value = Wanted> {
    let names = std::iter::once("none").chain(Gradient::ALL.map(Gradient::name));
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "none" => Ok(None),
        name => name.parse().map(Some),
    })
}

/// What an input may lie in.
pub(crate) fn outputs() -> impl TypedValueParser<Value = Tensor> {
    const OUTPUTS: [Tensor; 3] = [Tensor::Y, Tensor::Sum, Tensor::Dx];
    PossibleValuesParser::new(OUTPUTS.map(Tensor::name)).try_map(|name| {
        OUTPUTS.into_iter().find(|output| output.name() == name).ok_or("is no output that an input lies in")
    })
}

/// What `forward` and `backward` compute: a normalization, and which values are a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NormalizationFlag {
    /// Layer norm
    Layer,
    /// RMS norm, which takes the mean as 0
    Rms,
    /// x divided by its Euclidean norm
    L2,
    /// Group norm of [samples, channels, ...]: over the neighboring channels of each of --groups groups of a
    /// sample
    Group,
    /// Group norm with a group for each channel
    Instance,
    /// Batch norm of [samples, channels, ...]: each channel over all samples and positions
    Batch,
    /// Layer norm over the channels of [samples, channels, ...], at each position
    Channel,
    /// RMS norm over the channels
    ChannelRms,
    /// g * v / |v|, of --x v and --gain g, a norm for each index of --axis
    Weight,
}

impl NormalizationFlag {
    pub(crate) const fn of_rows(self) -> Normalization {
        match self {
            Self::Layer | Self::Group | Self::Instance | Self::Batch | Self::Channel => Normalization::Layer,
            Self::Rms | Self::ChannelRms => Normalization::Rms,
            Self::L2 | Self::Weight => Normalization::L2,
        }
    }

    /// Whether gain and bias have a value for each channel.
    pub(crate) const fn is_of_channels(self) -> bool {
        matches!(self, Self::Group | Self::Instance)
    }

    /// Whether rows are the last dimension, whatever else x has.
    pub(crate) const fn is_of_plain_rows(self) -> bool {
        matches!(self, Self::Layer | Self::Rms | Self::L2)
    }

    pub(crate) const fn is_along_channels(self) -> bool {
        matches!(self, Self::Channel | Self::ChannelRms)
    }
}

/// What is timed.
pub(crate) fn operations() -> impl TypedValueParser<Value = Operation> {
    words(Operation::ALL.map(Operation::name))
}

fn words<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}
