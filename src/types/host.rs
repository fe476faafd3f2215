//! Tensors of the host.

#[cfg(feature = "gpu")]
use super::Element;
use super::{GateOrder, LEAST_GAIN, Running};
use bytemuck::{Pod, Zeroable};

/// What forward keeps of a row for backward, two float32 a row, in this order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Statistics {
    /// `sum(x) / cols`; 0 for RMS norm and L2.
    pub mean: f32,
    /// `1 / sqrt(variance + eps)`, `1 / sqrt(mean square + eps)` for RMS norm, `1 / max(norm, eps)` for L2.
    #[doc(alias = "inv_std", alias = "inv_std_dev", alias = "inv_rms")]
    pub rstd: f32,
}

/// A host tensor of rows: row `r` starts at `r * stride` and has `cols` values.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// The values.
    pub data: &'a [T],
    /// Elements from one row's start to the next; at least `cols`.
    pub stride: usize,
}

/// A host tensor of rows to write to; see [`Rows`]. What lies between the rows is left alone.
#[derive(Debug)]
pub struct RowsMut<'a, T> {
    /// The values.
    pub data: &'a mut [T],
    /// Elements from one row's start to the next; at least `cols`.
    pub stride: usize,
}

/// The host tensors that a forward call reads. Slices may be longer than what is read of them. Written with
/// `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct ForwardInputs<'a, T, P, R = T> {
    /// Rows of every tensor; 0 is valid and does nothing.
    pub rows: usize,
    /// The values to normalize, `[rows, cols]`.
    pub x: Rows<'a, T>,
    /// Added to x before normalizing, `[rows, cols]`.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: Option<Rows<'a, R>>,
    /// What x is multiplied by before it is added to the residual, `[cols]`, or a row for each sample where
    /// [`Problem::channels`](crate::Problem::channels) says so; only with a residual, and without an
    /// activation.
    #[doc(alias = "gated_residual", alias = "layer_scale")]
    pub gate: Option<&'a [P]>,
    /// Factor of each column, `[cols]`, or of each channel; given exactly when
    /// [`Problem::affine`](crate::Problem::affine) has a gain.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<&'a [P]>,
    /// Summand of each column, `[cols]`, or of each channel; given exactly when
    /// [`Problem::affine`](crate::Problem::affine) has a bias.
    #[doc(alias = "beta")]
    pub bias: Option<&'a [P]>,
    /// What y of each row is multiplied by at last, `[rows]`; only with
    /// [`Affine::None`](crate::Affine::None).
    #[doc(alias = "weight_g")]
    pub row_gain: Option<&'a [f32]>,
    /// What a gate is `silu` of, `[rows, cols]`: gated RMS norm, without a bias, an activation, a residual
    /// and a gain of each row.
    #[doc(alias = "z")]
    pub gate_input: Option<Rows<'a, T>>,
    /// Of what the gate is a factor; counts with `gate_input` alone.
    #[doc(alias = "norm_before_gate")]
    pub gate_order: GateOrder,
    /// Mean of each row, `[rows]`, in place of its own, as batch norm has its running ones in inference: with
    /// `variance` or neither, only for layer norm, and without a residual.
    pub mean: Option<&'a [f32]>,
    /// Variance of each row, `[rows]`; see [`mean`](Self::mean). One below 0 makes its row NaN.
    pub variance: Option<&'a [f32]>,
    /// Running statistics before the call; only for layer norm, without a residual, and not beside
    /// [`mean`](Self::mean).
    pub running: Option<Running<&'a [f32]>>,
}

impl<'a, T, P> ForwardInputs<'a, T, P> {
    /// Only x.
    #[must_use]
    pub const fn new(rows: usize, x: Rows<'a, T>) -> Self {
        Self {
            rows,
            x,
            residual: None,
            gate: None,
            gain: None,
            bias: None,
            row_gain: None,
            gate_input: None,
            gate_order: GateOrder::Before,
            mean: None,
            variance: None,
            running: None,
        }
    }
}

impl<'a, T, P, R> ForwardInputs<'a, T, P, R> {
    /// x and a residual, which may be of another type.
    #[must_use]
    pub const fn with_residual(rows: usize, x: Rows<'a, T>, residual: Rows<'a, R>) -> Self {
        Self {
            rows,
            x,
            residual: Some(residual),
            gate: None,
            gain: None,
            bias: None,
            row_gain: None,
            gate_input: None,
            gate_order: GateOrder::Before,
            mean: None,
            variance: None,
            running: None,
        }
    }
}

#[cfg(feature = "gpu")]
impl<'a, T: Element, P: Element> ForwardInputs<'a, T, P> {
    /// Every tensor by its name.
    pub(crate) fn given(&self) -> [(&'static str, Option<HostTensor<'a>>); 11] {
        [
            ("x", Some(self.x.into())),
            ("gate_input", self.gate_input.map(Into::into)),
            ("residual", self.residual.map(Into::into)),
            ("gate", self.gate.map(Into::into)),
            ("gain", self.gain.map(Into::into)),
            ("bias", self.bias.map(Into::into)),
            ("row_gain", self.row_gain.map(Into::into)),
            ("mean", self.mean.map(Into::into)),
            ("variance", self.variance.map(Into::into)),
            ("running_mean", self.running.map(|running| running.mean.into())),
            ("running_variance", self.running.map(|running| running.variance.into())),
        ]
    }
}

