//! The cases: a covering array of the [factors](super::factors), made by code.

use super::cases::{Case, Task};
use super::data::Random;
use super::factors::{
    ACTIVATION, AFFINE, BACKWARD_ONLY, BIAS, CHANNEL, COUNTS, DIRECTION, DTYPE, FACTORS, FORWARD_ONLY,
    LAYOUT, NORMALIZATION, OTHERS, PLAIN_LAYOUTS, RICH, case,
};
use super::kinds::Data;
use crate::covering::{self, Levels, Strength};
use crate::error::Error;
use crate::plan::{Backward, Caps, Forward, RowSplit};
use crate::shader::variants;
use crate::types::{Affine, Problem};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Every two levels of two factors, whether or not they go together.
fn pairs() -> impl Iterator<Item = [(usize, usize); 2]> {
    let levels = || {
        COUNTS.iter().enumerate().flat_map(|(factor, count)| (0..*count).map(move |level| (factor, level)))
    };
    levels()
        .flat_map(move |first| levels().map(move |second| [first, second]))
        .filter(|[first, second]| first.0 < second.0)
}

/// Rows between which every two levels that go together do so in several ways.
static POOL: LazyLock<Vec<(Levels<FACTORS>, Case)>> = LazyLock::new(|| {
    /// For each pair: how many cases, of how many tries.
    const WANTED: usize = 8;
    const TRIES: usize = 1000;
    let mut random = Random::new(1);
    let mut known = HashSet::new();
    let mut pool = Vec::new();
    for given in pairs().filter(|given| may_meet(*given)) {
        let mut found = 0;
        for _ in 0..TRIES {
            let levels = random_levels(&mut random, given);
            let Some(case) = case(&levels) else { continue };
            if known.insert(levels) {
                pool.push((levels, case));
            }
            found += 1;
            if found == WANTED {
                break;
            }
        }
    }
    pool
});

/// Whether two levels may be in one case, as far as a glance tells: of most that are in none it says so, and
/// they need not be tried in vain.
fn may_meet([first, second]: [(usize, usize); 2]) -> bool {
    let of_forward = |(factor, level): (usize, usize)| match factor {
        _ if FORWARD_ONLY.contains(&factor) => Some(level > 0),
        _ if BACKWARD_ONLY.contains(&factor) || factor == DIRECTION => Some(level == 0),
        _ => None,
    };
    let directions = [first, second].map(of_forward);
    if let [Some(first), Some(second)] = directions
        && first != second
    {
        return false;
    }
    if first.0 > 0 || first.1 < RICH.len() {
        return true;
    }
    let is_plain = |is_forward: bool| {
        Affine::ALL.iter().any(|affine| plain_levels(is_forward, *affine).contains(&second))
    };
    match (second.0, directions[1]) {
        _ if second.1 == 0 => true,
        (DTYPE | NORMALIZATION | AFFINE | DIRECTION, _) => true,
        (LAYOUT, _) => second.1 < PLAIN_LAYOUTS.len(),
        (_, Some(is_forward)) => is_plain(is_forward),
        (_, None) => false,
    }
}

/// Levels with two that are given. Every other time, options are those that plain shapes have; else one half
/// of those that they do not have are the first.
fn random_levels(random: &mut Random, given: [(usize, usize); 2]) -> Levels<FACTORS> {
    let given_level =
        |factor: usize| given.iter().find(|(given, _)| *given == factor).map(|(_, level)| *level);
    let of_forward = |factor: usize| given_level(factor).map(|level| level > 0);
    let wants_forward = FORWARD_ONLY.filter_map(of_forward).next();
    let wants_backward = BACKWARD_ONLY.filter_map(of_forward).next();
    let direction = match (given_level(DIRECTION), wants_forward, wants_backward) {
        (Some(direction), ..) => direction,
        (_, Some(forward), _) => usize::from(!forward),
        (_, _, Some(backward)) => usize::from(backward),
        _ => random.below(2),
    };
    let mut levels = [0; FACTORS];
    for (factor, chosen) in levels.iter_mut().enumerate() {
        let is_option = (5..9).contains(&factor) || factor > DIRECTION;
        let (least, most) = match factor {
            _ if FORWARD_ONLY.contains(&factor) && direction != 0 => (0, 1),
            _ if BACKWARD_ONLY.contains(&factor) && direction == 0 => (0, 1),
            _ if OTHERS.contains(&factor) || [CHANNEL, ACTIVATION].contains(&factor) => (0, COUNTS[factor]),
            _ if factor > DIRECTION => (1, COUNTS[factor]),
            // Most shapes are plain, most options are for rich ones.
            0 if random.below(2) == 0 => (0, RICH.len()),
            _ => (0, COUNTS[factor]),
        };
        let level = match given_level(factor) {
            Some(level) => level,
            None if factor == DIRECTION => direction,
            None if is_option && random.below(2) == 0 => least,
            None => least + random.below(most - least),
        };
        *chosen = as_level(level);
    }
    // What bias holds matters to backward behind an activation alone, which rich shapes have.
    if given_level(BIAS).is_some_and(|level| level > 0) && direction != 0 {
        for (factor, level) in [(ACTIVATION, 1), (AFFINE, WITH_BIAS), (0, random.below(RICH.len()))] {
            levels[factor] = as_level(given_level(factor).unwrap_or(level));
        }
    }
    if random.below(2) == 0 {
        let affine = Affine::ALL[usize::from(levels[AFFINE])];
        for (factor, level) in plain_levels(direction == 0, affine) {
            if given_level(factor).is_none() {
                levels[factor] = as_level(level);
            }
        }
    }
    levels
}

