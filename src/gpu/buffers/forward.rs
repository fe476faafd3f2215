//! The buffers of a forward call.

use super::{BufferRows, BufferStatistics, BufferVector, CodeBuffers, CodeUnit, Given};
use crate::error::Error;
use crate::op::check_gated;
use crate::plan::{Forward, Tensor};
use crate::types::{CodeDtype, GateOrder, Problem, Running, check_statistics};

/// The buffers of a forward call. y may be exactly the rows of x or of the residual, and sum likewise: the
/// call then works in place. Otherwise what is written must not share bytes with anything else, but may lie
/// in the same buffer. Written with `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct ForwardBuffers<'a> {
    /// Number of rows.
    pub rows: u64,
    /// Input, `[rows, cols]`.
    pub x: BufferRows<'a>,
    /// Added to x before normalizing, `[rows, cols]`.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: Option<BufferRows<'a>>,
    /// What x is multiplied by before it is added to the residual: `sum = residual + gate * x`. `[cols]`, or
    /// a row for each sample where [`channels`](crate::LayerNormDescriptor::channels) says so
    /// ([`of_samples`](crate::Channels::of_samples), [`of_gates`](crate::Channels::of_gates)). Only with a
    /// residual, and without an activation.
    #[doc(alias = "gated_residual", alias = "layer_scale")]
    pub gate: Option<BufferVector<'a>>,
    /// `[cols]`, or a value for each channel; given exactly if `affine` has a gain and y or codes are
    /// given.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<BufferVector<'a>>,
    /// `[cols]`, or a value for each channel; given exactly if `affine` has a bias and y or codes are
    /// given.
    #[doc(alias = "beta")]
    pub bias: Option<BufferVector<'a>>,
    /// What y of each row is multiplied by at last, `[rows]` in float32: the g of weight norm. Only with
    /// [`Affine::None`](crate::Affine::None), and y.
    #[doc(alias = "weight_g")]
    pub row_gain: Option<BufferVector<'a>>,
    /// Mean of each row, `[rows]` in float32, in place of its own, as batch norm has its running ones in
    /// inference: with `variance` or neither, only for layer norm, and without a residual.
    #[doc(alias = "running_mean")]
    pub mean: Option<BufferVector<'a>>,
    /// Variance of each row, `[rows]` in float32; see [`mean`](Self::mean). One below 0 makes its row NaN.
    #[doc(alias = "running_var")]
    pub variance: Option<BufferVector<'a>>,
    /// Running statistics, `[rows]` in float32 each, which are updated; only for layer norm, without a
    /// residual, and not beside [`mean`](Self::mean).
    #[doc(alias = "track_running_stats")]
    pub running: Option<Running<BufferVector<'a>>>,
    /// What a gate is `silu` of, `[rows, cols]` in the type of x: gated RMS norm. Without a bias, an
    /// activation, a residual and a gain of each row.
    #[doc(alias = "z")]
    pub gate_input: Option<BufferRows<'a>>,
    /// Of what the gate is a factor; counts with `gate_input` alone.
    #[doc(alias = "norm_before_gate")]
    pub gate_order: GateOrder,
    /// Output, `[rows, cols]`; may be left out where codes are wanted, or statistics, for a kernel of the
    /// caller's that applies them.
    pub y: Option<BufferRows<'a>>,
    /// Output: y in codes of 8 bits. Not where mean and variance are given or kept.
    #[doc(alias = "quantized", alias = "int8", alias = "fp8")]
    pub codes: Option<CodeBuffers<'a>>,
    /// Output `x + residual`, or `residual + gate * x`, as stored, `[rows, cols]`, which backward needs; only
    /// with `residual`. Without it the sum is rounded all the same, and normalized as it would be stored.
    pub sum: Option<BufferRows<'a>>,
    /// Output mean and rstd of each row, float32.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: Option<BufferStatistics<'a>>,
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
            gate: None,
            gain: None,
            bias: None,
            row_gain: None,
            mean: None,
            variance: None,
            running: None,
            gate_input: None,
            gate_order: GateOrder::default(),
            y: Some(y.into()),
            codes: None,
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
        statistics: impl Into<BufferStatistics<'a>>,
    ) -> Self {
        let x = x.into();
        Self { y: None, statistics: Some(statistics.into()), ..Self::new(rows, x, x) }
    }

    /// x and codes alone.
    #[must_use]
    pub fn codes(rows: u64, x: impl Into<BufferRows<'a>>, codes: CodeBuffers<'a>) -> Self {
        let x = x.into();
        Self { y: None, codes: Some(codes), ..Self::new(rows, x, x) }
    }

    /// That the tensors go together, and with the problem.
    pub(in crate::gpu) fn check(&self, problem: &Problem) -> Result<(), Error> {
        let affine = problem.affine;
        self.statistics.map_or(Ok(()), |statistics| statistics.check_mean())?;
        let given = [self.mean.is_some(), self.variance.is_some()];
        check_statistics(problem, given, self.running.as_ref(), self.residual.is_some())?;
        if self.residual.is_none() && self.sum.is_some() {
            return Err(Error::UnusedBuffer { buffer: "sum", why: "no residual was given" });
        }
        if self.gate_input.is_some() {
            check_gated(problem)?;
            let given = [("residual", self.residual.is_some()), ("row_gain", self.row_gain.is_some())];
            if let Some((buffer, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Error::UnusedBuffer { buffer, why: "gated RMS norm has none" });
            }
            if self.gate_order == GateOrder::After && self.y.is_none() && self.codes.is_none() {
                let why = "y is left out, and the gate is a factor of it";
                return Err(Error::UnusedBuffer { buffer: "gate_input", why });
            }
        }
        self.row_gain.map_or(Ok(()), |_| problem.check_uses_row_gain("row_gain"))?;
        if self.gate.is_some() {
            problem.check_gate_of_forward(self.residual.is_some(), self.row_gain.is_some())?;
        }
        if let Some(codes) = &self.codes {
            if self.mean.is_some() || self.running.is_some() {
                let why = "rows whose mean and variance are given or kept are written without codes";
                return Err(Error::UnusedBuffer { buffer: "codes", why });
            }
            if let CodeUnit::Given(unit) = codes.unit {
                CodeDtype::check_unit("codes.unit", unit)?;
            }
        }
        if self.y.is_some() || self.codes.is_some() {
            affine.check_gain(self.gain.is_some())?;
            return affine.check_bias(self.bias.is_some());
        }
        let parameters = [
            ("gain", self.gain.is_some()),
            ("bias", self.bias.is_some()),
            ("row_gain", self.row_gain.is_some()),
        ];
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
                why: "at least one of y, codes and statistics must be given",
            }),
        }
    }

    pub(in crate::gpu) fn given(&self) -> [(Tensor, Option<Given<'a>>); 16] {
        [
            (Tensor::GateInput, self.gate_input.map(Into::into)),
            (Tensor::X, Some(self.x.into())),
            (Tensor::Residual, self.residual.map(Into::into)),
            (Tensor::Gate, self.gate.map(Into::into)),
            (Tensor::Gain, self.gain.map(Into::into)),
            (Tensor::Bias, self.bias.map(Into::into)),
            (Tensor::RowGain, self.row_gain.map(Into::into)),
            (Tensor::Mean, self.mean.map(Into::into)),
            (Tensor::Variance, self.variance.map(Into::into)),
            (Tensor::RunningMean, self.running.map(|running| running.mean.into())),
            (Tensor::RunningVariance, self.running.map(|running| running.variance.into())),
            (Tensor::Y, self.y.map(Into::into)),
            (Tensor::Codes, self.codes.map(|codes| codes.codes.into())),
            (Tensor::Units, self.codes.and_then(|codes| codes.units()).map(Into::into)),
            (Tensor::Sum, self.sum.map(Into::into)),
            (Tensor::Statistics, self.statistics.map(Into::into)),
        ]
    }

    /// The inverse, with the type of codes that `options` say, 1 as a unit that is given, and running
    /// statistics as they are by default: None without x.
    pub(crate) fn from_given(
        rows: u64,
        options: &Forward,
        given: impl Fn(Tensor) -> Option<Given<'a>>,
    ) -> Option<Self> {
        let unit = given(Tensor::Units).map_or(CodeUnit::Given(1.0), |units| CodeUnit::PerRow(units.into()));
        let codes = options.codes.zip(given(Tensor::Codes));
        let running = given(Tensor::RunningMean).zip(given(Tensor::RunningVariance));
        Some(Self {
            mean: given(Tensor::Mean).map(Into::into),
            variance: given(Tensor::Variance).map(Into::into),
            running: running.map(|(mean, variance)| Running::new(mean.into(), variance.into())),
            gate_input: given(Tensor::GateInput).map(Into::into),
            gate_order: options.gate_input.unwrap_or_default(),
            residual: given(Tensor::Residual).map(Into::into),
            gate: given(Tensor::Gate).map(Into::into),
            gain: given(Tensor::Gain).map(Into::into),
            bias: given(Tensor::Bias).map(Into::into),
            row_gain: given(Tensor::RowGain).map(Into::into),
            y: given(Tensor::Y).map(Into::into),
            sum: given(Tensor::Sum).map(Into::into),
            statistics: given(Tensor::Statistics).map(Into::into),
            codes: codes.map(|(dtype, codes)| CodeBuffers { dtype, codes: codes.into(), unit }),
            ..Self::new(rows, given(Tensor::X)?, given(Tensor::X)?)
        })
    }

    /// What such a call asks for; `lies_in` says which output an input lies in exactly.
    pub(in crate::gpu) fn options(&self, lies_in: impl Fn(Tensor) -> Option<Tensor>) -> Forward {
        Forward {
            residual: self.residual.is_some(),
            without_sum: self.residual.is_some() && self.sum.is_none(),
            gate: self.gate.is_some(),
            without_y: self.y.is_none(),
            statistics: self.statistics.is_some(),
            row_gain: self.row_gain.is_some(),
            given_statistics: self.mean.is_some(),
            running_statistics: self.running.is_some(),
            codes: self.codes.map(|codes| codes.dtype),
            given_unit: self.codes.is_some_and(|codes| codes.units().is_none()),
            gate_input: self.gate_input.map(|_| self.gate_order),
            x_in: lies_in(Tensor::X),
            residual_in: lies_in(Tensor::Residual),
        }
    }
}
