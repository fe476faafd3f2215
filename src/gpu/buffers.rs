//! The caller's buffers.

use crate::error::Error;
use crate::plan::{Backward, Forward, Tensor};
use crate::types::{Affine, Gradient};

/// Rows of a tensor in a GPU buffer: row `r` starts at element `offset + r * stride`.
#[derive(Clone, Copy, Debug)]
pub struct BufferRows<'a> {
    /// The buffer, created with `BufferUsages::STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Elements before the first row.
    pub offset: u64,
    /// Elements from one row's start to the next, at least `cols`; `None` for `cols`.
    pub stride: Option<u64>,
}

/// A tensor without rows in a GPU buffer: gain, bias and their gradients (`cols` elements), or statistics (two float32 a
/// row, see [`Statistics`](crate::Statistics)).
#[derive(Clone, Copy, Debug)]
pub struct BufferVector<'a> {
    /// The buffer, created with `BufferUsages::STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Elements before the first.
    pub offset: u64,
}

impl<'a> From<&'a wgpu::Buffer> for BufferRows<'a> {
    /// Rows one after the other from the start of the buffer.
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, stride: None }
    }
}

impl<'a> From<&'a wgpu::Buffer> for BufferVector<'a> {
    /// From the start of the buffer.
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// Where a tensor lies, whatever its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) buffer: &'a wgpu::Buffer,
    pub(crate) offset: u64,
    /// Of rows alone.
    pub(crate) stride: Option<u64>,
}

impl<'a> From<BufferRows<'a>> for Given<'a> {
    fn from(BufferRows { buffer, offset, stride }: BufferRows<'a>) -> Self {
        Self { buffer, offset, stride }
    }
}

impl<'a> From<BufferVector<'a>> for Given<'a> {
    fn from(BufferVector { buffer, offset }: BufferVector<'a>) -> Self {
        Self { buffer, offset, stride: None }
    }
}

impl<'a> From<Given<'a>> for BufferRows<'a> {
    fn from(Given { buffer, offset, stride }: Given<'a>) -> Self {
        Self { buffer, offset, stride }
    }
}

impl<'a> From<Given<'a>> for BufferVector<'a> {
    fn from(Given { buffer, offset, .. }: Given<'a>) -> Self {
        Self { buffer, offset }
    }
}

/// The buffers of a forward call. y may be exactly the rows of x or of the residual, and sum likewise: the
/// call then works in place. Otherwise what is written must not share bytes with anything else, but may lie
/// in the same buffer.
#[derive(Clone, Copy, Debug)]
pub struct ForwardBuffers<'a> {
    /// Number of rows.
    pub rows: u64,
    /// Input, `[rows, cols]`.
    pub x: BufferRows<'a>,
    /// Added to x before normalising, `[rows, cols]`.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: Option<BufferRows<'a>>,
    /// `[cols]`; given exactly if the problem's affine has it.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<BufferVector<'a>>,
    /// `[cols]`; given exactly if the problem's affine has it.
    #[doc(alias = "beta")]
    pub bias: Option<BufferVector<'a>>,
    /// Output, `[rows, cols]`; may be left out where statistics are wanted, for a kernel of the caller's that applies them.
    pub y: Option<BufferRows<'a>>,
    /// Output `x + residual` as stored, `[rows, cols]`, which backward needs; only with `residual`. Without it the sum is rounded
    /// all the same, and normalized as it would be stored.
    pub sum: Option<BufferRows<'a>>,
    /// Output mean and rstd, `[rows, 2]` float32.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Option<BufferVector<'a>>,
    /// Scratch of the caller's, at least [`forward_scratch_bytes`](crate::LayerNorm::forward_scratch_bytes);
    /// `None` for that of the [`Kernels`](crate::Kernels).
    pub scratch: Option<wgpu::BufferSlice<'a>>,
}

impl<'a> ForwardBuffers<'a> {
    /// Only x and y.
    #[must_use]
    pub fn new(rows: u64, x: impl Into<BufferRows<'a>>, y: impl Into<BufferRows<'a>>) -> Self {
        Self {
            rows,
            x: x.into(),
            residual: None,
            gain: None,
            bias: None,
            y: Some(y.into()),
            sum: None,
            statistics: None,
            scratch: None,
        }
    }

    /// x and statistics alone.
    #[must_use]
    pub fn statistics(
        rows: u64,
        x: impl Into<BufferRows<'a>>,
        statistics: impl Into<BufferVector<'a>>,
    ) -> Self {
        let x = x.into();
        Self { y: None, statistics: Some(statistics.into()), ..Self::new(rows, x, x) }
    }

