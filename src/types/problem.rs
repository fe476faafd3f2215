//! What is computed.

use super::{Activation, Affine, Channels, Dtype, Normalization};
use crate::error::Error;

/// A normalization over rows of `cols` values, whatever the number of rows. Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// Values in a row, 1 to [`Problem::MAX_COLS`].
    #[doc(alias = "normalized_shape", alias = "hidden_size")]
    pub cols: u32,
    /// Storage of x, dx and dsum. In backward x is what forward normalized: after a residual, its sum.
    pub dtype: Dtype,
    /// Storage of gain, bias, gate and their gradients: `dtype` or f32.
    pub parameter_dtype: Dtype,
    /// Storage of y and dy, `None` for `dtype`. Of f16 and bf16, rows have one at most.
    pub y_dtype: Option<Dtype>,
    /// Storage of residual and sum, such as a stream in f32 beside rows in 16 bits, and in backward, whose x
    /// is that sum, of branch and dbranch; `None` for `dtype`. Of f16 and bf16, rows have one at most.
    pub residual_dtype: Option<Dtype>,
    /// Layer norm, RMS norm or L2.
    pub normalization: Normalization,
    /// Which of gain and bias there are. Gain and bias by default, whatever the normalization: RMS norm with
    /// a gain alone is [`rms`](Self::rms), L2 with neither [`l2`](Self::l2).
    #[doc(alias = "elementwise_affine")]
    pub affine: Affine,
    /// What is applied to each value after gain and bias.
    #[doc(alias = "nonlinearity")]
    pub activation: Activation,
    /// How channels lie in rows, where gain and bias, or a gate, have a value for each channel; `None` where
    /// they have one for each column.
    pub channels: Option<Channels>,
    /// Added to the variance (mean square) before the root; 0 or more, and 0 where it is below the smallest
    /// normal float32. A row whose standard deviation with it is below 2^-126 counts as without variance:
    /// xhat, rstd and dx are 0. For L2 it is the least norm, and usually 0 ([`Normalization::usual_eps`]): a
    /// problem that is written over the default has 1e-5.
    #[doc(alias = "epsilon")]
    pub eps: f32,
}

impl Default for Problem {
    /// Layer norm with gain and bias in f32, eps 1e-5; `cols` is 0 and must be set.
    fn default() -> Self {
        Self {
            cols: 0,
            dtype: Dtype::F32,
            parameter_dtype: Dtype::F32,
            y_dtype: None,
            residual_dtype: None,
            normalization: Normalization::Layer,
            affine: Affine::GainBias,
            activation: Activation::None,
            channels: None,
            eps: 1e-5,
        }
    }
}

impl Problem {
    /// The widest row: 2^24 values, up to where float32 counts exactly.
    pub const MAX_COLS: u32 = 1 << 24;

    /// Layer norm of `cols` columns in f32, with gain and bias.
    #[must_use]
    #[doc(alias = "layer_norm")]
    pub fn layer(cols: u32) -> Self {
        Self { cols, ..Self::default() }
    }

    /// RMS norm of `cols` columns in f32, with a gain alone, as models have it.
    #[must_use]
    #[doc(alias = "rms_norm", alias = "rmsnorm", alias = "RMSNorm")]
    pub fn rms(cols: u32) -> Self {
        Self { cols, normalization: Normalization::Rms, affine: Affine::Gain, ..Self::default() }
    }

    /// L2 normalization of rows of `cols` columns in f32, without gain and eps: each row divided by its
    /// Euclidean norm.
    #[must_use]
    #[doc(alias = "normalize", alias = "l2_normalize")]
    pub fn l2(cols: u32) -> Self {
        let normalization = Normalization::L2;
        Self { cols, normalization, affine: Affine::None, eps: normalization.usual_eps(), ..Self::default() }
    }

    /// Group norm of data `[samples, channels, spatial]` in f32, with gain and bias for each channel: over
    /// the neighboring channels of each of `groups` groups. Rows are `samples * groups`, see [`Channels`].
    /// `groups == channels` is instance norm, 1 group the norm of a whole sample.
    #[must_use]
    #[doc(alias = "group_norm", alias = "GroupNorm", alias = "instance_norm", alias = "InstanceNorm")]
    pub fn group(channels: u32, groups: u32, spatial: u32) -> Self {
        let cols = channels.checked_div(groups).unwrap_or(0).saturating_mul(spatial);
        let channels = Some(Channels::new(channels, groups, spatial));
        Self { cols, channels, ..Self::default() }
    }

    /// Batch norm (Ioffe, Szegedy 2015) of `[samples, channels, spatial]` in f32, with gain and bias for each
    /// channel: a row is a channel, with its values of all samples. That is instance norm of one sample, the
    /// batch. `samples * spatial`, the values of a channel, are at most [`MAX_COLS`](Self::MAX_COLS).
    #[must_use]
    #[doc(alias = "batch_norm", alias = "BatchNorm", alias = "BatchNormalization")]
    pub fn batch(channels: u32, samples: u32, spatial: u32) -> Self {
        Self::group(channels, channels, samples.saturating_mul(spatial))
    }

    /// Values of gain, of bias and of their gradients: one for each column, or for each channel.
    #[must_use]
    pub const fn parameters(&self) -> u32 {
        match self.channels {
            Some(channels) if !channels.shares_affine => channels.count,
            _ => self.cols,
        }
    }

    /// Values of a gate, and of its gradient: one for each column, or for each of each sample.
    #[must_use]
    pub const fn gates(&self) -> u32 {
        match self.channels {
            Some(channels) => channels.count,
            None => self.cols,
        }
    }

