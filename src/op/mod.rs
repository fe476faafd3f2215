//! The operations, each a table of its tensors. What else there is to know of a tensor follows from its row of the
//! table: bindings and their order, which are written, bytes moved, sizes and usages that buffers must have, what may
//! overlap, which windows are bound, what is loaded and stored in the shader, shapes in a variant's description.

mod backward;
mod forward;
mod kernel;

pub use backward::Backward;
pub use forward::Forward;
pub use kernel::Kernel;

use crate::types::{Affine, Dtype, Problem};

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
    #[doc(alias = "beta")]
    Bias,
    Y,
    Sum,
    #[doc(alias = "inv_std", alias = "rstd", alias = "mean")]
    Statistics,
    #[doc(alias = "grad_output")]
    Dy,
    #[doc(alias = "residual_grad")]
    Dsum,
    #[doc(alias = "grad_input")]
    Dx,
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    Dgain,
    #[doc(alias = "grad_bias", alias = "dbeta")]
    Dbias,
    /// The partial sums of dgain and dbias, `[partial_rows, 1 or 2, cols]` in float32.
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
            Self::Bias => "bias",
            Self::Y => "y",
            Self::Sum => "sum",
            Self::Statistics => "statistics",
            Self::Dy => "dy",
            Self::Dsum => "dsum",
            Self::Dx => "dx",
            Self::Dgain => "dgain",
            Self::Dbias => "dbias",
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
    /// `[cols]`: one row that serves all.
    Cols,
    /// `[rows, 2]`: mean and rstd.
    Statistics,
    /// Scratch between two dispatches of a call: `[partial_rows, gradients, cols]`.
    Partials,
    /// Scratch between two dispatches of a call: `[rows, row_partials, 4]`.
    RowPartials,
}

/// Which of a problem's dtypes a tensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// That of the rows.
    AsRows,
    /// That of gain and bias.
    AsParameters,
    /// That of y and its gradient.
    AsY,
    /// That of the residual and the sum.
    AsResidual,
    /// float32, whatever the problem's are.
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

/// What a tensor is to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The call reads it.
    Input {
        /// The outputs whose rows may be exactly its own: they are written over it.
        in_place: &'static [Tensor],
    },
    /// The call writes it, and may read what was there.
    Output,
    /// One dispatch of the call leaves it for another.
    Scratch,
}

impl Role {
    const INPUT: Self = Self::Input { in_place: &[] };
}

/// What holds of a tensor in all calls of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) role: Role,
    pub(crate) shape: Shape,
    pub(crate) stored: Stored,
}

/// How often a kernel reads and writes all of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Walks that read it.
    pub reads: u32,
    /// Walks that write it.
    pub writes: u32,
}

impl Uses {
    const NONE: Self = Self::times(0, 0);
    const READ: Self = Self::times(1, 0);
    const WRITE: Self = Self::times(0, 1);
    const READ_AND_WRITE: Self = Self::times(1, 1);

    const fn times(reads: u32, writes: u32) -> Self {
        Self { reads, writes }
    }

    const fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

/// A row of an operation's table. `O` is what the operation is asked for.
struct Spec<O> {
    tensor: Tensor,
    role: Role,
    shape: Shape,
    stored: Stored,
    uses: fn(&Asked<O>) -> Uses,
    /// The output whose rows are the tensor's own, where there is one: the kernel accesses it through that one's binding.
    lies_in: fn(&O) -> Option<Tensor>,
}

/// An option of an operation, and the values that it has.
pub(crate) struct Choice<O> {
    /// How each value shows in a label; the first, which is the default, does not.
    pub(crate) labels: &'static [&'static str],
    pub(crate) get: fn(&O) -> usize,
    pub(crate) set: fn(&mut O, usize),
}

/// The place of a value among those that a choice has: the default's for one that it does not have.
fn place_of<T: PartialEq>(values: &[T], value: &T) -> usize {
    values.iter().position(|has| has == value).unwrap_or(0)
}

/// Options with every combination of values.
fn combinations<O: Copy + Default>(choices: &[Choice<O>]) -> Vec<O> {
    let mut all = vec![O::default()];
    for choice in choices {
        let with = |options: &O, value| {
            let mut options = *options;
            (choice.set)(&mut options, value);
            options
        };
        let values = 0..choice.labels.len();
        all = all.iter().flat_map(|options| values.clone().map(move |value| with(options, value))).collect();
    }
    all
}

/// The values of all choices but the defaults, by the last part of what a label has of them.
fn named_values<O>(choices: &[Choice<O>]) -> impl Iterator<Item = (&'static str, &Choice<O>, usize)> {
    choices.iter().flat_map(|choice| {
        let name = |label: &'static str| label.rsplit('/').next().unwrap_or(label);
        choice.labels.iter().enumerate().skip(1).map(move |(value, label)| (name(label), choice, value))
    })
}

fn label_of<O>(choices: &[Choice<O>], options: &O) -> String {
    choices.iter().map(|choice| choice.labels[(choice.get)(options)]).collect()
}

/// What decides how a kernel uses a tensor.
struct Asked<O> {
    kernel: Kernel,
    affine: Affine,
    options: O,
}

/// In no other tensor.
const fn apart<O>(_: &O) -> Option<Tensor> {
    None
}

/// A tensor as a kernel uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The tensor.
    pub tensor: Tensor,
    /// What it is to the call.
    pub role: Role,
    /// Its shape.
    pub shape: Shape,
    /// Which of the storages it has.
    pub stored: Stored,
    /// How often it is read and written.
    pub uses: Uses,
    /// The tensor whose binding it is accessed through: itself, or the output that is written over it.
    pub bound: Tensor,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// y, and with it sum and statistics.
    Forward(Forward),
    /// dx and the partial sums of dgain and dbias.
    Backward(Backward),
    /// dgain and dbias from their partial sums.
    ReduceParameters(Backward),
}

