//! Rungs that were measured to beat the ladder's: a table that plans are made from instead.
//!
//! A table cannot break a call: a rung that no kernel could run is refused when it is added or read, and one
//! that exceeds a limit of the device is ignored. A key has no rows, so tuned plans keep batch invariance as
//! the ladder's do.

use super::shape::largest_common_power_of_two;
use super::{Caps, Operation, Plan, RowShape, Rung};
use crate::error::Error;
use crate::types::{Affine, Dtype, Normalization, Problem};

/// An adapter as tuning tells it from others, its driver's version included: another compiler is another
/// machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct TunedAdapter {
    /// Its name, not empty: browsers that tell none are not tuned.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: String,
    /// The driver's name and version.
    pub driver: String,
}

/// The calls that an entry is for. Whatever else varies in a call, affine and the storage of parameters among
/// it, does not tell entries apart: they were measured as [`bench`](mod@crate::bench) measures, with gain and
/// bias in the rows' storage for layer norm, a gain for RMS norm, neither for L2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct TuningKey {
    /// Where it was measured.
    pub adapter: TunedAdapter,
    /// [`Operation::name`]; not `reduce_parameters`.
    pub operation: String,
    /// Layer norm, RMS norm or L2.
    pub normalization: Normalization,
    /// Storage of the rows.
    pub dtype: Dtype,
    /// Values in a row. Widths between those of a table are the ladder's: a neighbor's rung may be the wrong
    /// one.
    pub cols: u32,
    /// [`Plan::vector_width`]. Rows that begin elsewhere in their buffers, with narrower accesses, are the
    /// ladder's.
    pub vector_width: u32,
}

/// What was found for a key.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct TuningEntry {
    /// For which calls.
    #[cfg_attr(feature = "json", serde(flatten))]
    pub key: TuningKey,
    /// The rows that were timed.
    pub rows: u64,
    /// What beats the ladder; `None` where nothing did by the margin, so that the ladder stays.
    pub rung: Option<Rung>,
    /// The time of the ladder's plan by that of the rung's, in turn; 1 where the ladder stays.
    pub speedup: f64,
}

impl TuningEntry {
    /// Whether the entry can be meant.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that no device and no call could have.
    pub fn validate(&self) -> Result<(), Error> {
        let TuningKey { adapter, operation, normalization, dtype, cols, vector_width } = &self.key;
        let what = |field: &str| format!("tuning of {self}: {field}");
        if adapter.name.is_empty() {
            return Err(Error::invalid(what("the adapter's name"), "empty", "a name"));
        }
        if !Self::OPERATIONS.contains(&operation.as_str()) {
            return Err(Error::invalid(what("operation"), operation, Self::OPERATIONS.join(", ")));
        }
        let problem = Problem {
            cols: *cols,
            dtype: *dtype,
            parameter_dtype: *dtype,
            normalization: *normalization,
            affine: Affine::None,
            ..Problem::default()
        };
        if let Err(Error::Invalid { what: field, has, needs }) = problem.validate() {
            return Err(Error::invalid(what(&field), has, needs));
        }
        // Of 64-bit words.
        let most = largest_common_power_of_two(32 / dtype.size(), (*cols).into());
        if !vector_width.is_power_of_two() || *vector_width > most {
            let needs = format!("a power of two of at most {most}");
            return Err(Error::invalid(what("vector_width"), vector_width, needs));
        }
        if !(self.speedup.is_finite() && self.speedup > 0.0) {
            return Err(Error::invalid(what("speedup"), self.speedup, "a positive number"));
        }
        let Some(rung) = &self.rung else { return Ok(()) };
        let shape = RowShape { cols: *cols, vector_width: *vector_width, wide: false, across: false };
        match rung.validate(&shape, operation) {
            Err(Error::Invalid { what: field, has, needs }) => Err(Error::invalid(what(&field), has, needs)),
            result => result,
        }
    }

    /// What can be tuned, by [`Operation::name`].
    const OPERATIONS: [&'static str; 4] = ["forward", "forward_residual", "backward", "backward_dx"];
}

/// Names the entry on one line: `forward/layer/f32x4/1024 on llvmpipe`.
impl std::fmt::Display for TuningEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TuningKey { adapter, operation, normalization, dtype, cols, vector_width } = &self.key;
        let normalization = normalization.name();
        write!(f, "{operation}/{normalization}/{dtype}x{vector_width}/{cols} on {}", adapter.name)
    }
}