    /// The number among [`parameters`](Self::parameters) of a column of one of `rows` rows.
    pub(crate) const fn parameter_of(&self, rows: usize, row: usize, column: usize) -> usize {
        match self.channels {
            Some(channels) if channels.shares_affine => column,
            _ => self.gate_of(rows, row, column),
        }
    }

    /// The same among [`gates`](Self::gates).
    pub(crate) const fn gate_of(&self, rows: usize, row: usize, column: usize) -> usize {
        match self.channels {
            Some(channels) => {
                let first = channels.group_of(row, rows) * channels.per_row() as usize;
                first + column / channels.spatial as usize
            }
            None => column,
        }
    }

    /// That a call over such rows may have a gate, where `buffer` is that one, its gradient, or what it
    /// multiplies.
    pub(crate) fn check_uses_gate(&self, buffer: &'static str) -> Result<(), Error> {
        let why = match (self.activation, self.channels) {
            (Activation::Silu, _) => "a gated sum is normalized with `Activation::None` alone",
            (_, Some(channels)) if !channels.is_by_column() => {
                "`channels` are of several columns each, or of one column a row: a gate has a value for each \
                 column, of all rows or of each sample"
            }
            _ => return Ok(()),
        };
        Err(Error::UnusedBuffer { buffer, why })
    }

    /// That a forward call with a gate has what that needs, and no gain of each row.
    pub(crate) fn check_gate_of_forward(&self, residual: bool, row_gain: bool) -> Result<(), Error> {
        if !residual {
            let why = "a gated x is added to it: `sum = residual + gate * x`";
            return Err(Error::MissingBuffer { buffer: "residual", why });
        }
        if row_gain {
            return Err(Error::UnusedBuffer { buffer: "row_gain", why: Self::NO_GAIN_OF_SUMS });
        }
        self.check_uses_gate("gate")
    }

    pub(crate) const NO_GAIN_OF_SUMS: &str = "rows of a gated sum have no gain each";

    /// The same rows without what comes after xhat.
    pub(crate) const fn without_affine(&self) -> Self {
        Self { affine: Affine::None, activation: Activation::None, parameter_dtype: self.dtype, ..*self }
    }

    /// That rows may have a gain each, where `buffer` is that one, or its gradient.
    pub(crate) fn check_uses_row_gain(&self, buffer: &'static str) -> Result<(), Error> {
        let why = match (self.affine, self.activation) {
            (Affine::None, Activation::None) => return Ok(()),
            (Affine::None, _) => "rows have a gain each with `Activation::None` alone",
            _ => "`affine` has a gain for each column; rows have one each with `Affine::None` alone",
        };
        Err(Error::UnusedBuffer { buffer, why })
    }

    /// That backward is given the bias exactly where its gradients depend on it.
    pub(crate) fn check_bias_of_backward(&self, given: bool, from_y: bool) -> Result<(), Error> {
        match ((self.activation.is_some() || from_y) && self.affine.has_bias(), given) {
            (true, false) if from_y => {
                let why = "`affine` has a bias, and xhat is made from y without it";
                Err(Error::MissingBuffer { buffer: "bias", why })
            }
            (true, false) => {
                let why = "`affine` has a bias, and the gradient of the activation depends on it";
                Err(Error::MissingBuffer { buffer: "bias", why })
            }
            (false, true) if self.affine.has_bias() => {
                let why = "no gradient depends on it without an activation";
                Err(Error::UnusedBuffer { buffer: "bias", why })
            }
            (false, true) => self.affine.check_uses_bias("bias"),
            _ => Ok(()),
        }
    }

    /// Whether a kernel of its own takes the sums of dgain and dbias over the columns of each channel, of
    /// which a row has several.
    pub(crate) const fn has_channel_sums(&self) -> bool {
        matches!(self.channels, Some(channels) if !channels.is_one_a_row() && !channels.is_by_column())
    }

    /// Whether gain and bias have values that are accessed one by one, as those of channels with several
    /// columns are.
    pub(crate) const fn has_single_parameters(&self) -> bool {
        matches!(self.channels, Some(channels) if !channels.is_by_column())
    }

    /// That rows are those of whole samples, where samples have several.
    pub(crate) fn check_rows(&self, rows: u64) -> Result<(), Error> {
        self.channels.map_or(Ok(()), |channels| channels.check_rows(rows))
    }

    /// Checks the fields against their documented ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(channels) = self.channels {
            channels.validate(self.cols)?;
        }
        if self.cols == 0 || self.cols > Self::MAX_COLS {
            return Err(Error::invalid("cols", self.cols, format!("1 to {}", Self::MAX_COLS)));
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(Error::invalid("eps", self.eps, "a finite number of at least 0"));
        }
        if self.parameter_dtype != self.dtype && self.parameter_dtype != Dtype::F32 {
            let needs = match self.dtype {
                Dtype::F32 => "f32".to_owned(),
                dtype => format!("{dtype} or f32"),
            };
            return Err(Error::invalid("parameter_dtype", self.parameter_dtype, needs));
        }
        let mut first = self.dtype;
        for (field, dtype) in [("y_dtype", self.y_dtype), ("residual_dtype", self.residual_dtype)] {
            let Some(dtype) = dtype else { continue };
            if first != Dtype::F32 && ![first, Dtype::F32].contains(&dtype) {
                return Err(Error::invalid(
                    field,
                    dtype,
                    format!("{first} or f32: rows have one type of 16 bits"),
                ));
            }
            first = if first == Dtype::F32 { dtype } else { first };
        }
        Ok(())
    }
}
