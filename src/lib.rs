//! Layer, RMS, L2, group, instance and batch normalization, forward and backward, as WGSL kernels for any GPU
//! that wgpu reaches, with a float64 reference that every kernel is checked against.
//!
//! # What is computed
//!
//! Per row of `cols` values:
//!
//! ```text
//! mean  = sum(x) / cols
//! rstd  = 1 / sqrt(sum((x - mean)^2) / cols + eps)
//! xhat  = (x - mean) * rstd
//! y     = gain * xhat + bias
//!
//! dxhat = dy * gain
//! dx    = rstd * (dxhat - mean_cols(dxhat) - xhat * mean_cols(dxhat * xhat))
//! dgain = sum_rows(dy * xhat)
//! dbias = sum_rows(dy)
//! ```
//!
//! Forward is equation 3 of Ba, Kiros, Hinton, "Layer Normalization" (2016), over the columns of a row and
//! with eps beneath the root; backward is its derivative. RMS norm (Zhang, Sennrich, "Root Mean Square Layer
//! Normalization", 2019, equation 4) takes the mean as 0, and drops `mean_cols(dxhat)` from dx. L2 does so
//! too, divides by `max(sqrt(sum(x^2)), eps)`, and has the sum over the columns in place of the second mean.
//! With a residual, what is normalized is `sum = x + residual` as stored, or `residual + gate * x`, and the
//! sum is written out if it is wanted. gain and bias may be left out, and 1 + gain may stand for the gain
//! ([`Affine`]). With [`Activation::Silu`] y is `z * sigmoid(z)`, z being the y above, and its gradient takes
//! dy's place. Gated RMS norm has `silu(gate_input)` as a factor of x or of y ([`GateOrder`]). Backward may
//! have y in place of x ([`BackwardInputs::from_y`]).
//!
//! Group norm (Wu, He, "Group Normalization", 2018) and instance norm are layer norm of rows that are groups
//! of channels, with gain and bias for each channel ([`Channels`]); dgain and dbias are then sums over the
//! columns of a channel too. Batch norm (Ioffe, Szegedy, "Batch Normalization", 2015) is that of rows which
//! are the channels of a batch, with [`Running`] statistics ([`Problem::batch`]).
//!
//! # Where to start
//!
//! - With a pipeline of your own: [`Kernels`] are what a device's normalizations share. A [`LayerNorm`]
//!   checks a call over your buffers once and compiles its kernels; the [`Prepared`] call is then recorded
//!   into your compute pass as often as you like. See `examples/own_pipeline.rs`.
//! - Without one: [`layer_norm`] and [`rms_norm`] take rows and give rows, in a line. [`Context`] keeps the
//!   adapter, and has everything else: parameters, residuals, gradients. See `examples/quickstart.rs`.
//! - On the CPU, in float64: [`reference`](mod@reference).
//! - To see what a GPU would run without having it: [`plan`] makes a [`plan::Plan`] from a [`Problem`] and an
//!   adapter's [`plan::Caps`], and [`shader`] its WGSL text. Both are pure, so another WebGPU host can run
//!   the kernels.
//! - To check a device's kernels against the reference: [`verify`]; to time them against plain copies:
//!   [`bench`](mod@bench).
//!
//! All errors are one [`Error`], which tells a wrong call ([`Error::is_invalid`]) from a device that cannot
//! do what is asked ([`Error::is_unsupported`]).
//!
//! # What grows
//!
//! Descriptors, options, buffers and inputs get fields as the crate gets options. Write them with `..`, over
//! `default()` or `new(..)`, so that a new field breaks nothing:
//!
//! ```
//! use wgpu_layernorm::{Problem, plan::Forward};
//!
//! let problem = Problem { cols: 768, eps: 1e-6, ..Problem::default() };
//! let options = Forward { residual: true, ..Forward::default() };
//! ```
//!
//! They are not `#[non_exhaustive]`, as wgpu's descriptors are not, because that forbids just this form. What
//! only the crate makes (dispatches, launches, texts, the results of [`Context`]) is, and so are enums that
//! get variants.
//!
//! # Features
//!
//! | feature | default | what it adds | what it compiles |
//! | --- | --- | --- | --- |
//! | `gpu` | yes | all that runs kernels; wgpu is re-exported as [`wgpu`] | wgpu without any back end |
//! | `backends` | yes | all back ends of wgpu, else the application's to choose | wgpu's default features |
//! | `rayon` | yes | the reference uses all cores | rayon |
//! | `verify` | no | [`verify`], and `gpu` | |
//! | `bench` | no | [`bench`](mod@bench), and `verify`: what is timed is checked first | web-time |
//! | `json` | no | reading and writing tuning files ([`plan::Tuning`]) | serde, `serde_json` |
//! | `translate` | no | the texts as SPIR-V, MSL, HLSL and GLSL ([`translate`]) | naga's writers |
//!
//! Without any the crate is [`reference`](mod@reference), [`plan`] and [`shader`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "bench", feature = "translate")),
    allow(rustdoc::broken_intra_doc_links, reason = "links lead to what other features add")
)]
// On docs.rs, which builds with a nightly compiler: the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(all(doctest, feature = "gpu"), doc = include_str!("../README.md"))]

#[cfg(feature = "bench")]
pub mod bench;
mod covering;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod op;
pub mod plan;
pub mod reference;
pub mod shader;
#[cfg(feature = "translate")]
pub mod translate;
mod types;
#[cfg(feature = "verify")]
pub mod verify;

pub use error::Error;
#[cfg(feature = "gpu")]
pub use gpu::{
    AdapterChoice, BackwardBuffers, BackwardResult, BufferRows, BufferStatistics, BufferVector, CodeBuffers,
    CodeUnit, CodesResult, Context, ForwardBuffers, ForwardResult, Kernels, KernelsDescriptor, LayerNorm,
    LayerNormDescriptor, Prepared, WarmOptions, adapter_info_of_device, adapters, caps_of_device,
    describe_adapter, required_features, required_limits, tuned_adapter,
};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use gpu::{layer_norm, rms_norm};
pub use types::{
    Activation, Affine, BackwardInputs, Channels, CodeDtype, CodeFormat, Dtype, Element, ForwardInputs,
    GateOrder, Gradient, KeptVariance, LEAST_GAIN, Normalization, Problem, Real, RowOrder, Rows, RowsMut,
    Running, Statistics,
};
#[cfg(feature = "gpu")]
pub use wgpu;
