//! The buffers of a backward call.

use super::{BufferRows, BufferStatistics, BufferVector, Given};
use crate::error::Error;
use crate::op::check_gated;
use crate::plan::{Backward, Operation, Tensor};
use crate::types::{GateOrder, Gradient, LEAST_GAIN, Problem, check_least_gain};

/// The buffers of a backward call. dx may be exactly the rows of x, or of y in its place, or of dy: the call
/// then works in place.
/// Otherwise what is written must not share bytes with anything else, but may lie in the same buffer. Written
/// with `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct BackwardBuffers<'a> {
    /// Number of rows.
    pub rows: u64,
    /// What forward normalized, `[rows, cols]`: its x, or its sum if there was a residual. Not read where `y`
    /// is given.
    pub x: BufferRows<'a>,
    /// What forward wrote, `[rows, cols]`, in place of x, which then need not be kept
    /// ([`from_y`](Self::from_y)): `xhat = (y - bias) / gain`. Not with an activation, and not where rows
    /// have a gain each, or mean and variance were given to forward.
    #[doc(alias = "memory_efficient", alias = "inplace_abn")]
    pub y: Option<BufferRows<'a>>,
    /// With `y`, the least |gain| (|1 + gain| where that is zero-centered) that xhat is made with, 2^-126 or
    /// more. In the columns of smaller gains xhat counts as 0: their dgain is 0, and a gain that begins as 0
    /// stays there. [`LEAST_GAIN`](crate::LEAST_GAIN) by default.
    pub least_gain: f32,
    /// With `y` and dx, an output of one float32: how many columns have a gain below `least_gain`. Only where
    /// gain has a value for each column, and without dsum. Of no rows it is not written.
    pub clamped: Option<BufferVector<'a>>,
    /// The gradient of y, `[rows, cols]`.
    #[doc(alias = "grad_output")]
    pub dy: BufferRows<'a>,
    /// What the gate of forward was `silu` of, `[rows, cols]` in the type of x: gated RMS norm.
    #[doc(alias = "z")]
    pub gate_input: Option<BufferRows<'a>>,
    /// Of what the gate was a factor; counts with `gate_input` alone.
    #[doc(alias = "norm_before_gate")]
    pub gate_order: GateOrder,
    /// The gradient that reaches the sum of a residual on other ways, `[rows, cols]`: it is added into dx in
    /// the same pass. To add into its own buffer, give that as dx with [`Gradient::Accumulate`] instead.
    #[doc(alias = "residual_grad")]
    pub dsum: Option<BufferRows<'a>>,
    /// What forward's gate has multiplied, its x, `[rows, cols]`; given exactly if `dgate` is. The x here is
    /// the gated sum, and its dx that of the residual. Of type
    /// [`residual_dtype`](crate::LayerNormDescriptor::residual_dtype), as dbranch.
    pub branch: Option<BufferRows<'a>>,
    /// The gate of forward, `[cols]`, or a row for each sample; given exactly if `dbranch` is.
    #[doc(alias = "layer_scale")]
    pub gate: Option<BufferVector<'a>>,
    /// `[cols]`, or a value for each channel; given exactly if `affine` has a gain.
    #[doc(alias = "weight", alias = "gamma")]
    pub gain: Option<BufferVector<'a>>,
    /// `[cols]`, or a value for each channel; given exactly if `affine` has a bias and there is an
    /// `activation`, or `y` in place of x: else no gradient depends on it.
    #[doc(alias = "beta")]
    pub bias: Option<BufferVector<'a>>,
    /// What forward multiplied y of each row by, `[rows]` in float32; only with
    /// [`Affine::None`](crate::Affine::None). Without dx it is not needed.
    #[doc(alias = "weight_g")]
    pub row_gain: Option<BufferVector<'a>>,
    /// Mean and rstd as forward wrote them, float32, side by side or apart whichever way forward had them.
    /// With `y` the mean does not count, and [`BufferStatistics::rstd`] is enough.
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    pub statistics: BufferStatistics<'a>,
    /// Whether forward was given mean and variance ([`ForwardBuffers::mean`](crate::ForwardBuffers::mean)):
    /// then dx has nothing of what depends on them. Only for layer norm, and without gain and bias of
    /// columns.
    pub given_statistics: bool,
    /// Output, `[rows, cols]`. With a residual it is the gradient of x and of the residual alike, with `dsum`
    /// in it.
    #[doc(alias = "grad_input")]
    pub dx: Option<BufferRows<'a>>,
    /// Output, `[rows, cols]`: the gradient of `gate_input`, always overwritten; given exactly if dx and
    /// `gate_input` are.
    #[doc(alias = "dz")]
    pub dgate_input: Option<BufferRows<'a>>,
    /// Output, `[rows, cols]`: the gradient of what the gate has multiplied, `gate * dx`, with `dsum`, or
    /// what dx accumulates to, in it. It is overwritten. dx itself may be left out.
    pub dbranch: Option<BufferRows<'a>>,
    /// Output, of the shape of the gate: its gradient, the sum over rows of `dx * branch`, over those of a
    /// sample where it has a row for each.
    #[doc(alias = "grad_gate")]
    pub dgate: Option<BufferVector<'a>>,
    /// Output, `[cols]`, or a value for each channel.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<BufferVector<'a>>,
    /// Output, `[cols]`, or a value for each channel.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<BufferVector<'a>>,
    /// Output, `[rows]` in float32: the gradient of `row_gain`.
    #[doc(alias = "grad_g")]
    pub drow_gain: Option<BufferVector<'a>>,
    /// Whether dx replaces or is added to what its buffer holds.
    pub dx_gradient: Gradient,
    /// Whether dgain, dbias, `dgate` and `drow_gain` replace or are added to what their buffers hold.
    pub parameter_gradient: Gradient,
    /// Scratch of the caller's, at least
    /// [`backward_scratch_bytes`](crate::LayerNorm::backward_scratch_bytes); `None` for that of the
    /// [`Kernels`](crate::Kernels).
    pub scratch: Option<wgpu::BufferSlice<'a>>,
}

