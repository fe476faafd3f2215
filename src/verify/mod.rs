//! Checks the kernels on a device against the [`reference`](crate::reference): a fixed set of cases, a
//! covering array.
//!
//! Outputs are poisoned before the call and fenced with canaries, and inputs are fenced with NaN: an element
//! that is not written, a write outside the rows and a read outside them all show.

mod array;
mod asked;
mod cases;
mod codes;
pub(crate) mod data;
mod factors;
mod fenced;
mod gate;
mod gradients;
pub(crate) mod judge;
mod kinds;
mod run;
pub(crate) mod tolerance;
mod values;

pub use crate::covering::Strength;
pub use array::{cases, cases_in, smallest};
pub use cases::{Case, Task, tuned_cases};
pub use kinds::{Data, Layout, Residual, SavedStatistics, Values};
pub use run::run;
pub use tolerance::FLOAT32_UNITS;

use crate::plan::{Kernel, Tensor};
use crate::types::Dtype;

/// The worst error of one output of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputError {
    /// The output.
    pub tensor: Tensor,
    /// In units of the storage type's rounding: of 2^-24 relative to the terms that the value is made of
    /// where it is stored in float32, of its last place (beyond what float32 arithmetic explains) where it is
    /// stored in 16 bits.
    pub units: f64,
    /// The most that passes: see `docs/numerics.md`.
    pub allowed: f64,
}

/// What running a case has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The kernel that the device's plan chose.
    pub kernel: Kernel,
    /// Whether its plan came from a [`Tuning`](crate::plan::Tuning), and is another than the ladder's.
    pub is_tuned: bool,
    /// The storage of the rows.
    pub dtype: Dtype,
    /// For each output.
    pub errors: Vec<OutputError>,
    /// What is wrong, a sentence each; empty if the case passed.
    pub failures: Vec<String>,
}
