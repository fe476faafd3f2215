//! The reports of wgpu-layernorm: what the kernels have shown on an adapter, and how fast they ran there.
//!
//! The tool writes them, a page in a browser does, and both read them: [`parse`]. [`compare`] lays the
//! [`machines`] of any number of them side by side as [`Sheet`]s, which become text for a terminal, Markdown
//! or, with plots, a page. [`Filter`] takes a part of them. [`baseline`] holds one against an earlier one of
//! the same adapter. [`chart()`] draws lines that are of no report.
//!
//! With the feature `gpu`, reports are made from what `wgpu_layernorm` measures and verifies.

pub mod baseline;
mod cells;
mod chart;
mod compare;
#[cfg(feature = "gpu")]
mod device;
mod faults;
mod filter;
mod format;
mod json;
mod key;
mod machine;
mod measurements;
mod page;
mod plan;
mod plot;
mod sheet;
mod unique;
mod verification;

pub use chart::{Chart, Line, chart};
pub use compare::{compare, legend};
pub use faults::faults;
pub use filter::{Filter, NoMatch};
pub use format::{
    Adapter, CaseFailure, Failure, FailureKind, KernelVerdict, Measurement, Mode, OutputError, Report,
    Timing, Unsupported, VERSION, VerifyRun, date,
};
pub use json::{FormatError, parse, to_json};
pub use key::Key;
pub use machine::{Machine, label, machines};
pub use measurements::measurements;
pub use page::page;
pub use plan::Plan;
pub use plot::{Panel, Point, Series, figure, panels};
pub use sheet::Sheet;
pub use unique::check_distinct_names;
pub use verification::verification;