/// The host tensors that a backward call reads. Slices may be longer than what is read of them. Written with
/// `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct BackwardInputs<'a, T, P, D = T> {
    /// Rows of every tensor; 0 is valid: parameter gradients become 0, or stay where they accumulate.
    pub rows: usize,
    /// The values that forward normalized, `[rows, cols]`: its x, or its sum with a residual. Not read where
    /// `y` is given.
    pub x: Rows<'a, T>,
    /// What forward wrote, `[rows, cols]`, in place of x, with `rstd`: `xhat = (y - bias) / gain`. Not with
    /// an activation, and not where rows have a gain each, or mean and variance were given to forward.
    #[doc(alias = "memory_efficient")]
    pub y: Option<Rows<'a, D>>,
    /// The rstd of each row that forward saved, `[rows]`; only with `y`.
    #[doc(alias = "inv_std")]
    pub rstd: Option<&'a [f32]>,
    /// With `y`, the least |gain| (|1 + gain| where that is zero-centered) that xhat is made with, 2^-126 or
    /// more: in columns of smaller gains xhat counts as 0. [`LEAST_GAIN`](crate::LEAST_GAIN) by default.
    pub least_gain: f32,
    /// The gradient with respect to forward's y, `[rows, cols]`.
    #[doc(alias = "grad_output")]
    pub dy: Rows<'a, D>,
    /// What the gate of forward was `silu` of, `[rows, cols]`: gated RMS norm.
    #[doc(alias = "z")]
    pub gate_input: Option<Rows<'a, T>>,
    /// Of what the gate was a factor; counts with `gate_input` alone.
    #[doc(alias = "norm_before_gate")]
    pub gate_order: GateOrder,
    /// The gradient that reaches the sum of a residual on other ways, `[rows, cols]`: added to dx.
    #[doc(alias = "residual_grad")]
    pub dsum: Option<Rows<'a, T>>,
    /// What forward's gate has multiplied, its x, `[rows, cols]`: given exactly if the gradient of the gate
    /// is wanted. The x here is the gated sum.
    pub branch: Option<Rows<'a, T>>,
    /// The gate of forward, `[cols]`, or a row for each sample: given exactly if the gradient of the branch
    /// is wanted.
    #[doc(alias = "layer_scale")]
    pub gate: Option<&'a [P]>,
    /// Factor of each column, `[cols]`, or of each channel; given exactly when
    /// [`Problem::affine`](crate::Problem::affine) has a gain.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<&'a [P]>,
    /// Summand of each column, `[cols]`, or of each channel; given exactly when
    /// [`Problem::affine`](crate::Problem::affine) has a bias and
    /// [`Problem::activation`](crate::Problem::activation) is not none, or `y` is given: else no gradient
    /// depends on it.
    #[doc(alias = "beta")]
    pub bias: Option<&'a [P]>,
    /// What forward multiplied y of each row by, `[rows]`; only with [`Affine::None`](crate::Affine::None).
    #[doc(alias = "weight_g")]
    pub row_gain: Option<&'a [f32]>,
    /// The mean of each row that forward was given, `[rows]`: then it is a constant, and so is `variance`. A
    /// device takes them without gain and bias of columns.
    pub mean: Option<&'a [f32]>,
    /// The variance of each row that forward was given, `[rows]`.
    pub variance: Option<&'a [f32]>,
}

impl<'a, T, P, D> BackwardInputs<'a, T, P, D> {
    /// No gain and no bias.
    #[must_use]
    pub const fn new(rows: usize, x: Rows<'a, T>, dy: Rows<'a, D>) -> Self {
        Self {
            rows,
            x,
            y: None,
            rstd: None,
            least_gain: LEAST_GAIN,
            dy,
            gate_input: None,
            gate_order: GateOrder::Before,
            dsum: None,
            branch: None,
            gate: None,
            gain: None,
            bias: None,
            row_gain: None,
            mean: None,
            variance: None,
        }
    }

    /// From forward's y and rstd, in place of x; no gain and no bias.
    #[must_use]
    pub const fn from_y(rows: usize, y: Rows<'a, D>, dy: Rows<'a, D>, rstd: &'a [f32]) -> Self {
        let x = Rows { data: &[], stride: y.stride };
        Self { y: Some(y), rstd: Some(rstd), ..Self::new(rows, x, dy) }
    }
}

#[cfg(feature = "gpu")]
impl<'a, T: Element, P: Element> BackwardInputs<'a, T, P> {
    /// Every tensor by its name.
    pub(crate) fn given(&self) -> [(&'static str, Option<HostTensor<'a>>); 12] {
        [
            ("gate_input", self.gate_input.map(Into::into)),
            ("x", self.y.is_none().then(|| self.x.into())),
            ("y", self.y.map(Into::into)),
            ("dy", Some(self.dy.into())),
            ("dsum", self.dsum.map(Into::into)),
            ("branch", self.branch.map(Into::into)),
            ("gate", self.gate.map(Into::into)),
            ("gain", self.gain.map(Into::into)),
            ("bias", self.bias.map(Into::into)),
            ("row_gain", self.row_gain.map(Into::into)),
            // Of forward, which runs before.
            ("mean", self.mean.map(Into::into)),
            ("variance", self.variance.map(Into::into)),
        ]
    }
}

/// A tensor of the host's, for whoever takes it to a device.
#[cfg(feature = "gpu")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostTensor<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) elements: usize,
    /// Elements from one row's start to the next; none for a tensor that has no rows.
    pub(crate) stride: Option<usize>,
}

#[cfg(feature = "gpu")]
impl<'a, T: Element> From<Rows<'a, T>> for HostTensor<'a> {
    fn from(Rows { data, stride }: Rows<'a, T>) -> Self {
        Self { bytes: bytemuck::cast_slice(data), elements: data.len(), stride: Some(stride) }
    }
}

#[cfg(feature = "gpu")]
impl<'a, P: Element> From<&'a [P]> for HostTensor<'a> {
    fn from(values: &'a [P]) -> Self {
        Self { bytes: bytemuck::cast_slice(values), elements: values.len(), stride: None }
    }
}
