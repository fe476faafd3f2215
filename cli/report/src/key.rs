//! What was measured, by which measurements are told apart and put in order.

use crate::format::{Measurement, OfChannels};
use std::fmt;

/// What was measured, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `forward`, ….
    pub operation: String,
    /// `layer`, `rms` or `l2`.
    pub normalization: String,
    /// The storage of the rows.
    pub dtype: String,
    /// The storage of gain and bias.
    pub parameter_dtype: String,
    /// Which of gain and bias there are.
    pub affine: String,
    /// Channels and groups of a sample, where gain and bias have a value for each channel.
    pub channels: Option<OfChannels>,
    /// What is applied to each value after gain and bias.
    pub activation: Option<String>,
    /// Number of rows.
    pub rows: u64,
    /// Values in a row.
    pub cols: u32,
}

/// The order of a table's rows; what is not among them comes last.
pub(crate) const OPERATIONS: [&str; 4] = ["forward", "forward_residual", "backward", "backward_dx"];
pub(crate) const DTYPES: [&str; 3] = ["f32", "f16", "bf16"];

pub(crate) fn rank<'a>(names: &[&str], name: &'a str) -> (usize, &'a str) {
    (names.iter().position(|other| *other == name).unwrap_or(names.len()), name)
}

impl Key {
    /// The key of a measurement.
    #[must_use]
    pub fn of(measurement: &Measurement) -> Self {
        Self {
            operation: measurement.operation.clone(),
            normalization: measurement.normalization.clone(),
            dtype: measurement.dtype.clone(),
            parameter_dtype: measurement.parameter_dtype.clone(),
            affine: measurement.affine.clone(),
            channels: measurement.channels,
            activation: measurement.activation.clone(),
            rows: measurement.rows,
            cols: measurement.cols,
        }
    }

    /// The normalization and, where they are not the usual, which of gain and bias there are.
    fn norm(&self) -> String {
        match (self.normalization.as_str(), self.affine.as_str()) {
            ("layer", "gain_bias") | ("rms", "gain") | ("l2", "none") => self.normalization.clone(),
            (normalization, affine) => format!("{normalization}, {affine}"),
        }
    }

    /// Storage of the rows and, where it is another, of the parameters.
    pub(crate) fn storage(&self) -> String {
        if self.parameter_dtype == self.dtype {
            self.dtype.clone()
        } else {
            format!("{}, parameters {}", self.dtype, self.parameter_dtype)
        }
    }

    /// The same of any shape.
    pub(crate) fn section(&self) -> Self {
        Self { rows: 0, cols: 0, ..self.clone() }
    }

    /// All but the shape, for a heading: `forward, layer norm, f16, parameters f32`.
    pub(crate) fn title(&self) -> String {
        let norm = match self.normalization.as_str() {
            "rms" => "RMS norm".to_owned(),
            "l2" => "L2 normalization".to_owned(),
            other => format!("{other} norm"),
        };
        let affine = match (self.normalization.as_str(), self.affine.as_str()) {
            (_, "none") if self.channels.is_some() => String::new(),
            ("layer", "gain_bias") if self.channels.is_some() => " with gain and bias".to_owned(),
            ("rms", "gain") if self.channels.is_some() => " with a gain".to_owned(),
            ("layer", "gain_bias") | ("rms", "gain") | ("l2", "none") => String::new(),
            (_, "none") => " without gain and bias".to_owned(),
            (_, "gain") => " with a gain alone".to_owned(),
            (_, "gain_bias") => " with gain and bias".to_owned(),
            (_, other) => format!(" with {other}"),
        };
        let channels = self.channels.map_or_else(String::new, |OfChannels { count, groups }| {
            match self.affine.as_str() {
                "none" => format!(" of {count} channels in {groups} groups"),
                _ => format!(" for each of {count} channels in {groups} groups"),
            }
        });
        let activation = self.activation.as_ref().map_or_else(String::new, |name| format!(", {name}"));
        format!("{}, {norm}{affine}{channels}{activation}, {}", self.operation, self.storage())
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        fn order(key: &Key) -> impl Ord + '_ {
            let Key { operation, normalization, dtype, parameter_dtype, rows, cols, .. } = key;
            (
                rank(&OPERATIONS, operation),
                normalization,
                rank(&DTYPES, dtype),
                cols,
                rows,
                parameter_dtype,
                &key.affine,
                key.channels,
                &key.activation,
            )
        }
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, rows, cols, .. } = self;
        write!(f, "{operation}/{}/{}/{rows}x{cols}", self.norm(), self.storage())?;
        if let Some(OfChannels { count, groups }) = self.channels {
            write!(f, "/{count}_channels_in_{groups}")?;
        }
        self.activation.as_ref().map_or(Ok(()), |activation| write!(f, "/{activation}"))
    }
}
