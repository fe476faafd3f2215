//! What a case is made of.

use super::kinds::{Data, Layout, Residual, SavedStatistics, Values};
use crate::error::Error;
use crate::op::{Shape, Stored, Used};
use crate::plan::{
    Backward, Caps, Forward, Operation, Plan, RowSplit, Span, Strides, Tensor, Tuning, TuningKey,
};
use crate::types::{Affine, Dtype, Gradient, Problem};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// y, and sum with a residual.
    Forward(Forward),
    /// Gradients, from the statistics that [`Case::saved`] says.
    Backward(Backward),
}

impl Task {
    /// y and statistics.
    pub(super) fn forward() -> Self {
        Self::Forward(Forward { statistics: true, ..Forward::default() })
    }

    /// dx, and as far as the affine has them dgain and dbias.
    pub(super) fn backward(affine: Affine) -> Self {
        let wanted = Some(Gradient::Overwrite);
        Self::Backward(Backward {
            dx: wanted,
            dgain: if affine.has_gain() { wanted } else { None },
            dbias: if affine.has_bias() { wanted } else { None },
            ..Backward::default()
        })
    }

    pub(super) const fn operation(self) -> Operation {
        match self {
            Self::Forward(forward) => Operation::Forward(forward),
            Self::Backward(backward) => Operation::Backward(backward),
        }
    }

    fn name(self) -> String {
        let operation = match self {
            Self::Forward(_) => "forward",
            Self::Backward(_) => "backward",
        };
        operation.to_owned() + &self.operation().options_label().replace('/', "+")
    }
}

/// One call with its data. Written with `..`, over [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What is computed.
    pub problem: Problem,
    /// Number of rows.
    pub rows: usize,
    /// Where the tensors lie.
    pub layout: Layout,
    /// What x holds.
    pub data: Data,
    /// What the gain holds.
    pub gain: Values,
    /// What the bias holds.
    pub bias: Values,
    /// What the residual holds.
    pub residual: Residual,
    /// What dy holds, but for what [`Data::NotFinite`] and [`Data::Alike`] want of it.
    pub dy: Values,
    /// Whose statistics backward has.
    pub saved: SavedStatistics,
    /// What is run.
    pub task: Task,
}

impl Case {
    /// On normal data in dense rows.
    #[must_use]
    pub const fn new(problem: Problem, rows: usize, task: Task) -> Self {
        Self {
            problem,
            rows,
            layout: Layout::Dense,
            data: Data::Normal,
            gain: Values::Normal,
            bias: Values::Normal,
            residual: Residual::Normal,
            dy: Values::Normal,
            saved: SavedStatistics::Reference,
            task,
        }
    }

    /// A name that tells the case from all others.
    #[must_use]
    pub fn name(&self) -> String {
        let Problem { cols, dtype, parameter_dtype, normalization, affine, eps, .. } = self.problem;
        let parameters = if parameter_dtype == dtype { "" } else { "_f32_parameters" };
        let mut name = format!(
            "{}/{dtype}{parameters}/{}x{cols}/{}/{}/{}/{}",
            self.task.name(),
            self.rows,
            normalization.name(),
            affine.name(),
            self.layout.name(),
            self.data.name(),
        );
        for (tensor, values) in [(Tensor::Gain, self.gain), (Tensor::Bias, self.bias), (Tensor::Dy, self.dy)]
        {
            if values != Values::Normal {
                name += &format!("/{}_{}", tensor.name(), values.name());
            }
        }
        for stored in Stored::OTHERS {
            let other = stored.dtype(&self.problem);
            if other != dtype {
                name += &format!("/{}_{other}", stored.name());
            }
        }
        if let Some(channels) = self.problem.channels {
            name += &match channels.is_blocked() {
                true if channels.shares_affine => format!("/of_{}_gates", channels.groups),
                true => format!("/of_{}_samples", channels.groups),
                false => format!("/of_{}_channels", channels.count),
            };
        }
        if self.problem.activation.is_some() {
            name += &format!("/{}", self.problem.activation);
        }
        if self.residual != Residual::Normal {
            name += &format!("/residual_{}", self.residual.name());
        }
        if self.saved == SavedStatistics::Device {
            name += "/saved_by_the_device";
        }
        if eps.to_bits() != Problem::default().eps.to_bits() {
            name += &format!("/eps_{eps:e}");
        }
        name
    }

