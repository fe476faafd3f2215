//! Failures of cases that differ from a plain one in as little as possible.

use super::{AFFINE, DIRECTION, FACTORS, POOL, as_level, plain_levels};
use crate::covering::Levels;
use crate::error::Error;
use crate::gpu::Context;
use crate::types::Affine;
use crate::verify::factors::{BACKWARD_ONLY, FORWARD_ONLY, case};
use crate::verify::{Case, Outcome, run};

/// The case that is left of one that fails, where whatever can be made plain without the failure going away
/// is: one factor after the other, its shape apart. With what has become of it; `None` where nothing can, or
/// where the case is not one of the array's. It runs some forty cases at most for each factor that goes.
///
/// # Errors
/// Those of [`run`](super::super::run()), which are no failures of a case: such cases are passed over, but
/// for [`Error::Device`].
pub async fn smallest(context: &Context, failed: &Case) -> Result<Option<(Case, Outcome)>, Error> {
    let found = POOL.iter().find(|(_, case)| case == failed);
    let Some((mut levels, _)) = found.copied() else { return Ok(None) };
    let mut smallest = None;
    'smaller: loop {
        for (next, case) in smaller(&levels) {
            match run(context, &case).await {
                Ok(outcome) if !outcome.failures.is_empty() => {
                    levels = next;
                    smallest = Some((case, outcome));
                    continue 'smaller;
                }
                Err(error @ Error::Device { .. }) => return Err(error),
                _ => {}
            }
        }
        return Ok(smallest);
    }
}

/// The cases that have one more factor as the plain case has it.
fn smaller(levels: &Levels<FACTORS>) -> Vec<(Levels<FACTORS>, Case)> {
    let is_forward = levels[DIRECTION] == 0;
    let own = if is_forward { FORWARD_ONLY } else { BACKWARD_ONLY };
    let plain = plain_row(is_forward);
    // What is said of data first, then options, and storage, norm and affine at last.
    let factors = (0..FACTORS).rev().filter(|factor| ![0, DIRECTION].contains(factor));
    let made_plain = factors.filter_map(|factor| {
        if levels[factor] == plain[factor] {
            return None;
        }
        let mut next = *levels;
        next[factor] = plain[factor];
        if let Some(case) = case(&next) {
            return Some((next, case));
        }
        // Fewer parameters have fewer gradients.
        let affine = Affine::ALL[usize::from(next[AFFINE])];
        let options = plain_levels(is_forward, affine).into_iter().filter(|(of, _)| own.contains(of));
        options.for_each(|(of, level)| next[of] = as_level(level));
        case(&next).map(|case| (next, case))
    });
    made_plain.filter(|(next, _)| next != levels).collect()
}

/// f32, layer norm without gain and bias, dense normal data, and the options of such a call.
fn plain_row(is_forward: bool) -> Levels<FACTORS> {
    let mut row = [0; FACTORS];
    row[DIRECTION] = as_level(usize::from(!is_forward));
    for (factor, level) in plain_levels(is_forward, Affine::None) {
        row[factor] = as_level(level);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Dtype;
    use crate::verify::Data;

    /// Down to the smallest case that a fault shows in.
    fn reduced(mut levels: Levels<FACTORS>, fails: impl Fn(&Case) -> bool) -> (Levels<FACTORS>, usize) {
        let mut runs = 0;
        loop {
            let next = smaller(&levels);
            let found = next.iter().position(|(_, case)| fails(case));
            runs += found.map_or(next.len(), |place| place + 1);
            match found {
                Some(place) => levels = next[place].0,
                None => return (levels, runs),
            }
        }
    }

    #[test]
    fn what_a_fault_needs_is_what_is_left() {
        let faults: [fn(&Case) -> bool; 3] = [
            |case| case.problem.dtype == Dtype::Bf16 && case.data == Data::Outlier,
            |case| case.problem.affine.has_gain() && case.problem.eps == 0.0,
            |case| case.problem.activation.is_some() && case.problem.channels.is_some(),
        ];
        for fails in faults {
            let failing: Vec<_> = POOL.iter().filter(|(_, case)| fails(case)).collect();
            assert!(failing.len() > 10);
            for (levels, failed) in failing {
                let (left, runs) = reduced(*levels, fails);
                let case = case(&left).expect("it has run");
                assert!(fails(&case), "{}", failed.name());
                assert!(runs < 200, "{runs} runs for {}", failed.name());
                for (next, smaller) in smaller(&left) {
                    assert!(!fails(&smaller), "{}: {next:?}", failed.name());
                }
                let other = left.iter().zip(plain_row(left[DIRECTION] == 0)).enumerate();
                let other: Vec<_> = other.filter(|(_, (level, plain))| **level != *plain).collect();
                // Its shape, its direction, the two that the fault needs, and what one of those needs.
                assert!(other.len() <= 5, "{}: {}: {other:?}", failed.name(), case.name());
            }
        }
    }
}
