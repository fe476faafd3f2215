//! Modules with the fields, configurations and records of burn's own.

mod group;
mod layer;
mod rms;

pub use group::{GroupNorm, GroupNormConfig};
pub use layer::{LayerNorm, LayerNormConfig};
pub use rms::{RmsNorm, RmsNormConfig};