    /// That the tensors go together, and with the affine.
    pub(super) fn check(&self, affine: Affine) -> Result<(), Error> {
        if self.residual.is_none() && self.sum.is_some() {
            return Err(Error::UnusedBuffer { buffer: "sum", why: "no residual was given" });
        }
        if self.y.is_some() {
            return check_affine(affine, self.gain.is_some(), Some(self.bias.is_some()));
        }
        let parameters = [("gain", self.gain.is_some()), ("bias", self.bias.is_some())];
        if let Some((buffer, _)) = parameters.into_iter().find(|(_, given)| *given) {
            return Err(Error::UnusedBuffer {
                buffer,
                why: "y is left out, and statistics do not depend on it",
            });
        }
        match self.statistics {
            Some(_) => Ok(()),
            None => Err(Error::MissingBuffer {
                buffer: "y",
                why: "at least one of y and statistics must be given",
            }),
        }
    }

    pub(super) fn given(&self) -> [(Tensor, Option<Given<'a>>); 7] {
        [
            (Tensor::X, Some(self.x.into())),
            (Tensor::Residual, self.residual.map(Into::into)),
            (Tensor::Gain, self.gain.map(Into::into)),
            (Tensor::Bias, self.bias.map(Into::into)),
            (Tensor::Y, self.y.map(Into::into)),
            (Tensor::Sum, self.sum.map(Into::into)),
            (Tensor::Statistics, self.statistics.map(Into::into)),
        ]
    }

    /// The inverse: None without x.
    pub(crate) fn from_given(rows: u64, given: impl Fn(Tensor) -> Option<Given<'a>>) -> Option<Self> {
        Some(Self {
            residual: given(Tensor::Residual).map(Into::into),
            gain: given(Tensor::Gain).map(Into::into),
            bias: given(Tensor::Bias).map(Into::into),
            y: given(Tensor::Y).map(Into::into),
            sum: given(Tensor::Sum).map(Into::into),
            statistics: given(Tensor::Statistics).map(Into::into),
            ..Self::new(rows, given(Tensor::X)?, given(Tensor::X)?)
        })
    }

    /// What such a call asks for; `lies_in` says which output an input lies in exactly.
    pub(super) fn options(&self, lies_in: impl Fn(Tensor) -> Option<Tensor>) -> Forward {
        Forward {
            residual: self.residual.is_some(),
            without_sum: self.residual.is_some() && self.sum.is_none(),
            without_y: self.y.is_none(),
            statistics: self.statistics.is_some(),
            x_in: lies_in(Tensor::X),
            residual_in: lies_in(Tensor::Residual),
        }
    }
}

/// The buffers of a backward call. dx may be exactly the rows of x or of dy: the call then works in place. Otherwise
/// what is written must not share bytes with anything else, but may lie in the same buffer.
#[derive(Clone, Copy, Debug)]
pub struct BackwardBuffers<'a> {
    /// Number of rows.
    pub rows: u64,
    /// What forward normalised, `[rows, cols]`: its x, or its sum if there was a residual.
    pub x: BufferRows<'a>,
    /// The gradient of y, `[rows, cols]`.
    #[doc(alias = "grad_output")]
    pub dy: BufferRows<'a>,
    /// The gradient that reaches the sum of a residual on other ways, `[rows, cols]`: it is added into dx in the same pass. To add
    /// into its own buffer, give that as dx with [`Gradient::Accumulate`] instead.
    #[doc(alias = "residual_grad")]
    pub dsum: Option<BufferRows<'a>>,
    /// `[cols]`; given exactly if the problem's affine has it.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<BufferVector<'a>>,
    /// Mean and rstd as forward wrote them, `[rows, 2]` float32.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: BufferVector<'a>,
    /// Output, `[rows, cols]`. With a residual it is the gradient of x and of the residual alike, with `dsum` in it.
    #[doc(alias = "grad_input")]
    pub dx: Option<BufferRows<'a>>,
    /// Output, `[cols]`.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<BufferVector<'a>>,
    /// Output, `[cols]`.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<BufferVector<'a>>,
    /// Whether dx replaces or is added to what its buffer holds.
    pub dx_gradient: Gradient,
    /// Whether dgain and dbias replace or are added to what their buffers hold.
    pub parameter_gradient: Gradient,
    /// Scratch of the caller's, at least
    /// [`backward_scratch_bytes`](crate::LayerNorm::backward_scratch_bytes); `None` for that of the
    /// [`Kernels`](crate::Kernels).
    pub scratch: Option<wgpu::BufferSlice<'a>>,
}

