//! The reports of wgpu-layernorm: what the kernels have shown on an adapter, and how fast they ran there.
//!
//! The tool writes them, a page in a browser does, and both read them: [`parse`]. [`compare`] lays the
//! [`machines`] of any number of them side by side as [`Sheet`]s, which become text for a terminal, Markdown
//! or, with plots, a page. [`Filter`] takes a part of them. [`baseline`] holds one against an earlier one of
//! the same adapter.
//!
//! With the feature `gpu`, reports are made from what `wgpu_layernorm` measures and verifies.

pub mod baseline;
mod compare;
#[cfg(feature = "gpu")]
mod device;
mod filter;
mod format;
mod machine;
mod page;
mod plot;
mod sheet;
mod unique;

pub use compare::{Key, compare, faults, legend, measurements, verification};
pub use filter::{Filter, NoMatch};
pub use format::{
    Adapter, CaseFailure, Failure, FailureKind, FormatError, KernelVerdict, Measurement, Mode, OutputError,
    Plan, Report, Timing, Unsupported, VERSION, VerifyRun, date, parse, to_json,
};
pub use machine::{Machine, label, machines};
pub use page::page;
pub use plot::{Panel, Point, Series, figure, panels};
pub use sheet::Sheet;
pub use unique::check_distinct_names;
