//! What is computed.

use super::{Activation, Affine, Dtype, Normalization};
use crate::error::Error;

/// How channels lie in rows, where gain and bias have a value for each channel and not for each column: in
/// group norm (Wu, He 2018) and instance norm (Ulyanov, Vedaldi, Lempitsky 2016).
///
/// Of data `[samples, count, spatial]` a row is a group: `count / groups` neighboring channels of one sample,
/// each of `spatial` values. So `cols = count / groups * spatial`, there are `samples * groups` rows, and row
/// `r` is group `r % groups` of sample `r / groups`. With as many groups as channels it is instance norm,
/// with one the norm of a whole sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channels {
    /// Channels of a sample: values of gain and of bias.
    pub count: u32,
    /// Groups of a sample, which divide its channels evenly.
    pub groups: u32,
    /// Values of a channel of a sample: all of its spatial dimensions.
    pub spatial: u32,
    /// Which group a row is of. Only where each column is a channel, as in
    /// [`of_samples`](Self::of_samples), may it be another than the default.
    pub order: RowOrder,
}

/// How the rows of groups follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowOrder {
    /// One of each group, then the next of each: row `r` is of group `r % groups`.
    #[default]
    Interleaved,
    /// All rows of a group, then those of the next: of `rows` rows, row `r` is of group
    /// `r / (rows / groups)`.
    Blocked,
}

impl Channels {
    /// Of rows that take turns ([`RowOrder::Interleaved`]), as in group norm and instance norm.
    #[must_use]
    pub const fn new(count: u32, groups: u32, spatial: u32) -> Self {
        Self { count, groups, spatial, order: RowOrder::Interleaved }
    }

    /// Those of a modulation (adaLN: Peebles, Xie 2023): a gain and a bias for each of `samples` samples,
    /// `[samples, cols]`, over rows `[samples, tokens, cols]`. With a [zero-centered
    /// gain](crate::Affine::ZeroCenteredGainBias) that is `(1 + scale) * xhat + shift`, and dgain and dbias
    /// are dscale and dshift: sums over the tokens of a sample. With as many samples as rows each row has its
    /// own. `samples * cols` is at most [`Problem::MAX_COLS`], and x fits one binding: rows of one token of
    /// all samples are never apart. Larger tensors take a call for some samples at a time.
    ///
    /// [`LayerNorm`](crate::LayerNorm) takes rows as they lie. A [`Plan`](crate::plan::Plan) numbers them one
    /// of each sample, then the next of each, and its host says so by places, as docs/emit.md has it.
    ///
    /// The number of rows is a multiple of `samples`, and says how many tokens each has. A call over fewer
    /// rows than it was prepared for has fewer tokens in each sample, as many samples, and the places of the
    /// tokens that are left stay.
    ///
    /// ```
    /// use wgpu_layernorm::{Affine, Channels, Problem};
    ///
    /// let modulated = Problem {
    ///     channels: Some(Channels::of_samples(2, 1152)),
    ///     affine: Affine::ZeroCenteredGainBias,
    ///     eps: 1e-6,
    ///     ..Problem::layer(1152)
    /// };
    /// assert_eq!(modulated.parameters(), 2 * 1152);
    /// modulated.validate()?;
    /// # Ok::<(), wgpu_layernorm::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "modulation", alias = "adaLN", alias = "scale_shift", alias = "modulate")]
    pub const fn of_samples(samples: u32, cols: u32) -> Self {
        Self { order: RowOrder::Blocked, ..Self::of_heads(samples, cols) }
    }

    /// Those of heads that have a gain and a bias each, `[heads, head_dim]`: the QK norm of attention whose
    /// heads do not share their gain. A row is a head of `head_dim` columns, each a channel, and a sample is
    /// a token: row `r` is head `r % heads` of token `r / heads`.
    ///
    /// ```
    /// use wgpu_layernorm::{Channels, Problem};
    ///
    /// let q_norm = Problem { channels: Some(Channels::of_heads(32, 128)), ..Problem::rms(128) };
    /// assert_eq!(q_norm.parameters(), 32 * 128);
    /// q_norm.validate()?;
    /// # Ok::<(), wgpu_layernorm::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "qk_norm", alias = "q_norm", alias = "k_norm")]
    pub const fn of_heads(heads: u32, head_dim: u32) -> Self {
        Self::new(heads.saturating_mul(head_dim), heads, 1)
    }

    /// Channels of a group; none where there are no groups, which no valid problem has.
    #[must_use]
    pub const fn per_row(self) -> u32 {
        match self.count.checked_div(self.groups) {
            Some(channels) => channels,
            None => 0,
        }
    }