    /// What is computed.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The plan of its first dispatch on a device with such capabilities.
    ///
    /// # Errors
    /// Those of [`Plan`].
    pub fn plan(&self, caps: &Caps, row_split: RowSplit) -> Result<Plan, Error> {
        let problem = &self.problem;
        let width = |used: Used| {
            let element_bytes = used.stored.dtype(problem).size();
            let span = self.layout.span(problem.cols, element_bytes);
            match used.shape {
                Shape::Rows => span.vector_width(),
                // Values of channels with several columns are accessed one by one.
                Shape::Cols | Shape::Gates if !problem.has_single_parameters() => {
                    Span { offset: span.offset, cols: problem.cols, element_bytes, ..Span::default() }
                        .vector_width()
                }
                // Statistics are accessed one by one.
                _ => u32::MAX,
            }
        };
        let used = self.task.operation().of_call(problem.affine, problem.activation);
        let width = used.into_iter().map(width).min().unwrap_or(8);
        let span = self.layout.span(problem.cols, 4);
        if span.is_across() {
            let across = match self.task {
                Task::Forward(forward) => Plan::forward_across(problem, forward, caps),
                Task::Backward(backward) => Plan::backward_across(problem, backward, caps),
            };
            if !across.as_ref().is_err_and(Error::is_unsupported) {
                return across;
            }
        }
        let strides = match problem.channels {
            Some(channels) if channels.is_blocked() => Strides::Rows,
            _ => Strides::of(&span),
        };
        let whole = match self.task {
            Task::Forward(forward) => Plan::forward(problem, forward, width, caps),
            Task::Backward(backward)
                if problem.has_channel_sums() && !self.task.operation().finishes_rows() =>
            {
                return Ok(Plan::channel_sums(problem, backward, width, caps)?.with_strides(strides));
            }
            Task::Backward(backward) => Plan::backward(problem, backward, width, caps),
        }?;
        let plan = match self.task {
            _ if !row_split.splits(&whole) => whole,
            Task::Forward(forward) => Plan::forward_split(problem, forward, width, caps)?[0],
            // It may take a binding more than the device has.
            Task::Backward(backward) => match Plan::backward_split(problem, backward, width, caps) {
                Err(error) if error.is_unsupported() => whole,
                of_both => of_both?[0],
            },
        };
        Ok(plan.with_strides(strides))
    }
}

/// Cases of the calls that a table has rungs for: with every affine and storage of parameters, rows that
/// leave the last workgroup short or alone, dense and sliced, and data that has broken kernels. The device's
/// own entries decide what becomes of them: [`Outcome::is_tuned`](super::Outcome::is_tuned) tells.
#[must_use]
pub fn tuned_cases(tuning: &Tuning) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in tuning.entries().iter().filter(|entry| entry.rung.is_some()) {
        let TuningKey { operation, normalization, dtype, cols, .. } = &entry.key;
        let task = |affine| match operation.as_str() {
            "forward" => Task::forward(),
            "forward_residual" => {
                Task::Forward(Forward { residual: true, statistics: true, ..Forward::default() })
            }
            "backward" => Task::backward(affine),
            _ => Task::backward(Affine::None),
        };
        let problem = |parameter_dtype, affine| Problem {
            cols: *cols,
            dtype: *dtype,
            parameter_dtype,
            normalization: *normalization,
            affine,
            ..Problem::default()
        };
        let mut add = |problem: Problem, rows, layout, data| {
            cases.push(Case { layout, data, ..Case::new(problem, rows, task(problem.affine)) });
        };
        // Without gain and bias, backward has no gradients of parameters and is another operation.
        let affines = if operation == "backward" {
            &[Affine::GainBias, Affine::Gain][..]
        } else {
            &[Affine::GainBias, Affine::Gain, Affine::None][..]
        };
        for (i, affine) in affines.iter().enumerate() {
            let layout = [Layout::Dense, Layout::Slice][i % 2];
            add(problem(*dtype, *affine), [37, 5, 1][i], layout, Data::Normal);
        }
        if *dtype != Dtype::F32 {
            add(problem(Dtype::F32, Affine::GainBias), 5, Layout::Slice, Data::Normal);
        }
        for data in Data::ADVERSARIAL {
            add(problem(*dtype, Affine::GainBias), 9, Layout::Dense, data);
        }
    }
    cases
}
