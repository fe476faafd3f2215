//! What a plan is for, and what follows from the tables for each operation.

use super::table::{Asked, Choice, Facts, Role, Spec, Used, label_of, named_values, used};
use super::{Backward, Forward, Kernel, Tensor, backward, forward};
use crate::error::Error;
use crate::types::{
    Activation, Affine, BackwardInputs, Channels, GateOrder, Normalization, Problem, check_kept,
    check_least_gain,
};

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// y, and with it sum and statistics.
    Forward(Forward),
    /// dx and the partial sums of dgain and dbias.
    Backward(Backward),
    /// dgain and dbias from their partial sums.
    ReduceParameters(Backward),
}

impl Operation {
    /// `forward`, `forward_residual`, `backward`, `backward_dx` (without gradients of parameters) or
    /// `reduce_parameters`: of the first four, each reads and writes other tensors of rows.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forward(Forward { residual: false, .. }) => "forward",
            Self::Forward(_) => "forward_residual",
            Self::Backward(Backward { dgain: None, dbias: None, dgate: None, .. }) => "backward_dx",
            Self::Backward(_) => "backward",
            Self::ReduceParameters(_) => "reduce_parameters",
        }
    }

    /// The tensors that a kernel uses, in the order of their bindings.
    #[must_use]
    pub fn used(&self, kernel: Kernel, affine: Affine, activation: Activation) -> Vec<Used> {
        match *self {
            Self::Forward(options) => used(forward::TENSORS, Asked { kernel, affine, activation, options }),
            Self::Backward(options) | Self::ReduceParameters(options) => {
                used(backward::TENSORS, Asked { kernel, affine, activation, options })
            }
        }
    }

    /// The tensors of a call over whole rows, scratch aside.
    pub(crate) fn of_call(&self, affine: Affine, activation: Activation) -> Vec<Used> {
        let kernels: &[Kernel] = match self {
            Self::Forward(_) => &[Kernel::ForwardCached],
            Self::Backward(_) => &[Kernel::BackwardCached, Kernel::BackwardReduceParameters],
            Self::ReduceParameters(_) => &[Kernel::BackwardReduceParameters],
        };
        let used = kernels.iter().flat_map(|kernel| self.used(*kernel, affine, activation));
        used.filter(|used| used.role != Role::Scratch).collect()
    }

    /// Whether what whole rows have is wanted: of backward, dx or the gradient of a row's gain.
    #[cfg(feature = "gpu")]
    pub(crate) const fn finishes_rows(&self) -> bool {
        match self {
            Self::Forward(_) => true,
            Self::Backward(backward) => backward.makes_dx() || backward.drow_gain.is_some(),
            Self::ReduceParameters(_) => false,
        }
    }

    /// One of the operation's tensors, by its name.
    #[cfg(feature = "gpu")]
    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor> {
        fn find<O>(table: &[Spec<O>], name: &str) -> Option<Tensor> {
            table.iter().map(|spec| spec.tensor).find(|tensor| tensor.name() == name)
        }
        match self {
            Self::Forward(_) => find(forward::TENSORS, name),
            Self::Backward(_) | Self::ReduceParameters(_) => find(backward::TENSORS, name),
        }
    }

    /// What holds of one of the operation's tensors.
    pub(crate) fn facts(&self, tensor: Tensor) -> Option<Facts> {
        fn find<O>(table: &[Spec<O>], tensor: Tensor) -> Option<Facts> {
            let Spec { role, shape, stored, .. } = *table.iter().find(|spec| spec.tensor == tensor)?;
            Some(Facts { role, shape, stored })
        }
        match self {
            Self::Forward(_) => find(forward::TENSORS, tensor),
            Self::Backward(_) | Self::ReduceParameters(_) => find(backward::TENSORS, tensor),
        }
    }

    /// The options by the names that labels have.
    #[must_use]
    pub fn option_names(&self) -> Vec<&'static str> {
        match self {
            Self::Forward(_) => named_values(&Forward::CHOICES).map(|(name, ..)| name).collect(),
            Self::Backward(_) | Self::ReduceParameters(_) => {
                named_values(&Backward::CHOICES).map(|(name, ..)| name).collect()
            }
        }
    }

    /// The same with an option on; `None` where it has none of this name.
    #[must_use]
    pub fn with_option(self, name: &str) -> Option<Self> {
        fn with<O>(choices: &[Choice<O>], mut options: O, name: &str) -> Option<O> {
            let (_, choice, value) = named_values(choices).find(|(has, ..)| *has == name)?;
            (choice.set)(&mut options, value);
            Some(options)
        }
        Some(match self {
            Self::Forward(forward) => Self::Forward(with(&Forward::CHOICES, forward, name)?),
            Self::Backward(backward) => Self::Backward(with(&Backward::CHOICES, backward, name)?),
            Self::ReduceParameters(backward) => {
                Self::ReduceParameters(with(&Backward::CHOICES, backward, name)?)
            }
        })
    }

    /// Gradients of parameters that are sums over rows.
    pub(crate) const fn parameter_gradients(&self) -> u32 {
        match self {
            Self::Forward(_) => 0,
            Self::Backward(backward) | Self::ReduceParameters(backward) => {
                backward.dgain.is_some() as u32
                    + backward.dbias.is_some() as u32
                    + backward.dgate.is_some() as u32
            }
        }
    }

    /// Whether what is normalized is a gated sum.
    pub(crate) const fn is_gated(&self) -> bool {
        match self {
            Self::Forward(forward) => forward.gate,
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.is_gated(),
        }
    }

    /// Whether rows have a gain each.
    const fn has_row_gain(&self) -> bool {
        match self {
            Self::Forward(forward) => forward.row_gain,
            Self::Backward(backward) | Self::ReduceParameters(backward) => {
                backward.row_gain || backward.drow_gain.is_some()
            }
        }
    }

    /// Of what a gate is a factor, if there is one.
    pub(crate) const fn gate_input(&self) -> Option<GateOrder> {
        match self {
            Self::Forward(forward) => forward.gate_input,
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.gate_input,
        }
    }

    /// Whether mean and variance of each row are those that forward was given.
    pub(crate) const fn has_given_statistics(&self) -> bool {
        match self {
            Self::Forward(forward) => forward.given_statistics,
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.given_statistics,
        }
    }

    /// That the options go with the problem. Statistics can be given or kept where there are mean and
    /// variance. Where they are given, a row of backward has one gain and one bias at most. Rows that have a
    /// gain each have no activation. From y backward knows no activation either, and counts gains of columns.
    pub(crate) fn check_problem(&self, problem: &Problem) -> Result<(), Error> {
        let (given, running) = match self {
            Self::Forward(forward) => (forward.given_statistics, forward.running_statistics),
            Self::Backward(backward) | Self::ReduceParameters(backward) => (backward.given_statistics, false),
        };
        if (given || running) && problem.normalization != Normalization::Layer {
            let field = if given { "given_statistics" } else { "running_statistics" };
            return Err(Error::invalid(field, true, "false for a normalization without a mean"));
        }
        if running {
            check_kept(problem.cols)?;
        }
        let by_row = problem.affine == Affine::None || problem.channels.is_some_and(Channels::is_one_a_row);
        if given && !by_row && !matches!(self, Self::Forward(_)) {
            let needs = "false where gain and bias are not a row's own";
            return Err(Error::invalid("given_statistics", true, needs));
        }
        if let Self::Backward(backward) | Self::ReduceParameters(backward) = self
            && backward.from_y
        {
            check_from_y(problem, backward)?;
        }
        if self.is_gated() {
            problem.check_uses_gate("gate")?;
        }
        if self.gate_input().is_some() {
            check_gated(problem)?;
        }
        if self.has_row_gain() && problem.activation.is_some() {
            let needs = "none where rows have a gain each";
            return Err(Error::invalid("activation", problem.activation, needs));
        }
        Ok(())
    }

    /// Whether a problem has the tensors that are asked for, and each in the type of the one that is written
    /// over it.
    pub(crate) fn fits(&self, problem: &Problem) -> bool {
        let has_parameters = match self {
            Self::Forward(_) => true,
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.fits(problem.affine),
        };
        // A gain of each row is in place of those of each column.
        if self.has_row_gain() && problem.affine != Affine::None {
            return false;
        }
        if self.check_problem(problem).is_err() {
            return false;
        }
        let dtype = |tensor| self.facts(tensor).map(|facts| facts.stored.dtype(problem));
        let lies_well = |used: Used| dtype(used.bound) == Some(used.stored.dtype(problem));
        has_parameters && self.of_call(problem.affine, problem.activation).into_iter().all(lies_well)
    }

    /// Whether the options go together, as those of a call do.
    #[must_use]
    pub fn options_go_together(&self) -> bool {
        match self {
            Self::Forward(forward) => forward.go_together(),
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.go_together(),
        }
    }

    /// The options as a label has them.
    pub(crate) fn options_label(&self) -> String {
        match self {
            Self::Forward(forward) => label_of(&Forward::CHOICES, forward),
            Self::Backward(backward) | Self::ReduceParameters(backward) => {
                label_of(&Backward::CHOICES, backward)
            }
        }
    }
}

