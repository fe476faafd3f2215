//! What can be wrong with a call, an adapter or a run.

/// Every error of the crate. *Invalid* means that the call is wrong everywhere; *unsupported* that this
/// adapter or device cannot do it; the others that a run failed. An invalid or unsupported call has not
/// reached the GPU.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is outside its documented range.
    #[error("{what} is {has}, needs to be {needs}")]
    Invalid {
        /// The field or argument.
        what: String,
        /// What was given.
        has: String,
        /// What is needed.
        needs: String,
    },
    /// A buffer that the problem calls for was not given.
    #[error("buffer {buffer} is missing: {why}")]
    MissingBuffer {
        /// The tensor's name.
        buffer: &'static str,
        /// What calls for it.
        why: &'static str,
    },
    /// A buffer was given that the problem has no use for.
    #[error("buffer {buffer} was given but is not used: {why}")]
    UnusedBuffer {
        /// The tensor's name.
        buffer: &'static str,
        /// Why there is no use for it.
        why: &'static str,
    },
    /// A buffer or slice ends before its tensor does.
    #[error("buffer {buffer} has {has} {unit}, needs {needs}")]
    BufferTooSmall {
        /// The tensor's name.
        buffer: &'static str,
        /// What there is, from the start of the buffer, or of the slice that was given.
        has: u64,
        /// Where the tensor ends, from the same start.
        needs: u64,
        /// `bytes` for GPU buffers, `elements` for host slices.
        unit: &'static str,
    },
    /// A GPU buffer was created without a usage that is needed.
    #[error("buffer {buffer} has the usages {has}, needs {needs}")]
    BufferUsage {
        /// The tensor's name.
        buffer: &'static str,
        /// The buffer's usages.
        has: String,
        /// The usage that is missing.
        needs: String,
    },
    /// Two tensors share bytes of a buffer, at least one of them is written, and they are not exactly the
    /// same.
    #[error("{written} and {other} overlap: {why}")]
    Overlap {
        /// The tensor that is written.
        written: &'static str,
        /// The tensor it collides with.
        other: &'static str,
        /// Which rule it breaks, and what is needed instead.
        why: &'static str,
    },
    /// This adapter or device cannot do what is asked.
    #[error("{what} is {has} on this device, needs {needs}")]
    Unsupported {
        /// The limit or feature.
        what: String,
        /// What the device has.
        has: String,
        /// What the call needs.
        needs: String,
    },
    /// The text of a shader cannot be put together: a fault of this crate.
    #[error(
        "shader {label} cannot be assembled: {message}; this is a fault of wgpu-layernorm, please report it"
    )]
    Assembly {
        /// The variant.
        label: String,
        /// What does not fit.
        message: String,
    },
    /// What went wrong in a call of a normalization that has a label, see
    /// `LayerNormDescriptor::label`.
    #[error("{label}: {error}")]
    Labeled {
        /// The label.
        label: String,
        /// What went wrong.
        error: Box<Self>,
    },
    /// No adapter matches what was asked for.
    #[error("no adapter matches {requested}; present: {}", if present.is_empty() { "none (on Debian and Ubuntu, apt-get install mesa-vulkan-drivers gives a software adapter)".to_owned() } else { present.join(", ") })]
    NoAdapter {
        /// What was asked for.
        requested: String,
        /// The adapters that there are.
        present: Vec<String>,
    },
    /// wgpu refused or lost something at run time: a device that cannot be opened, memory that ran out.
    #[error("{doing} failed: {message}")]
    Device {
        /// What was being done.
        doing: &'static str,
        /// wgpu's words.
        message: String,
    },
}

impl Error {
    /// An [`Error::Invalid`].
    pub(crate) fn invalid(
        what: impl Into<String>,
        has: impl std::fmt::Display,
        needs: impl std::fmt::Display,
    ) -> Self {
        Self::Invalid { what: what.into(), has: has.to_string(), needs: needs.to_string() }
    }

    /// An [`Error::Unsupported`].
    pub(crate) fn unsupported(
        what: impl Into<String>,
        has: impl std::fmt::Display,
        needs: impl std::fmt::Display,
    ) -> Self {
        Self::Unsupported { what: what.into(), has: has.to_string(), needs: needs.to_string() }
    }

    /// The error of a normalization that has this label, if any.
    #[cfg(feature = "gpu")]
    pub(crate) fn labeled(self, label: Option<&str>) -> Self {
        match label {
            Some(label) => Self::Labeled { label: label.to_owned(), error: Box::new(self) },
            None => self,
        }
    }

    /// The error without the label of its normalization.
    #[must_use]
    pub fn unlabeled(&self) -> &Self {
        match self {
            Self::Labeled { error, .. } => error.unlabeled(),
            error => error,
        }
    }

    /// Whether the call itself is wrong, on any device.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(
            self.unlabeled(),
            Self::Invalid { .. }
                | Self::MissingBuffer { .. }
                | Self::UnusedBuffer { .. }
                | Self::BufferTooSmall { .. }
                | Self::BufferUsage { .. }
                | Self::Overlap { .. }
        )
    }

    /// Whether another adapter, or this one opened with more features or limits, could do it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.unlabeled(), Self::Unsupported { .. } | Self::NoAdapter { .. })
    }
}
