//! The format: what is in a report's JSON.

use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};

/// The version of the format that this crate writes, and the newest that it reads. It grows when a reader of
/// the last one would misunderstand something, not when a field is added.
pub const VERSION: u32 = 1;

/// What the kernels have shown on one adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// What has written it: `layernorm`, or `web`.
    pub made_by: String,
    /// The version of wgpu-layernorm.
    pub crate_version: String,
    /// When it was made, in UTC: see [`date`].
    pub date: String,
    /// Where.
    pub adapter: Adapter,
    /// Why nothing was run, if the adapter could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The kernels against the reference; `None` if that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Vec<VerifyRun>>,
    /// The kernels against copies; `None` if that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurements: Option<Vec<Measurement>>,
}

impl Report {
    /// An empty report of an adapter, made by this version at a time since 1970.
    #[must_use]
    pub fn new(made_by: &str, since_1970: Duration, adapter: Adapter) -> Self {
        Self {
            version: VERSION,
            made_by: made_by.to_owned(),
            // All packages of the workspace have one version.
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            date: date(since_1970),
            adapter,
            error: None,
            verify: None,
            measurements: None,
        }
    }
}

/// An adapter, and the features and limits of it that plans depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// Empty in browsers that do not tell.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub device_type: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, mostly.
    pub driver_info: String,
    /// What it runs in: an operating system and an architecture, or what a browser says of itself.
    #[serde(default)]
    pub host: String,
    /// Smallest and largest, or `None` without subgroup operations.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Whether shaders may compute in 16-bit floats.
    pub shader_f16: bool,
    /// Whether it writes timestamps.
    #[serde(default)]
    pub timestamps: bool,
    /// Invocations of a workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
    /// Storage buffers of a shader.
    pub max_storage_buffers: u32,
    /// Bytes of a storage binding.
    pub max_binding_bytes: u64,
    /// Bytes that the offset of a storage binding is a multiple of.
    #[serde(default)]
    pub storage_alignment: u32,
}

impl Adapter {
    /// One line: name, back end, driver.
    #[must_use]
    pub fn description(&self) -> String {
        let name = if self.name.is_empty() { "adapter without a name" } else { &self.name };
        let driver = if self.driver_info.is_empty() { &self.driver } else { &self.driver_info };
        let parts: Vec<&str> =
            [self.backend.as_str(), driver].into_iter().filter(|part| !part.is_empty()).collect();
        format!("{name} [{}]", parts.join(", "))
    }

    /// Whether two reports are of the same adapter, whatever its driver's version.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.backend) == (&other.name, &other.backend)
    }
}

/// How the device was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// With all that the adapter offers.
    Full,
    /// Without subgroup operations and 16-bit floats.
    Plain,
}

impl Mode {
    /// `full` or `plain`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Plain => "plain",
        }
    }
}

/// The cases of the library on an adapter in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// How the device was opened.
    pub mode: Mode,
    /// Why no case was run, if none was.
    pub error: Option<String>,
    /// The cases that there are, of which some may have been left out; 0 if that is not known.
    #[serde(default)]
    pub all_cases: usize,
    /// By kernel and dtype.
    pub kernels: Vec<KernelVerdict>,
    /// Every case that failed.
    pub failures: Vec<CaseFailure>,
    /// Every case that the device does not support.
    pub unsupported: Vec<Unsupported>,
}

impl VerifyRun {
    /// A run without cases so far.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            error: None,
            all_cases: 0,
            kernels: Vec::new(),
            failures: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    /// The number of cases that were not run: by choice, or because the run was stopped.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.all_cases.saturating_sub(self.counts().iter().sum())
    }

    /// The number of cases that passed, failed and are not supported.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let sum = |count: fn(&KernelVerdict) -> usize| self.kernels.iter().map(count).sum();
        let [cases, failed, unsupported] =
            [sum(|kernel| kernel.cases), sum(|kernel| kernel.failed), sum(|kernel| kernel.unsupported)];
        // `parse` refuses counts that do not add up.
        [cases - failed - unsupported, failed, unsupported]
    }
}

/// What the cases of one kernel and dtype come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelVerdict {
    /// `None` for cases that did not get as far as a kernel.
    pub kernel: Option<String>,
    /// The storage of the rows.
    pub dtype: String,
    /// How many there are.
    pub cases: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many of them the device does not support.
    pub unsupported: usize,
    /// The worst error of each output.
    pub errors: Vec<OutputError>,
}

