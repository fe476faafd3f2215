//! The operations, each a table of its tensors. What else there is to know of a tensor follows from its row
//! of the table: bindings and their order, which are written, bytes moved, sizes and usages that buffers must
//! have, what may overlap, which windows are bound, what is loaded and stored in the shader, shapes in a
//! variant's description.

mod backward;
mod forward;
mod kernel;
mod operation;
mod table;
mod tensor;

pub use backward::Backward;
pub use forward::Forward;
pub use kernel::Kernel;
pub use operation::Operation;
pub(crate) use operation::{check_gated, check_source};
pub(crate) use table::Choice;
#[cfg(feature = "gpu")]
pub(crate) use table::Facts;
pub use table::{Role, Used, Uses};
pub use tensor::{Shape, Stored, Tensor};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Uniform;
    use crate::types::{Activation, Affine, Gradient, Problem};
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
        let forwards = Forward::all().into_iter().map(Operation::Forward);
        let backwards = Backward::all().into_iter().map(Operation::Backward);
        let (gated_forwards, forwards): (Vec<_>, Vec<_>) = forwards.partition(Operation::is_gated);
        let (gated_backwards, backwards): (Vec<_>, Vec<_>) = backwards.partition(Operation::is_gated);
        let most_of = |kernel: Kernel, operations: &[Operation], affine: Affine, activation: Activation| {
            // A gain of each row is in place of those of each column.
            let fits = |operation: &&Operation| {
                let problem = Problem { cols: 1, affine, activation, ..Problem::default() };
                affine != Affine::GainBias || operation.fits(&problem)
            };
            let count = |operation: &Operation| {
                let used = operation.used(kernel, affine, activation);
                used.iter().filter(|used| used.bound == used.tensor).count()
            };
            operations.iter().filter(fits).map(count).max()
        };
        let most =
            |kernel, operations: &[Operation], affine| most_of(kernel, operations, affine, Activation::None);
        // The first kernels of two over split rows are asked for no output of the second.
        let first = |operations: [Operation; 2], kernel| most(kernel, &operations, Affine::Gain);
        let residual = Forward { residual: true, ..Forward::default() };
        let statistics = [Operation::Forward(Forward::default()), Operation::Forward(residual)];
        let sums = [Operation::Backward(Backward::default()); 2];
        let has_codes =
            |operation: &Operation| matches!(operation, Operation::Forward(Forward { codes: Some(_), .. }));
        let (with_codes, without): (Vec<_>, Vec<_>) = forwards.iter().copied().partition(has_codes);
        let is_from_y =
            |operation: &Operation| matches!(operation, Operation::Backward(backward) if backward.from_y);
        let (from_y, from_x): (Vec<_>, Vec<_>) = backwards.iter().copied().partition(is_from_y);
        for kernel in [Kernel::ForwardCached, Kernel::ForwardStreamed, Kernel::ForwardSplitApply] {
            assert_eq!(most(kernel, &without, Affine::GainBias), Some(7), "{}", kernel.name());
        }
        // Codes beside y, with units, statistics and a sum, take a ninth.
        for kernel in [Kernel::ForwardCached, Kernel::ForwardStreamed] {
            assert_eq!(most(kernel, &with_codes, Affine::GainBias), Some(9), "{}", kernel.name());
        }
        for (kernel, bindings) in [
            (Kernel::BackwardCached, 7),
            (Kernel::BackwardStreamed, 7),
            (Kernel::BackwardSplitApply, 8),
            (Kernel::BackwardReduceParameters, 3),
        ] {
            assert_eq!(most(kernel, &from_x, Affine::GainBias), Some(bindings), "{}", kernel.name());
        }
        // From y the bias is read too, and dsum, or gains are counted.
        for (kernel, bindings) in
            [(Kernel::BackwardCached, 8), (Kernel::BackwardStreamed, 8), (Kernel::BackwardSplitApply, 9)]
        {
            assert_eq!(most(kernel, &from_y, Affine::GainBias), Some(bindings), "{}", kernel.name());
        }
        // With a gate that and its gradient.
        let is_gated = |operation: &Operation| operation.gate_input().is_some();
        let gated: Vec<_> = backwards.iter().copied().filter(is_gated).collect();
        for (kernel, bindings) in
            [(Kernel::BackwardCached, 8), (Kernel::BackwardStreamed, 8), (Kernel::BackwardSplitApply, 9)]
        {
            assert_eq!(most(kernel, &gated, Affine::Gain), Some(bindings), "{}", kernel.name());
        }
        // A gate is one more where the sum is made, and with codes beside y a tenth. In backward what it has
        // multiplied is read and its gradient written too.
        let splits_rows =
            |operation: &Operation| matches!(operation, Operation::Backward(gated) if gated.splits_rows());
        let gated_split: Vec<_> = gated_backwards.iter().copied().filter(splits_rows).collect();
        let (gated_codes, gated): (Vec<_>, Vec<_>) = gated_forwards.into_iter().partition(has_codes);
        for (kernel, operations, bindings) in [
            (Kernel::ForwardCached, &gated, 8),
            (Kernel::ForwardStreamed, &gated, 8),
            (Kernel::ForwardSplitApply, &gated, 8),
            (Kernel::ForwardCached, &gated_codes, 10),
            (Kernel::ForwardStreamed, &gated_codes, 10),
            (Kernel::BackwardCached, &gated_backwards, 10),
            (Kernel::BackwardStreamed, &gated_backwards, 10),
            (Kernel::BackwardSplitApply, &gated_split, 10),
            (Kernel::BackwardReduceParameters, &gated_backwards, 4),
        ] {
            assert_eq!(most(kernel, operations, Affine::GainBias), Some(bindings), "{}", kernel.name());
        }
        let most_bound = most(Kernel::BackwardCached, &gated_backwards, Affine::GainBias);
        assert!(most_bound.is_some_and(|bound| bound <= Uniform::PLACES), "the uniform has a place for each");
        let gate_of_sum = Operation::Forward(Forward { gate: true, ..residual });
        assert_eq!(most(Kernel::ForwardSplitStatistics, &[gate_of_sum], Affine::None), Some(5));

        let without_affine = |kernel| most(kernel, &statistics, Affine::None);
        assert_eq!(without_affine(Kernel::ForwardSplitStatistics), Some(4));
        assert_eq!(first(sums, Kernel::BackwardSplitSums), Some(5));
        let gain_and_bias = Operation::Backward(Backward {
            dgain: Some(Gradient::Overwrite),
            dbias: Some(Gradient::Overwrite),
            ..Backward::default()
        });
        assert_eq!(most(Kernel::BackwardChannelSums, &[gain_and_bias], Affine::GainBias), Some(4));

        // With an activation backward reads the bias too, and the sums over channels gain and bias.
        let activated = |kernel, operations| most_of(kernel, operations, Affine::GainBias, Activation::Silu);
        for (kernel, bindings) in [
            (Kernel::BackwardCached, 8),
            (Kernel::BackwardStreamed, 8),
            (Kernel::BackwardSplitApply, 9),
            (Kernel::BackwardReduceParameters, 3),
        ] {
            assert_eq!(activated(kernel, &backwards), Some(bindings), "{}", kernel.name());
        }
        assert_eq!(activated(Kernel::ForwardCached, &without), Some(7));
        assert_eq!(activated(Kernel::BackwardSplitSums, &sums), Some(6));
        assert_eq!(activated(Kernel::BackwardChannelSums, &[gain_and_bias]), Some(6));
    }
}
