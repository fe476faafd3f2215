//! Whether a call asks for what its case does.

use crate::error::Error;
use crate::plan::Operation;
use std::collections::BTreeSet;

/// That the call asks for what the case does. Its buffers are made from the tensors of the case's options,
/// and its options from the buffers: one that they do not tell of would be left out without a word, and its
/// cases would pass.
pub(super) fn check_asked(case: Operation, call: Operation) -> Result<(), Error> {
    if case == call {
        return Ok(());
    }
    let labels = [case, call].map(|operation| operation.options_label());
    let [of_case, of_call] = labels.each_ref().map(|label| label.split('/').collect::<BTreeSet<_>>());
    let names: Vec<&str> = of_case.symmetric_difference(&of_call).copied().collect();
    // Of an option without a label, what has one is the same.
    let names = if names.is_empty() { format!("of {case:?}") } else { names.join(", ") };
    Err(Error::invalid(
        format!("option {names}"),
        "another in the call's buffers than in the case",
        "told by a tensor or a field of theirs",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Forward;

    #[test]
    fn an_option_that_the_buffers_do_not_tell_of_is_an_error() {
        let forward = Forward { residual: true, statistics: true, ..Forward::default() };
        let asked = Operation::Forward(forward);
        assert_eq!(check_asked(asked, asked), Ok(()));
        let said = |call| check_asked(asked, Operation::Forward(call)).unwrap_err().to_string();
        let why = "another in the call's buffers than in the case, needs to be told by a tensor or a field of theirs";
        let lost = Forward { statistics: false, ..forward };
        assert_eq!(said(lost), format!("option statistics is {why}"));
        let another = Forward { without_sum: true, ..forward };
        assert_eq!(said(another), format!("option without_sum is {why}"));
    }
}
