//! Of what the gate of gated RMS norm is a factor.

use super::by_name;
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// Where `silu(gate_input)` is a factor, in gated RMS norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "norm_before_gate")]
pub enum GateOrder {
    /// Of what is normalized: `y = gain * rms(x * silu(gate_input))`, as Mamba 2 has it.
    #[default]
    Before,
    /// Of y: `y = gain * rms(x) * silu(gate_input)`, as Qwen3-Next has it.
    After,
}

impl GateOrder {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    /// `before` or `after`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

impl fmt::Display for GateOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GateOrder {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("gate order", &Self::ALL, Self::name, name)
    }
}