/// That a problem is one of gated RMS norm.
pub(crate) fn check_gated(problem: &Problem) -> Result<(), Error> {
    if problem.normalization != Normalization::Rms {
        let needs = "rms where there is a gate input";
        return Err(Error::invalid("normalization", problem.normalization, needs));
    }
    if problem.affine.has_bias() {
        let needs = "one without a bias where there is a gate input";
        return Err(Error::invalid("affine", problem.affine, needs));
    }
    if problem.activation.is_some() {
        let needs = "none where there is a gate input";
        return Err(Error::invalid("activation", problem.activation, needs));
    }
    match problem.channels.filter(|channels| !channels.is_by_column()) {
        None => Ok(()),
        Some(channels) => {
            let needs = "1, a gain for each column, where there is a gate input";
            Err(Error::invalid("channels.spatial", channels.spatial, needs))
        }
    }
}

/// That y and rstd of the host are given together, and go with the problem.
pub(crate) fn check_source<T, P, D>(
    problem: &Problem,
    inputs: &BackwardInputs<'_, T, P, D>,
) -> Result<(), Error> {
    let missing = |buffer, why| Err(Error::MissingBuffer { buffer, why });
    match (inputs.y.is_some(), inputs.rstd.is_some()) {
        (false, false) => return Ok(()),
        (true, false) => return missing("rstd", "y is given in place of x, and does not tell it"),
        (false, true) => return missing("y", "rstd is given, which goes with y in place of x"),
        (true, true) => {}
    }
    let given_statistics = inputs.mean.is_some() || inputs.variance.is_some();
    check_from_y(problem, &Backward { from_y: true, given_statistics, ..Backward::default() })?;
    if inputs.row_gain.is_some() {
        let why = "y is given in place of x, and rows that have a gain each need x";
        return Err(Error::UnusedBuffer { buffer: "row_gain", why });
    }
    check_least_gain(inputs.least_gain)
}

/// That a problem's xhat can be made from y, and the gains be counted that are too small for it.
fn check_from_y(problem: &Problem, backward: &Backward) -> Result<(), Error> {
    if problem.activation.is_some() {
        let needs = "none where backward is from y, which does not tell what the activation was applied to";
        return Err(Error::invalid("activation", problem.activation, needs));
    }
    if backward.given_statistics {
        let needs = "false where backward is from y: it needs the statistics of the rows themselves";
        return Err(Error::invalid("given_statistics", true, needs));
    }
    if backward.clamped && !(problem.affine.has_gain() && problem.channels.is_none()) {
        let needs = "false where gain has no value for each column";
        return Err(Error::invalid("clamped", true, needs));
    }
    Ok(())
}
