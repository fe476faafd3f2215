//! What the table of an operation is made of: a row for each tensor, and a list of options.

use super::{Kernel, Shape, Stored, Tensor};
use crate::types::{Activation, Affine};

/// What a tensor is to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    pub(super) const INPUT: Self = Self::Input { in_place: &[] };
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
    pub(super) const NONE: Self = Self::times(0, 0);
    pub(super) const READ: Self = Self::times(1, 0);
    pub(super) const WRITE: Self = Self::times(0, 1);
    pub(super) const READ_AND_WRITE: Self = Self::times(1, 1);

    pub(super) const fn times(reads: u32, writes: u32) -> Self {
        Self { reads, writes }
    }

    pub(super) const fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

/// A row of an operation's table. `O` is what the operation is asked for.
pub(super) struct Spec<O> {
    pub(super) tensor: Tensor,
    pub(super) role: Role,
    pub(super) shape: Shape,
    pub(super) stored: Stored,
    pub(super) uses: fn(&Asked<O>) -> Uses,
    /// The output whose rows are the tensor's own, where there is one: the kernel accesses it through that
    /// one's binding.
    pub(super) lies_in: fn(&O) -> Option<Tensor>,
}

/// An option of an operation, and the values that it has.
pub(crate) struct Choice<O> {
    /// How each value shows in a label; the first, which is the default, does not.
    pub(crate) labels: &'static [&'static str],
    pub(crate) get: fn(&O) -> usize,
    pub(crate) set: fn(&mut O, usize),
}

/// The place of a value among those that a choice has: the default's for one that it does not have.
pub(super) fn place_of<T: PartialEq>(values: &[T], value: &T) -> usize {
    values.iter().position(|has| has == value).unwrap_or(0)
}

/// Options with every combination of values.
pub(super) fn combinations<O: Copy + Default>(choices: &[Choice<O>]) -> Vec<O> {
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
pub(super) fn named_values<O>(
    choices: &[Choice<O>],
) -> impl Iterator<Item = (&'static str, &Choice<O>, usize)> {
    choices.iter().flat_map(|choice| {
        let name = |label: &'static str| label.rsplit('/').next().unwrap_or(label);
        choice.labels.iter().enumerate().skip(1).map(move |(value, label)| (name(label), choice, value))
    })
}

pub(super) fn label_of<O>(choices: &[Choice<O>], options: &O) -> String {
    choices.iter().map(|choice| choice.labels[(choice.get)(options)]).collect()
}

/// What decides how a kernel uses a tensor.
pub(super) struct Asked<O> {
    pub(super) kernel: Kernel,
    pub(super) affine: Affine,
    pub(super) activation: Activation,
    pub(super) options: O,
}

/// In no other tensor.
pub(super) const fn apart<O>(_: &O) -> Option<Tensor> {
    None
}

/// A tensor as a kernel uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

pub(super) fn used<O>(table: &[Spec<O>], asked: Asked<O>) -> Vec<Used> {
    let of = |spec: &Spec<O>| {
        let Spec { tensor, role, shape, stored, .. } = *spec;
        let bound = (spec.lies_in)(&asked.options).unwrap_or(tensor);
        Used { tensor, role, shape, stored, uses: (spec.uses)(&asked), bound }
    };
    table.iter().map(of).filter(|used| used.uses != Uses::NONE).collect()
}