impl<'a> BackwardBuffers<'a> {
    /// From forward's y in place of x: of the statistics rstd alone counts. No output yet.
    ///
    /// Without gain and bias that is exact, and costs nothing. With them xhat is off by as much as rounding y
    /// to its type has lost of it: `(|xhat| + |bias / gain|)` times half a unit in the last place, 2^-24 in
    /// f32, 2^-11 in f16 and 2^-8 in bf16.
    #[must_use]
    pub fn from_y(
        rows: u64,
        y: impl Into<BufferRows<'a>>,
        dy: impl Into<BufferRows<'a>>,
        statistics: impl Into<BufferStatistics<'a>>,
    ) -> Self {
        let y = y.into();
        Self { y: Some(y), ..Self::new(rows, y, dy, statistics) }
    }

    /// No output yet.
    #[must_use]
    pub fn new(
        rows: u64,
        x: impl Into<BufferRows<'a>>,
        dy: impl Into<BufferRows<'a>>,
        statistics: impl Into<BufferStatistics<'a>>,
    ) -> Self {
        Self {
            rows,
            x: x.into(),
            y: None,
            least_gain: LEAST_GAIN,
            clamped: None,
            dy: dy.into(),
            gate_input: None,
            gate_order: GateOrder::default(),
            dsum: None,
            branch: None,
            gate: None,
            gain: None,
            bias: None,
            row_gain: None,
            statistics: statistics.into(),
            given_statistics: false,
            dx: None,
            dgate_input: None,
            dbranch: None,
            dgate: None,
            dgain: None,
            dbias: None,
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            scratch: None,
        }
    }

    /// That the tensors go together, and with the problem.
    pub(in crate::gpu) fn check(&self, problem: &Problem) -> Result<(), Error> {
        let affine = problem.affine;
        let given = Backward {
            given_statistics: self.given_statistics,
            from_y: self.y.is_some(),
            clamped: self.clamped.is_some() && self.y.is_some(),
            ..Backward::default()
        };
        Operation::Backward(given).check_problem(problem)?;
        affine.check_gain(self.gain.is_some())?;
        problem.check_bias_of_backward(self.bias.is_some(), self.y.is_some())?;
        self.check_from_y()?;
        self.check_gate(problem)?;
        self.check_gated_sum(problem)?;
        self.row_gain.map_or(Ok(()), |_| problem.check_uses_row_gain("row_gain"))?;
        self.drow_gain.map_or(Ok(()), |_| problem.check_uses_row_gain("drow_gain"))?;
        if self.drow_gain.is_some() && self.dx.is_some() && self.row_gain.is_none() {
            let why = "drow_gain is its gradient, and dx depends on it";
            return Err(Error::MissingBuffer { buffer: "row_gain", why });
        }
        let parameters = [self.dgain, self.dbias, self.drow_gain];
        if self.dx.is_none() && !self.is_gated() && parameters.iter().all(Option::is_none) {
            return Err(Error::MissingBuffer {
                buffer: "dx",
                why: "at least one of dx, dbranch, dgate, dgain, dbias and drow_gain must be given",
            });
        }
        let why_not = match (self.dx, self.dx_gradient) {
            (None, _) if self.is_gated() => None,
            (None, _) => Some("it is added into dx, which is not asked for"),
            (Some(_), Gradient::Accumulate) => {
                Some("dx accumulates: give the buffer that holds dsum as dx instead")
            }
            (Some(_), Gradient::Overwrite) => None,
        };
        if let (Some(_), Some(why)) = (self.dsum, why_not) {
            return Err(Error::UnusedBuffer { buffer: "dsum", why });
        }
        self.dgain.map_or(Ok(()), |_| affine.check_uses_gain("dgain"))?;
        self.dbias.map_or(Ok(()), |_| affine.check_uses_bias("dbias"))
    }

