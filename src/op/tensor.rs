//! The tensors of all operations, their shapes, and which of the dtypes of a problem they have.

use crate::types::{Dtype, Problem};

/// The tensors of all operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the formulas in the crate's documentation")]
#[non_exhaustive]
pub enum Tensor {
    X,
    #[doc(alias = "skip", alias = "shortcut")]
    Residual,
    #[doc(alias = "weight", alias = "gamma")]
    Gain,
    /// What a gate is `silu` of: gated RMS norm.
    #[doc(alias = "z")]
    GateInput,
    #[doc(alias = "beta")]
    Bias,
    /// What x is multiplied by before a residual is added to it: `sum = residual + gate * x`.
    #[doc(alias = "layer_scale")]
    Gate,
    /// What all of a row's y is multiplied by at last.
    #[doc(alias = "weight_g", alias = "g")]
    RowGain,
    /// Mean of each row in place of its own: forward.
    Mean,
    /// Variance of each row in place of its own: forward.
    Variance,
    Y,
    Sum,
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    Statistics,
    /// y in codes of 8 bits, `[rows, cols]`, four in a word: forward.
    #[doc(alias = "quantized")]
    Codes,
    /// What the codes of each row are multiples of, `[rows]` in float32: forward.
    #[doc(alias = "scale")]
    Units,
    /// Running mean of each row, updated: forward.
    RunningMean,
    /// Running variance of each row, updated: forward.
    RunningVariance,
    #[doc(alias = "grad_output")]
    Dy,
    #[doc(alias = "residual_grad")]
    Dsum,
    /// What the gate has multiplied, forward's x: backward, whose x is the sum.
    Branch,
    /// The gradient of what the gate has multiplied.
    Dbranch,
    #[doc(alias = "grad_input")]
    Dx,
    #[doc(alias = "dz")]
    DgateInput,
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    Dgain,
    #[doc(alias = "grad_bias", alias = "dbeta")]
    Dbias,
    #[doc(alias = "grad_g")]
    DrowGain,
    #[doc(alias = "grad_gate")]
    Dgate,
    /// How many columns have a gain below the least, where backward is from y: one float32.
    Clamped,
    /// The partial sums of dgain, dbias and dgate, `[partial_rows, 1 to 3, cols]` in float32.
    Partials,
    /// What the chunks of a row leave for one another, moments or sums: `[rows, row_partials, 4]` in float32.
    RowPartials,
}

impl Tensor {
    /// The name in the shaders, in errors and in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Residual => "residual",
            Self::Gain => "gain",
            Self::GateInput => "gate_input",
            Self::Bias => "bias",
            Self::Gate => "gate",
            Self::RowGain => "row_gain",
            Self::Mean => "mean",
            Self::Variance => "variance",
            Self::Y => "y",
            Self::Sum => "sum",
            Self::Statistics => "statistics",
            Self::Codes => "codes",
            Self::Units => "units",
            Self::RunningMean => "running_mean",
            Self::RunningVariance => "running_variance",
            Self::Dy => "dy",
            Self::Dsum => "dsum",
            Self::Branch => "branch",
            Self::Dbranch => "dbranch",
            Self::Dx => "dx",
            Self::DgateInput => "dgate_input",
            Self::Dgain => "dgain",
            Self::Dbias => "dbias",
            Self::DrowGain => "drow_gain",
            Self::Clamped => "clamped",
            Self::Dgate => "dgate",
            Self::Partials => "partials",
            Self::RowPartials => "row_partials",
        }
    }
}

/// The shape of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// `[rows, cols]`, with a stride between rows.
    Rows,
    /// `[cols]`: one row that serves all, or a value for each channel: gain, bias and their gradients.
    Cols,
    /// `[cols]`, or `[samples, cols]`: a row for each sample, whether or not gain and bias have one.
    Gates,
    /// `[rows]`: a value for each.
    PerRow,
    /// One value of the whole call.
    One,
    /// `[rows, cols]` of one byte each, four in a word: a row begins with one, and the bytes that are left in
    /// its last one are 0. [`words`](Self::words) counts them.
    Codes,
    /// `[rows, 2]`: mean and rstd.
    Statistics,
    /// Scratch between two dispatches of a call: `[partial_rows, gradients, cols]`.
    Partials,
    /// Scratch between two dispatches of a call: `[rows, row_partials, 4]`.
    RowPartials,
}

impl Shape {
    /// Whether it is that of parameters, which rows share.
    #[must_use]
    pub const fn is_of_parameters(self) -> bool {
        matches!(self, Self::Cols | Self::Gates)
    }

    /// Words of a row of codes.
    #[must_use]
    pub const fn words(cols: u32) -> u32 {
        cols.div_ceil(4)
    }
}

/// Which of a problem's dtypes a tensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// That of the rows.
    AsRows,
    /// That of gain, bias and gate.
    AsParameters,
    /// That of y and its gradient.
    AsY,
    /// That of the residual and the sum; in backward, whose x is the sum, that of the branch.
    AsResidual,
    /// float32, or words of 32 bits, whatever the problem's are.
    F32,
}

impl Stored {
    /// Those that a problem chooses, the rows' first.
    pub(crate) const CHOSEN: [Self; 4] = [Self::AsRows, Self::AsParameters, Self::AsY, Self::AsResidual];

    /// Those that are as the rows' unless a problem says otherwise, the parameters' aside.
    pub(crate) const OTHERS: &[Self] = Self::CHOSEN.split_at(2).1;

    /// `rows`, `parameters`, `y` or `residual`: what else than the rows' storage is in a plan's label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AsRows => "rows",
            Self::AsParameters => "parameters",
            Self::AsY => "y",
            Self::AsResidual => "residual",
            Self::F32 => "f32",
        }
    }

    /// Sets what is stored.
    pub(crate) const fn set(self, problem: &mut Problem, dtype: Dtype) {
        match self {
            Self::AsRows => problem.dtype = dtype,
            Self::AsParameters => problem.parameter_dtype = dtype,
            Self::AsY => problem.y_dtype = Some(dtype),
            Self::AsResidual => problem.residual_dtype = Some(dtype),
            Self::F32 => {}
        }
    }

    /// The problem with everything stored in one type.
    pub(crate) fn all(problem: &Problem, dtype: Dtype) -> Problem {
        let mut problem = *problem;
        Self::CHOSEN.into_iter().for_each(|stored| stored.set(&mut problem, dtype));
        problem
    }

    /// The smallest type that rows have.
    pub(crate) fn narrowest(problem: &Problem) -> Dtype {
        let others = Self::OTHERS.iter().map(|stored| stored.dtype(problem));
        others.chain([problem.dtype]).min_by_key(|dtype| dtype.size()).unwrap_or_default()
    }

    /// Whether all rows have one type.
    pub(crate) fn is_one(problem: &Problem) -> bool {
        Self::OTHERS.iter().all(|stored| stored.dtype(problem) == problem.dtype)
    }

    /// What is stored.
    pub(crate) fn dtype(self, problem: &Problem) -> Dtype {
        let of = |own: Option<Dtype>| own.unwrap_or(problem.dtype);
        match self {
            Self::AsRows => problem.dtype,
            Self::AsParameters => problem.parameter_dtype,
            Self::AsY => of(problem.y_dtype),
            Self::AsResidual => of(problem.residual_dtype),
            Self::F32 => Dtype::F32,
        }
    }
}
