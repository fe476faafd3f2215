//! How channels lie in rows, and the rows of samples.

use super::Problem;
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
    /// Whether gain and bias are `[cols]` all the same, one row that all groups share, and only a gate has
    /// one for each: see [`of_gates`](Self::of_gates).
    pub shares_affine: bool,
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
        Self { count, groups, spatial, order: RowOrder::Interleaved, shares_affine: false }
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

    /// Those of a gate for each of `samples` samples, `[samples, cols]`, beside gain and bias that all of
    /// them share, `[cols]`: `sum = residual + gate * x`, and a norm with an affine of its own. In all else
    /// as [`of_samples`](Self::of_samples), which a gate goes with too: scale, shift and gate of each sample,
    /// or with [`Affine::None`](crate::Affine::None) a gate alone. A gate `[cols]` for all rows needs no
    /// channels.
    ///
    /// ```
    /// use wgpu_layernorm::{Channels, Problem};
    ///
    /// let gated = Problem { channels: Some(Channels::of_gates(2, 1152)), ..Problem::layer(1152) };
    /// assert_eq!((gated.parameters(), gated.gates()), (1152, 2 * 1152));
    /// gated.validate()?;
    /// # Ok::<(), wgpu_layernorm::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "gated_residual", alias = "LayerScale")]
    pub const fn of_gates(samples: u32, cols: u32) -> Self {
        Self { shares_affine: true, ..Self::of_samples(samples, cols) }
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

    /// Whether gain and bias are a row for each group.
    pub(crate) const fn has_parameter_rows(self) -> bool {
        self.is_by_column() && !self.shares_affine
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
        if self.shares_affine && !self.is_by_column() {
            let has = format!("{cols} columns in channels of {spatial} values");
            let needs = "2 or more columns in channels of 1 value: a gate for each column of each sample";
            return Err(Error::invalid("channels that share gain and bias", has, needs));
        }
        if self.is_blocked() && !self.is_by_column() {
            let has = format!("{cols} columns in channels of {spatial} values");
            let needs = "2 or more columns in channels of 1 value: a gain for each column of each sample";
            return Err(Error::invalid("channels of samples", has, needs));
        }
        Ok(())
    }
}