#[allow(clippy::cast_possible_truncation, reason = "fewer levels than 256")]
const fn as_level(level: usize) -> u8 {
    level as u8
}

/// The place of [`Affine::GainBias`] among all.
const WITH_BIAS: usize = 2;

/// The factors that a direction alone has, as plain shapes have them.
fn plain_levels(is_forward: bool, affine: Affine) -> Vec<(usize, usize)> {
    let levels: Vec<usize> = match if is_forward { Task::forward() } else { Task::backward(affine) } {
        Task::Forward(forward) => Forward::CHOICES.iter().map(|choice| (choice.get)(&forward)).collect(),
        Task::Backward(backward) => Backward::CHOICES.iter().map(|choice| (choice.get)(&backward)).collect(),
    };
    let factors = if is_forward { FORWARD_ONLY } else { BACKWARD_ONLY };
    // The last are of data, whose first level is plain.
    factors.zip(levels.into_iter().chain(std::iter::repeat(0)).map(|level| 1 + level)).collect()
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let (levels, pool): (Vec<_>, Vec<Case>) = POOL.iter().copied().unzip();
    let chosen = covering::choose(&levels, Strength::Pairs, usize::MAX);
    chosen.into_iter().map(|place| pool[place]).chain(alike()).collect()
});

/// All cases: between them every two levels of two factors that go together.
#[must_use]
pub fn cases() -> Vec<Case> {
    CASES.clone()
}

/// The mode; and of the plan the kernel, storage of rows and of parameters, and reduction.
const PLAN_FACTORS: usize = 5;

/// The mode and the levels of the plan, whose error comes back where there is none, and then those of the
/// case. `None` where a mode that splits rows does not split these, and so runs what another one does.
fn levels_in(
    mode: usize,
    (caps, row_split): (Caps, RowSplit),
    levels: &Levels<FACTORS>,
    case: &Case,
) -> Result<Option<Levels<{ PLAN_FACTORS + FACTORS }>>, Error> {
    let plan = case.plan(&caps, row_split)?;
    if row_split == RowSplit::Wide && plan.partial_cols == 0 {
        return Ok(None);
    }
    let [kernel, access, parameters, reduction, ..] = variants::levels(&plan);
    let mut row = [0; PLAN_FACTORS + FACTORS];
    row[..PLAN_FACTORS].copy_from_slice(&[as_level(mode), kernel, access, parameters, reduction]);
    row[PLAN_FACTORS..].copy_from_slice(levels);
    Ok(Some(row))
}

/// Cases, each with the place of its mode among `modes`, which are what plans are made from. The mode is the
/// first factor and the kernel the second; its storage and its reduction are others.
///
/// With [`Strength::Levels`] every level of a case is met in every mode and by every kernel, in a third of
/// the time that [`Strength::Pairs`] takes.
#[must_use]
pub fn cases_in(modes: &[(Caps, RowSplit)], strength: Strength) -> Vec<(usize, Case)> {
    let mut levels = Vec::new();
    let mut pool = Vec::new();
    for (case_levels, case) in POOL.iter() {
        for (mode, from) in modes.iter().enumerate() {
            // Without a plan there is nothing to run. A test counts these: within WebGPU's limits, none.
            if let Ok(Some(row)) = levels_in(mode, *from, case_levels, case) {
                levels.push(row);
                pool.push((mode, *case));
            }
        }
    }
    let chosen = covering::choose(&levels, strength, usize::MAX);
    let everywhere = (0..modes.len()).flat_map(|mode| alike().into_iter().map(move |case| (mode, case)));
    chosen.into_iter().map(|place| pool[place]).chain(everywhere).collect()
}

/// Rounding that always goes the same way adds up over many rows: those of one row to a GPU's workgroup and
/// of several, and streamed on a software adapter.
fn alike() -> [Case; 3] {
    [(65_537, 3), (20_000, 64), (5000, 1100)].map(|(rows, cols)| {
        let problem = Problem { cols, ..Problem::default() };
        Case { data: Data::Alike, ..Case::new(problem, rows, Task::backward(problem.affine)) }
    })
}

mod smaller;
#[cfg(test)]
mod tests;

pub use smaller::smallest;
