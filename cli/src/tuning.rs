//! Tuning files: the flag that plans from one.

use crate::failure::Failure;
use crate::input;
use crate::output;
use clap::Args;
use std::path::{Path, PathBuf};
use wgpu_layernorm::plan::Tuning;
use wgpu_layernorm::{Context, adapter_info_of_device, tuned_adapter, wgpu};

/// Which plans to run.
#[derive(Args, Debug)]
pub(crate) struct TuningFlag {
    /// Plan from a file that `layernorm tune` has written, where it has entries for the adapter; else as
    /// without it
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
}

impl TuningFlag {
    /// The table in the file, if one is named.
    pub(crate) fn read(&self) -> Result<Option<Tuning>, Failure> {
        self.tuning.as_deref().map(|path| read("--tuning", path)).transpose()
    }
}

/// The table in a file that the call names.
pub(crate) fn read(flag: &str, path: &Path) -> Result<Tuning, Failure> {
    let text = input::read_text(flag, path, "a tuning file")?;
    Tuning::from_json(&text)
        .map_err(|error| Failure::WrongCall(format!("{flag}: {} cannot be read: {error}", path.display())))
}

/// The context with plans from the table, if there is one. That it has nothing for the adapter is said on
/// stderr.
pub(crate) fn apply(context: Context, tuning: Option<&Tuning>) -> Context {
    let Some(tuning) = tuning else { return context };
    if of_adapter(tuning, &adapter_info_of_device(context.device())).entries().is_empty() {
        output::note(&format!("note: --tuning has no entries for {}", context.description()));
    }
    context.with_tuning(tuning.clone())
}

/// The entries of an adapter.
pub(crate) fn of_adapter(tuning: &Tuning, info: &wgpu::AdapterInfo) -> Tuning {
    tuning.of_adapter(&tuned_adapter(info))
}