    /// Whether all values of an access to so many are of one channel, which takes four of them for a vector.
    pub(crate) const fn is_one_an_access(self, vector_width: u32) -> bool {
        self.is_one_a_row() || (vector_width >= 4 && self.spatial.is_multiple_of(4))
    }

    /// Whether all values of a step of so many columns are of one channel.
    pub(crate) const fn is_one_a_step(self, step_cols: u32) -> bool {
        self.is_one_a_row() || self.spatial.is_multiple_of(step_cols)
    }

    /// Whether a row is one channel, as in instance norm: then a row's sums are those of its channel.
    pub(crate) const fn is_one_a_row(self) -> bool {
        self.per_row() == 1
    }

    /// Whether each column of a row is a channel, and the row has several: gain and bias are a row for each
    /// group.
    pub(crate) const fn is_by_column(self) -> bool {
        self.spatial == 1 && !self.is_one_a_row()
    }

    /// Whether all rows of a group follow each other.
    pub(crate) const fn is_blocked(self) -> bool {
        matches!(self.order, RowOrder::Blocked)
    }

    /// The group of a row among `rows`.
    pub(crate) const fn group_of(self, row: usize, rows: usize) -> usize {
        let groups = self.groups as usize;
        match self.order {
            RowOrder::Interleaved => row % groups,
            RowOrder::Blocked => row / (rows / groups),
        }
    }

    /// That rows are those of whole samples, or as many of each group.
    pub(crate) fn check_rows(self, rows: u64) -> Result<(), Error> {
        match (rows.is_multiple_of(self.groups.into()), self.order) {
            (true, _) => Ok(()),
            (false, RowOrder::Interleaved) => {
                let needs = format!("a multiple of the {} groups of a sample", self.groups);
                Err(Error::invalid("rows", rows, needs))
            }
            (false, RowOrder::Blocked) => {
                let needs = format!("a multiple of {}: as many of each sample", self.groups);
                Err(Error::invalid("rows", rows, needs))
            }
        }
    }

    /// What rows inside an outer one need to be: what an error says of others.
    pub(crate) fn rows_of_sample(groups: u32) -> String {
        format!("{groups}, the groups of a sample")
    }

    /// That the fields are in their ranges and go together, for rows of so many columns.
    pub(crate) fn validate(self, cols: u32) -> Result<(), Error> {
        let Self { count, groups, spatial, .. } = self;
        for (field, value) in [("count", count), ("groups", groups), ("spatial", spatial)] {
            if value == 0 || value > Problem::MAX_COLS {
                let of_all =
                    if self.spatial == 1 { ": a value for each column of each head or sample" } else { "" };
                let needs =
                    format!("1 to {}{}", Problem::MAX_COLS, if field == "count" { of_all } else { "" });
                return Err(Error::invalid(format!("channels.{field}"), value, needs));
            }
        }
        if !count.is_multiple_of(groups) {
            return Err(Error::invalid("channels.count", count, format!("a multiple of groups, {groups}")));
        }
        let needs = u64::from(self.per_row()) * u64::from(spatial);
        if u64::from(cols) != needs {
            let why = format!("{needs}: {} channels of a group times {spatial} values", self.per_row());
            return Err(Error::invalid("cols", cols, why));
        }
        if self.is_blocked() && !self.is_by_column() {
            let has = format!("{cols} columns in channels of {spatial} values");
            let needs = "2 or more columns in channels of 1 value: a gain for each column of each sample";
            return Err(Error::invalid("channels of samples", has, needs));
        }
        Ok(())
    }
}

/// A normalization over rows of `cols` values, whatever the number of rows. Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// Values in a row, 1 to [`Problem::MAX_COLS`].
    #[doc(alias = "normalized_shape", alias = "hidden_size")]
    pub cols: u32,
    /// Storage of x, dx and dsum. In backward x is what forward normalized: after a residual, its sum.
    pub dtype: Dtype,
    /// Storage of gain, bias, dgain and dbias: `dtype` or f32.
    pub parameter_dtype: Dtype,
    /// Storage of y and dy, `None` for `dtype`. Of f16 and bf16, rows have one at most.
    pub y_dtype: Option<Dtype>,
    /// Storage of residual and sum, such as a stream in f32 beside rows in 16 bits; `None` for `dtype`. Of
    /// f16 and bf16, rows have one at most.
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
    /// How channels lie in rows, where gain and bias have a value for each channel; `None` where they have
    /// one for each column.
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
            Some(channels) => channels.count,
            None => self.cols,
        }
    }

    /// The number among [`parameters`](Self::parameters) of a column of one of `rows` rows.
    pub(crate) const fn parameter_of(&self, rows: usize, row: usize, column: usize) -> usize {
        match self.channels {
            Some(channels) => {
                let first = channels.group_of(row, rows) * channels.per_row() as usize;
                first + column / channels.spatial as usize
            }
            None => column,
        }
    }

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