impl<'a> BackwardBuffers<'a> {
    /// No output yet.
    #[must_use]
    pub fn new(
        rows: u64,
        x: impl Into<BufferRows<'a>>,
        dy: impl Into<BufferRows<'a>>,
        statistics: impl Into<BufferVector<'a>>,
    ) -> Self {
        Self {
            rows,
            x: x.into(),
            dy: dy.into(),
            dsum: None,
            gain: None,
            statistics: statistics.into(),
            dx: None,
            dgain: None,
            dbias: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            scratch: None,
        }
    }
    /// That the tensors go together, and with the affine.
    pub(super) fn check(&self, affine: Affine) -> Result<(), Error> {
        check_affine(affine, self.gain.is_some(), None)?;
        if self.dx.is_none() && self.dgain.is_none() && self.dbias.is_none() {
            return Err(Error::MissingBuffer {
                buffer: "dx",
                why: "at least one of dx, dgain and dbias must be given",
            });
        }
        if self.dsum.is_some() && (self.dx.is_none() || self.dx_gradient == Gradient::Accumulate) {
            let why = "it is added into a dx that is overwritten";
            return Err(Error::UnusedBuffer { buffer: "dsum", why });
        }
        if self.dgain.is_some() && !affine.has_gain() {
            return Err(Error::UnusedBuffer { buffer: "dgain", why: "`affine` has no gain" });
        }
        if self.dbias.is_some() && !affine.has_bias() {
            return Err(Error::UnusedBuffer { buffer: "dbias", why: "`affine` has no bias" });
        }
        Ok(())
    }

    pub(super) fn given(&self) -> [(Tensor, Option<Given<'a>>); 8] {
        [
            (Tensor::X, Some(self.x.into())),
            (Tensor::Dy, Some(self.dy.into())),
            (Tensor::Dsum, self.dsum.map(Into::into)),
            (Tensor::Gain, self.gain.map(Into::into)),
            (Tensor::Statistics, Some(self.statistics.into())),
            (Tensor::Dx, self.dx.map(Into::into)),
            (Tensor::Dgain, self.dgain.map(Into::into)),
            (Tensor::Dbias, self.dbias.map(Into::into)),
        ]
    }

    /// The inverse, with the gradients that `options` say: None without x, dy or statistics.
    pub(crate) fn from_given(
        rows: u64,
        options: &Backward,
        given: impl Fn(Tensor) -> Option<Given<'a>>,
    ) -> Option<Self> {
        let (x, dy) = (given(Tensor::X)?, given(Tensor::Dy)?);
        Some(Self {
            dsum: given(Tensor::Dsum).map(Into::into),
            gain: given(Tensor::Gain).map(Into::into),
            dx: given(Tensor::Dx).map(Into::into),
            dgain: given(Tensor::Dgain).map(Into::into),
            dbias: given(Tensor::Dbias).map(Into::into),
            dx_gradient: options.dx.unwrap_or_default(),
            parameter_gradient: options.dgain.or(options.dbias).unwrap_or_default(),
            ..Self::new(rows, x, dy, given(Tensor::Statistics)?)
        })
    }

    /// What such a call asks for; `lies_in` says which output an input lies in exactly.
    pub(super) fn options(&self, lies_in: impl Fn(Tensor) -> Option<Tensor>) -> Backward {
        Backward {
            dx: self.dx.map(|_| self.dx_gradient),
            dsum: self.dsum.is_some(),
            dgain: self.dgain.map(|_| self.parameter_gradient),
            dbias: self.dbias.map(|_| self.parameter_gradient),
            x_in_dx: lies_in(Tensor::X).is_some(),
            dy_in_dx: lies_in(Tensor::Dy).is_some(),
        }
    }
}

/// gain and bias are given exactly where the affine has them. Backward takes no bias.
fn check_affine(affine: Affine, gain: bool, bias: Option<bool>) -> Result<(), Error> {
    let check = |buffer, wanted: bool, given: bool, [has, has_not]: [&'static str; 2]| match (wanted, given) {
        (true, false) => Err(Error::MissingBuffer { buffer, why: has }),
        (false, true) => Err(Error::UnusedBuffer { buffer, why: has_not }),
        _ => Ok(()),
    };
    let bias_text =
        ["`affine` has a bias; many norms have a gain alone, `Affine::Gain`", "`affine` has no bias"];
    check("gain", affine.has_gain(), gain, ["`affine` has a gain", "`affine` has no gain"])?;
    bias.map_or(Ok(()), |bias| check("bias", affine.has_bias(), bias, bias_text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Context};
    use crate::plan::Operation;

    /// A tensor that the tables have and a call's buffers do not know would be left out without a word.
    #[test]
    fn buffers_have_every_tensor_of_their_operation() {
        let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
        let buffer = context.create("all", 64).unwrap();
        let given = |_| Some(Given { buffer: &buffer, offset: 0, stride: None });
        let check = |operation: Operation, given: &[(Tensor, Option<Given<'_>>)]| {
            for used in operation.of_call(Affine::GainBias) {
                let is_there = given.iter().any(|(tensor, given)| *tensor == used.tensor && given.is_some());
                assert!(is_there, "{} of {operation:?}", used.tensor.name());
            }
        };
        let forward = ForwardBuffers::from_given(1, given).unwrap();
        Forward::all().into_iter().for_each(|options| check(Operation::Forward(options), &forward.given()));
        for options in Backward::all() {
            let backward = BackwardBuffers::from_given(1, &options, given).unwrap();
            check(Operation::Backward(options), &backward.given());
        }
    }
}