    /// That what goes with a gate has one, and the problem may have one.
    fn check_gate(&self, problem: &Problem) -> Result<(), Error> {
        match (self.gate_input.is_some(), self.dgate_input.is_some()) {
            (false, false) => return Ok(()),
            (false, true) => {
                let why = "there is no gate_input, of which it is the gradient";
                return Err(Error::UnusedBuffer { buffer: "dgate_input", why });
            }
            (true, has) if has != self.dx.is_some() => {
                return Err(match has {
                    true => Error::MissingBuffer { buffer: "dx", why: "dgate_input is written beside it" },
                    false => Error::MissingBuffer { buffer: "dgate_input", why: "it is written beside dx" },
                });
            }
            (true, _) => {}
        }
        check_gated(problem)?;
        let given = [
            ("y", self.y.is_some()),
            ("dsum", self.dsum.is_some()),
            ("row_gain", self.row_gain.is_some()),
            ("drow_gain", self.drow_gain.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((buffer, _)) => Err(Error::UnusedBuffer { buffer, why: "gated RMS norm has none" }),
            None => Ok(()),
        }
    }

    /// That what goes with y has one, and the least gain is a number that can be divided by.
    fn check_from_y(&self) -> Result<(), Error> {
        if self.y.is_none() {
            self.statistics.check_mean()?;
            let why = "gains are only counted where y is given in place of x";
            return self.clamped.map_or(Ok(()), |_| Err(Error::UnusedBuffer { buffer: "clamped", why }));
        }
        check_least_gain(self.least_gain)?;
        for (buffer, given) in [("row_gain", self.row_gain), ("drow_gain", self.drow_gain)] {
            if given.is_some() {
                let why = "y is given in place of x, and rows that have a gain each need x";
                return Err(Error::UnusedBuffer { buffer, why });
            }
        }
        let why_not = match (self.dx, self.dsum) {
            (None, _) => "gains are counted on the way to dx, which is not asked for",
            (Some(_), Some(_)) => "beside dsum it would take a binding more than every device has",
            (Some(_), None) => return Ok(()),
        };
        self.clamped.map_or(Ok(()), |_| Err(Error::UnusedBuffer { buffer: "clamped", why: why_not }))
    }

    /// Whether anything is wanted of what a gate has multiplied, or of the gate.
    const fn is_gated(&self) -> bool {
        self.dbranch.is_some() || self.dgate.is_some()
    }

    /// That gate and branch are there exactly where a gradient depends on them.
    fn check_gated_sum(&self, problem: &Problem) -> Result<(), Error> {
        let pairs = [
            ("gate", self.gate.is_some(), self.dbranch.is_some(), "dbranch is it times dx"),
            (
                "branch",
                self.branch.is_some(),
                self.dgate.is_some(),
                "dgate is the sum over rows of it times dx",
            ),
        ];
        for (buffer, is_there, is_needed, why) in pairs {
            match (is_there, is_needed) {
                (false, true) => return Err(Error::MissingBuffer { buffer, why }),
                (true, false) => {
                    let why =
                        "no gradient that is asked for depends on it: dbranch does on gate, dgate on branch";
                    return Err(Error::UnusedBuffer { buffer, why });
                }
                _ => {}
            }
        }
        if !self.is_gated() {
            return Ok(());
        }
        if self.given_statistics {
            let needs = "false for a gated sum, which has statistics of its own";
            return Err(Error::invalid("given_statistics", true, needs));
        }
        let given = [
            ("row_gain", self.row_gain.is_some()),
            ("drow_gain", self.drow_gain.is_some()),
            ("y", self.y.is_some()),
            ("gate_input", self.gate_input.is_some()),
        ];
        if let Some((buffer, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(Error::UnusedBuffer { buffer, why: "backward of a gated sum has none" });
        }
        problem.check_uses_gate(if self.dbranch.is_some() { "dbranch" } else { "dgate" })
    }

    pub(in crate::gpu) fn given(&self) -> [(Tensor, Option<Given<'a>>); 19] {
        [
            (Tensor::GateInput, self.gate_input.map(Into::into)),
            (Tensor::DgateInput, self.dgate_input.map(Into::into)),
            (Tensor::X, self.y.is_none().then(|| self.x.into())),
            (Tensor::Y, self.y.map(Into::into)),
            (Tensor::Clamped, self.clamped.map(Into::into)),
            (Tensor::Dy, Some(self.dy.into())),
            (Tensor::Dsum, self.dsum.map(Into::into)),
            (Tensor::Branch, self.branch.map(Into::into)),
            (Tensor::Gate, self.gate.map(Into::into)),
            (Tensor::Gain, self.gain.map(Into::into)),
            (Tensor::Bias, self.bias.map(Into::into)),
            (Tensor::RowGain, self.row_gain.map(Into::into)),
            (Tensor::Statistics, Some(self.statistics.into())),
            (Tensor::Dx, self.dx.map(Into::into)),
            (Tensor::Dbranch, self.dbranch.map(Into::into)),
            (Tensor::Dgate, self.dgate.map(Into::into)),
            (Tensor::Dgain, self.dgain.map(Into::into)),
            (Tensor::Dbias, self.dbias.map(Into::into)),
            (Tensor::DrowGain, self.drow_gain.map(Into::into)),
        ]
    }

    /// The inverse, with the gradients that `options` say: None without x or y, dy or statistics.
    pub(crate) fn from_given(
        rows: u64,
        options: &Backward,
        given: impl Fn(Tensor) -> Option<Given<'a>>,
    ) -> Option<Self> {
        let y = given(Tensor::Y).filter(|_| options.from_y);
        let (x, dy) = (y.or_else(|| given(Tensor::X))?, given(Tensor::Dy)?);
        Some(Self {
            y: y.map(Into::into),
            clamped: given(Tensor::Clamped).map(Into::into),
            gate_input: given(Tensor::GateInput).map(Into::into),
            gate_order: options.gate_input.unwrap_or_default(),
            dgate_input: given(Tensor::DgateInput).map(Into::into),
            dsum: given(Tensor::Dsum).map(Into::into),
            branch: given(Tensor::Branch).map(Into::into),
            gate: given(Tensor::Gate).map(Into::into),
            dbranch: given(Tensor::Dbranch).map(Into::into),
            dgate: given(Tensor::Dgate).map(Into::into),
            gain: given(Tensor::Gain).map(Into::into),
            bias: given(Tensor::Bias).map(Into::into),
            row_gain: given(Tensor::RowGain).map(Into::into),
            dx: given(Tensor::Dx).map(Into::into),
            dgain: given(Tensor::Dgain).map(Into::into),
            dbias: given(Tensor::Dbias).map(Into::into),
            drow_gain: given(Tensor::DrowGain).map(Into::into),
            dx_gradient: options.dx.unwrap_or_default(),
            given_statistics: options.given_statistics,
            parameter_gradient: options.of_parameters().unwrap_or_default(),
            ..Self::new(rows, x, dy, given(Tensor::Statistics)?)
        })
    }

    /// What such a call asks for; `lies_in` says which output an input lies in exactly.
    pub(in crate::gpu) fn options(&self, lies_in: impl Fn(Tensor) -> Option<Tensor>) -> Backward {
        Backward {
            dx: self.dx.map(|_| self.dx_gradient),
            dsum: self.dsum.is_some(),
            dbranch: self.dbranch.is_some(),
            dgate: self.dgate.map(|_| self.parameter_gradient),
            dgain: self.dgain.map(|_| self.parameter_gradient),
            dbias: self.dbias.map(|_| self.parameter_gradient),
            row_gain: self.row_gain.is_some() || self.drow_gain.is_some(),
            drow_gain: self.drow_gain.map(|_| self.parameter_gradient),
            given_statistics: self.given_statistics,
            from_y: self.y.is_some(),
            clamped: self.clamped.is_some(),
            gate_input: self.gate_input.map(|_| self.gate_order),
            x_in_dx: lies_in(if self.y.is_some() { Tensor::Y } else { Tensor::X }).is_some(),
            dy_in_dx: lies_in(Tensor::Dy).is_some(),
        }
    }
}
