//! Layer norm, RMS norm and group norm for [burn](https://burn.dev), forward and backward, by the WGSL
//! kernels of [`wgpu_layernorm`]: on burn's own tensors, without a copy, in the order of its own work, with
//! gradients, with and without burn's fusion.
//!
//! # Swapping
//!
//! [`LayerNorm`], [`RmsNorm`] and [`GroupNorm`] have the fields, the configurations and the records of
//! burn's own, so that a model takes them by its `use`:
//!
//! ```
//! // Before: use burn::nn::{LayerNorm, LayerNormConfig};
//! use wgpu_layernorm_burn::{LayerNorm, LayerNormConfig};
//! ```
//!
//! # What else there is
//!
//! [`layer_norm`], [`rms_norm`] and [`group_norm`] take tensors. [`add_layer_norm`] and [`add_rms_norm`]
//! normalize the sum of x and a residual, and give that sum too, in one kernel: the pre-norm block of a
//! transformer.
//!
//! # Where the kernels run
//!
//! On burn's `wgpu` devices with its features `wgpu` or `webgpu`, whose compiler takes WGSL, in F32, F16 and
//! BF16. F16 and BF16 take no features of the device, as the kernels compute in float32. Elsewhere (burn's
//! features `vulkan` and `metal`, CUDA, CPU back ends, F64) burn's own operations run, and a warning says why
//! once, by the crate `log`.

mod autodiff;
mod backend;
mod caps;
mod cube;
mod fallback;
mod kernels;
mod launch;
mod modules;
mod norm;
mod operations;
mod own;
mod rows;
#[cfg(test)]
mod tests;

pub use kernels::kernels;
pub use modules::{GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
pub use operations::{add_layer_norm, add_rms_norm, group_norm, layer_norm, rms_norm};