/// The worst error of an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputError {
    /// The tensor's name.
    pub output: String,
    /// In units of the storage type's rounding; `null` in JSON where it is infinite: a value that is missing
    /// or NaN.
    #[serde(with = "units")]
    pub units: f64,
    /// The most that passes.
    pub allowed: f64,
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFailure {
    /// Its name.
    pub case: String,
    /// A sentence for each thing that is wrong.
    pub failures: Vec<String>,
}

/// Cases that a device does not support for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The limit or feature.
    pub reason: String,
    /// Their names.
    pub cases: Vec<String>,
}

/// An operation on rows of one shape and storage: what was measured, or why it was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// `forward`, `forward_residual`, `backward` or `backward_dx`.
    pub operation: String,
    /// `layer`, `rms` or `l2`.
    pub normalization: String,
    /// `none`, `gain` or `gain_bias`.
    pub affine: String,
    /// The storage of the rows.
    pub dtype: String,
    /// The storage of gain and bias. JSON without it means that of the rows.
    #[serde(default)]
    pub parameter_dtype: String,
    /// Where gain and bias have a value for each channel: how many a sample has, and in how many groups,
    /// which are the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<OfChannels>,
    /// What is applied to each value after gain and bias, such as `silu`; absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Number of rows.
    pub rows: u64,
    /// Values in a row.
    pub cols: u32,
    /// The kernel that reads the rows; `None` where the device has none for them.
    pub kernel: Option<String>,
    /// How it runs.
    pub plan: Option<Plan>,
    /// The worst error of each output, which was looked at before timing.
    pub errors: Vec<OutputError>,
    /// `None` where something failed.
    #[serde(flatten)]
    pub timing: Option<Timing>,
    /// Why there are no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Channels of a sample, and their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfChannels {
    /// Channels of a sample.
    pub count: u32,
    /// Groups of a sample.
    pub groups: u32,
}

/// The times of a call and of the copy that it is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Of one call.
    pub median_seconds: f64,
    /// A tenth of the calls were faster.
    pub p10_seconds: f64,
    /// A tenth of the calls were slower.
    pub p90_seconds: f64,
    /// The least that any kernel would have to move: the tensors of rows, each once.
    pub bytes: u64,
    /// Bytes by median.
    pub gigabytes_per_second: f64,
    /// Of a copy of the same bytes, the fastest of several.
    pub copy_median_seconds: f64,
    /// A tenth of the copies were faster.
    pub copy_p10_seconds: f64,
    /// A tenth of the copies were slower.
    pub copy_p90_seconds: f64,
    /// Bytes by the copy's median.
    pub copy_gigabytes_per_second: f64,
    /// The time of the copy by that of the call: 1 is as fast as a copy.
    pub copy_ratio: f64,
    /// Which copy was the fastest: invocations of a workgroup x 16-byte words of each.
    pub copy_form: String,
    /// `gpu_timestamps`, or `wall` where those do not work.
    pub clock: String,
    /// Submits of the call, and of the copy.
    pub rounds: usize,
    /// Calls in a submit.
    pub calls_per_submit: u32,
    /// Copies in a submit.
    pub copies_per_submit: u32,
    /// Sets of buffers that calls and copies took turns on.
    pub buffer_sets: usize,
}

/// Why something was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of reason.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
}

/// What sort of reason there is for a missing measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The device lacks a limit or feature.
    Unsupported,
    /// An output is not what it has to be.
    WrongResult,
    /// Something went wrong on the device.
    Failed,
}

impl FailureKind {
    /// In a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "not supported",
            Self::WrongResult => "WRONG",
            Self::Failed => "FAILED",
        }
    }
}

/// An infinite number of units is `null` in JSON, which has no other word for it.
mod units {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(units: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match units.is_finite() {
            true => serializer.serialize_some(units),
            false => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

/// A time since 1970 in the form of a report: `2026-11-25T03:02:01Z`.
#[must_use]
pub fn date(since_1970: Duration) -> String {
    match SystemTime::UNIX_EPOCH.checked_add(since_1970) {
        // Years beyond 9999 have no such form, and would panic.
        Some(time) if since_1970.as_secs() < 253_402_300_800 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => "unknown".to_owned(),
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
