//! The reports of wgpu-layernorm: what the kernels have shown on an adapter, and how fast they ran there.
//!
//! The tool writes them, a page in a browser does, and both read them: [`parse`]. [`compare`] lays any number of them
//! beside each other as [`Sheet`]s, which become text (a terminal's, and Markdown) or, with plots, a page. [`baseline`]
//! holds one against an earlier one of the same adapter.
//!
//! With the feature `gpu`, reports are made from what `wgpu_layernorm` measures and verifies.

pub mod baseline;
mod compare;
#[cfg(feature = "gpu")]
mod device;
mod format;
mod page;
mod plot;
mod sheet;
mod unique;

pub use compare::{Key, compare, faults, label, legend, measurements, verification};
pub use format::{
    Adapter, CaseFailure, Failure, FailureKind, FormatError, KernelVerdict, Measurement, Mode, OutputError,
    Plan, Report, Timing, Unsupported, VERSION, VerifyRun, date, parse, to_json,
};
pub use page::page;
pub use plot::{Panel, Series, figure, panels};
pub use sheet::Sheet;
pub use unique::check_distinct_names;
