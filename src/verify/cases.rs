//! What a case is made of.

use crate::error::Error;
use crate::op::{Shape, Stored, Used};
use crate::plan::{Backward, Caps, Forward, Operation, Plan, RowSplit, Span, Tensor, Tuning, TuningKey};
use crate::types::{Affine, Dtype, Gradient, Problem};

/// What the rows of x hold; each row a little different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Mean 0, standard deviation 1.
    Normal,
    /// Mean 1e6 (f16: 1e3) times the standard deviation, where a float32 mean alone loses digits.
    LargeMean,
    /// 40000, 40001, 40002, 40003 again and again, where `E[x^2] - mean^2` gives NaN.
    Consecutive,
    /// 800 from the mean, where squares overflow float16.
    Spread,
    /// Close to the largest float16.
    NearF16Max,
    /// One value.
    Constant,
    /// 1e30 (f16: 1e4), where squares overflow float32.
    Huge,
    /// Close to the largest float32 on both sides of 0, where differences overflow.
    FullRange,
    /// 2^54 to 2^62 by row, where the squares of a thread's columns are finite and those of the row are not.
    Brink,
    /// 1e20, or 3e38 in every second row, its sign changing every 16 bytes: each thread of a row may find a constant.
    SquareWave,
    /// 1e12 in the first half of a row, where squares are in range, and 1e30 in the second: threads, or chunks, that are
    /// scaled beside some that are not.
    Cliff,
    /// Below the smallest normal number.
    Subnormal,
    /// One value a million times (f16: sixty thousand times) the others.
    Outlier,
    /// A NaN, an infinity or none in a row.
    NotFinite,
    /// Rows like each other, and dy the same in all, so that rounding in a sum over rows always goes the same way. x differs a
    /// little: what xhat is off, too, would add up from row to row.
    Alike,
}

impl Data {
    /// Those that every storage and operation takes, and that tuned plans are tried on.
    const ADVERSARIAL: [Self; 9] = [
        Self::LargeMean,
        Self::Consecutive,
        Self::Spread,
        Self::NearF16Max,
        Self::Constant,
        Self::Huge,
        Self::Subnormal,
        Self::Outlier,
        Self::NotFinite,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LargeMean => "large_mean",
            Self::Consecutive => "consecutive",
            Self::Spread => "spread",
            Self::NearF16Max => "near_f16_max",
            Self::Constant => "constant",
            Self::Huge => "huge",
            Self::FullRange => "full_range",
            Self::Brink => "brink",
            Self::SquareWave => "square_wave",
            Self::Cliff => "cliff",
            Self::Subnormal => "subnormal",
            Self::Outlier => "outlier",
            Self::NotFinite => "not_finite",
            Self::Alike => "alike",
        }
    }
}

/// What gain, bias or dy hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// Mean 0, standard deviation 1.
    #[default]
    Normal,
    /// 0.
    Zero,
    /// 1e4 (f16: 1e3) times normal.
    Large,
    /// Normal, but for one column of 1e30 (f16: 6e4).
    OneHuge,
    /// Of one sign.
    Positive,
}

impl Values {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Zero => "zero",
            Self::Large => "large",
            Self::OneHuge => "one_huge",
            Self::Positive => "positive",
        }
    }
}

/// What the residual holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// Mean 0, standard deviation 1.
    #[default]
    Normal,
    /// The same kind of data as x; near the end of the range the sum overflows.
    Like,
    /// -x: their sum is 0.
    Opposite,
}

impl Residual {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Like => "like",
            Self::Opposite => "opposite",
        }
    }
}

/// How tensors lie in their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows one after the other.
    Dense,
    /// A slice of wider rows, all on 16 bytes where `cols` allows; mean and rstd apart.
    Slice,
    /// Rows that start on single elements.
    Odd,
    /// Rows inside outer ones, all on 16 bytes where `cols` allows, as heads in a fused projection.
    Heads,
    /// Columns apart and rows side by side, inside outer rows: positions of samples that have their channels first.
    Channels,
    /// Dense rows, with all tensors of the call in one buffer, each from a multiple of 256 bytes on, as the windows of a browser
    /// need.
    Pool,
}

impl Layout {
    /// Where rows of so many columns lie.
    pub(super) const fn span(self, cols: u32, element_bytes: u32) -> Span {
        let (wide, inner) = (cols as u64, INNER_ROWS as u64);
        let (offset, stride, column_stride, inner_rows, outer_stride) = match self {
            Self::Dense | Self::Pool => (0, wide, 1, 0, 0),
            Self::Slice => (64, wide + 8, 1, 0, 0),
            Self::Odd => (3, wide + 5, 1, 0, 0),
            Self::Heads => (64, wide, 1, inner, inner * wide + 8),
            Self::Channels => (3, 1, inner + 1, inner, (inner + 1) * wide + 5),
        };
        Span { offset, stride, cols, element_bytes, column_stride, inner_rows, outer_stride }
    }

    /// Elements between a row's end and the next row's start, where rows lie one after the other.
    pub(super) const fn gap(self) -> u64 {
        match self {
            Self::Slice => 8,
            Self::Odd => 5,
            Self::Dense | Self::Heads | Self::Channels | Self::Pool => 0,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Slice => "slice",
            Self::Odd => "odd",
            Self::Heads => "heads",
            Self::Channels => "channels",
            Self::Pool => "pool",
        }
    }
}

/// Rows inside an outer row, of which the last has fewer in most cases.
pub(super) const INNER_ROWS: u32 = 3;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// y, and sum with a residual.
    Forward(Forward),
    /// Gradients, from the float32 rounded statistics of the reference.
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
            name += &format!("/of_{}_channels", channels.count);
        }
        if self.residual != Residual::Normal {
            name += &format!("/residual_{}", self.residual.name());
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
                // Values of channels are accessed one by one.
                Shape::Cols if problem.channels.is_none() => {
                    Span { offset: span.offset, cols: problem.cols, element_bytes, ..Span::default() }
                        .vector_width()
                }
                // Statistics are accessed one by one.
                _ => u32::MAX,
            }
        };
        let used = self.task.operation().of_call(problem.affine);
        let width = used.into_iter().map(width).min().unwrap_or(8);
        let strided = self.layout.span(problem.cols, 4).is_strided();
        let whole = match self.task {
            Task::Forward(forward) => Plan::forward(problem, forward, width, caps),
            Task::Backward(backward)
                if problem.channels.is_some() && !self.task.operation().finishes_rows() =>
            {
                return Ok(Plan::channel_sums(problem, backward, width, caps)?.with_strided(strided));
            }
            Task::Backward(backward) => Plan::backward(problem, backward, width, caps),
        }?;
        let plan = match self.task {
            _ if !row_split.splits(&whole) => whole,
            Task::Forward(forward) => Plan::forward_split(problem, forward, width, caps)?[0],
            Task::Backward(backward) => Plan::backward_split(problem, backward, width, caps)?[0],
        };
        Ok(plan.with_strided(strided))
    }
}

/// Cases of the calls that a table has rungs for: with every affine and storage of parameters, rows that leave the last workgroup
/// short or alone, dense and sliced, and data that has broken kernels. The device's own entries decide what becomes of them:
/// [`Outcome::is_tuned`](super::Outcome::is_tuned) tells.
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