/// A table of what was measured, of one adapter or several. An empty one is the ladder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    entries: Vec<TuningEntry>,
}

impl Tuning {
    /// All entries, in the order in which they were added.
    #[must_use]
    pub fn entries(&self) -> &[TuningEntry] {
        &self.entries
    }

    /// Adds an entry, in place of one with the same key.
    ///
    /// # Errors
    /// Those of [`TuningEntry::validate`].
    pub fn insert(&mut self, entry: TuningEntry) -> Result<(), Error> {
        entry.validate()?;
        match self.entries.iter_mut().find(|other| other.key == entry.key) {
            Some(other) => *other = entry,
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &TuningKey) -> Option<&TuningEntry> {
        self.entries.iter().find(|entry| entry.key == *key)
    }

    /// The entries of an adapter.
    #[must_use]
    pub fn of_adapter(&self, adapter: &TunedAdapter) -> Self {
        let is_its = |entry: &&TuningEntry| entry.key.adapter == *adapter;
        Self { entries: self.entries.iter().filter(is_its).cloned().collect() }
    }

    /// The plan of a call on an adapter: that of its entry's rung, or the ladder's where there is no entry,
    /// where the entry keeps the ladder, and where the rung exceeds a limit of `caps` (a device may be opened
    /// with less than it was tuned with).
    ///
    /// # Errors
    /// Those of [`Plan::forward`], [`Plan::backward`] and [`Plan::reduce_parameters`].
    pub fn plan(
        &self,
        adapter: &TunedAdapter,
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        caps: &Caps,
    ) -> Result<Plan, Error> {
        let width = RowShape::new(problem, vector_width, caps)?.vector_width;
        let is_its = |entry: &&TuningEntry| {
            let TuningKey { adapter: tuned, operation: name, normalization, dtype, cols, vector_width } =
                &entry.key;
            (*normalization, *dtype, *cols, *vector_width)
                == (problem.normalization, problem.dtype, problem.cols, width)
                && name == operation.name()
                && tuned == adapter
        };
        // Tables are of rows whose parameters are those of columns, and statistics their own; no gated sum
        // has been timed for one.
        if problem.channels.is_none()
            && !operation.has_given_statistics()
            && !operation.is_gated()
            && let Some(entry) = self.entries.iter().find(is_its)
            && let Some(rung) = entry.rung
        {
            match Plan::with_rung(problem, operation, vector_width, rung, caps) {
                Err(error) if error.is_unsupported() => {
                    log::warn!("the ladder stands in for the tuning of {entry}: {error}");
                }
                result => return result,
            }
        }
        Plan::by_ladder(problem, operation, vector_width, caps)
    }
}

/// The file that `layernorm tune` writes.
#[cfg(feature = "json")]
mod json {
    use super::{Error, Tuning, TuningEntry};

    /// It grows when an older reader would misunderstand a file.
    const VERSION: u32 = 1;

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File<E> {
        version: u32,
        entries: Vec<E>,
    }

    /// Tuning files, behind the feature `json`: the kernels and plans need no parser.
    impl Tuning {
        /// Reads the text of a tuning file.
        ///
        /// # Errors
        /// [`Error::Invalid`] where it is none, where it is of a later version, and as [`Tuning::insert`] for
        /// each entry, of which no two may have the same key.
        pub fn from_json(text: &str) -> Result<Self, Error> {
            let wrong = |error: serde_json::Error| {
                Error::invalid("the tuning file", error, "what `layernorm tune` writes, version 1")
            };
            // Entries of another version may look different: that is said first.
            let file: File<serde::de::IgnoredAny> = serde_json::from_str(text).map_err(wrong)?;
            if file.version != VERSION {
                return Err(Error::invalid("version of the tuning file", file.version, VERSION));
            }
            let file: File<TuningEntry> = serde_json::from_str(text).map_err(wrong)?;
            let mut tuning = Self::default();
            for entry in file.entries {
                if let Some(other) = tuning.get(&entry.key) {
                    let what = format!("tuning of {other}");
                    return Err(Error::invalid(what, "in two entries", "in one"));
                }
                tuning.insert(entry)?;
            }
            Ok(tuning)
        }

        /// The text of a tuning file.
        #[must_use]
        pub fn to_json(&self) -> String {
            let file = File { version: VERSION, entries: self.entries.iter().collect() };
            // Only maps with other keys than strings and writers that fail make it fail.
            let text = serde_json::to_string_pretty(&file).unwrap_or_default();
            text + "\n"
        }
    }
}
