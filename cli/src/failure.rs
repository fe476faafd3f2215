//! How a command fails: the line for stderr and the exit code.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was called for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call is wrong: it has to be changed.
    WrongCall(String),
    /// The call is right, but the run failed.
    FailedRun(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::WrongCall(_) => ExitCode::from(2),
            Self::FailedRun(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongCall(message) | Self::FailedRun(message) => f.write_str(message),
        }
    }
}

impl From<wgpu_layernorm::Error> for Failure {
    fn from(error: wgpu_layernorm::Error) -> Self {
        if error.is_invalid() {
            Self::WrongCall(error.to_string())
        } else {
            Self::FailedRun(error.to_string())
        }
    }
}