impl Operation {
    /// `forward`, `forward_residual`, `backward`, `backward_dx` (without gradients of parameters) or `reduce_parameters`: of
    /// the first four, each reads and writes other tensors of rows.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forward(Forward { residual: false, .. }) => "forward",
            Self::Forward(_) => "forward_residual",
            Self::Backward(Backward { dgain: None, dbias: None, .. }) => "backward_dx",
            Self::Backward(_) => "backward",
            Self::ReduceParameters(_) => "reduce_parameters",
        }
    }

    /// The tensors that a kernel uses, in the order of their bindings.
    #[must_use]
    pub fn used(&self, kernel: Kernel, affine: Affine) -> Vec<Used> {
        match *self {
            Self::Forward(options) => used(forward::TENSORS, Asked { kernel, affine, options }),
            Self::Backward(options) | Self::ReduceParameters(options) => {
                used(backward::TENSORS, Asked { kernel, affine, options })
            }
        }
    }

    /// The tensors of a call over whole rows, scratch aside.
    pub(crate) fn of_call(&self, affine: Affine) -> Vec<Used> {
        let kernels: &[Kernel] = match self {
            Self::Forward(_) => &[Kernel::ForwardCached],
            Self::Backward(_) => &[Kernel::BackwardCached, Kernel::BackwardReduceParameters],
            Self::ReduceParameters(_) => &[Kernel::BackwardReduceParameters],
        };
        let used = kernels.iter().flat_map(|kernel| self.used(*kernel, affine));
        used.filter(|used| used.role != Role::Scratch).collect()
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

    /// Whether a problem has the tensors that are asked for, and each in the type of the one that is written over it.
    pub(crate) fn fits(&self, problem: &Problem) -> bool {
        let has_parameters = match self {
            Self::Forward(_) => true,
            Self::Backward(backward) | Self::ReduceParameters(backward) => backward.fits(problem.affine),
        };
        let dtype = |tensor| self.facts(tensor).map(|facts| facts.stored.dtype(problem));
        let lies_well = |used: Used| dtype(used.bound) == Some(used.stored.dtype(problem));
        has_parameters && self.of_call(problem.affine).into_iter().all(lies_well)
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

fn used<O>(table: &[Spec<O>], asked: Asked<O>) -> Vec<Used> {
    let of = |spec: &Spec<O>| {
        let Spec { tensor, role, shape, stored, .. } = *spec;
        let bound = (spec.lies_in)(&asked.options).unwrap_or(tensor);
        Used { tensor, role, shape, stored, uses: (spec.uses)(&asked), bound }
    };
    table.iter().map(of).filter(|used| used.uses != Uses::NONE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A value that is set is the one that is got, sets no other, and has a label of its own.
    fn check_choices<O: Copy + Default>(choices: &[Choice<O>]) {
        let mut labels = HashSet::new();
        for choice in choices {
            for (value, label) in choice.labels.iter().enumerate() {
                let mut options = O::default();
                (choice.set)(&mut options, value);
                assert_eq!((choice.get)(&options), value, "{label}");
                let mut others = choices.iter().filter(|other| !std::ptr::eq(*other, choice));
                assert!(others.all(|other| (other.get)(&options) == 0), "{label} sets another");
                assert!(value == 0 || labels.insert(*label), "{label} twice");
            }
        }
    }

    #[test]
    fn choices_are_got_as_they_are_set() {
        check_choices(&Forward::CHOICES);
        check_choices(&Backward::CHOICES);
    }

    /// The table of docs/engine.md: the most storage buffers that a kernel binds, whatever it is asked for.
    #[test]
    fn eight_bindings_are_enough() {
        let forwards: Vec<Operation> = Forward::all().into_iter().map(Operation::Forward).collect();
        let backwards: Vec<Operation> = Backward::all().into_iter().map(Operation::Backward).collect();
        let most = |kernel: Kernel, operations: &[Operation], affine: Affine| {
            let count = |operation: &Operation| {
                let used = operation.used(kernel, affine);
                used.iter().filter(|used| used.bound == used.tensor).count()
            };
            operations.iter().map(count).max()
        };
        // The first kernels of two over split rows are asked for no output of the second.
        let first = |operations: [Operation; 2], kernel| most(kernel, &operations, Affine::Gain);
        let residual = Forward { residual: true, ..Forward::default() };
        let statistics = [Operation::Forward(Forward::default()), Operation::Forward(residual)];
        let sums = [Operation::Backward(Backward::default()); 2];
        for (kernel, bindings) in
            [(Kernel::ForwardCached, 7), (Kernel::ForwardStreamed, 7), (Kernel::ForwardSplitApply, 7)]
        {
            assert_eq!(most(kernel, &forwards, Affine::GainBias), Some(bindings), "{}", kernel.name());
        }
        for (kernel, bindings) in [
            (Kernel::BackwardCached, 7),
            (Kernel::BackwardStreamed, 7),
            (Kernel::BackwardSplitApply, 8),
            (Kernel::BackwardReduceParameters, 3),
        ] {
            assert_eq!(most(kernel, &backwards, Affine::GainBias), Some(bindings), "{}", kernel.name());
        }
        let without_affine = |kernel| most(kernel, &statistics, Affine::None);
        assert_eq!(without_affine(Kernel::ForwardSplitStatistics), Some(4));
        assert_eq!(first(sums, Kernel::BackwardSplitSums), Some(5));
    }
}
