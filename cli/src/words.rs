//! The library's words as values of flags, under the names that the library has for them.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::str::FromStr;
use wgpu_layernorm::bench::Operation;
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::{Affine, Dtype, Error, Normalization};

pub(crate) fn dtypes() -> impl TypedValueParser<Value = Dtype> {
    words(Dtype::ALL.map(Dtype::name))
}

pub(crate) fn normalizations() -> impl TypedValueParser<Value = Normalization> {
    words(Normalization::ALL.map(Normalization::name))
}

pub(crate) fn affines() -> impl TypedValueParser<Value = Affine> {
    words(Affine::ALL.map(Affine::name))
}

/// Whether several workgroups share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowSplitFlag {
    Never,
    Always,
}

impl From<RowSplitFlag> for RowSplit {
    fn from(flag: RowSplitFlag) -> Self {
        match flag {
            RowSplitFlag::Never => Self::Never,
            RowSplitFlag::Always => Self::Always,
        }
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
