//! x

mod error;
#[cfg(feature = "gpu")]
mod gpu;
pub mod plan;
pub mod reference;
pub mod shader;
mod types;
#[cfg(feature = "gpu")]
pub mod verify;

pub use error::Error;
#[cfg(feature = "gpu")]
pub use gpu::{
    AdapterChoice, BackwardBuffers, BackwardResult, BufferRows, BufferVector, Context, ForwardBuffers,
    ForwardResult, LayerNorm, LayerNormDescriptor, Prepared, adapters, caps_of_device, describe_adapter,
    required_features, required_limits,
};
pub use types::{
    Affine, BackwardInputs, Dtype, Element, ForwardInputs, Gradient, Normalization, Problem, Real, Rows,
    RowsMut, Statistics,
};
#[cfg(feature = "gpu")]
pub use wgpu;
