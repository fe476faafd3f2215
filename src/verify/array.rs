//! The cases: a covering array of what a case is made of, made by code from the lists of levels below.
//!
//! Shapes where kernels change are *narrow* or *wide* in plain use; on the *rich* ones every option, layout and kind of data is
//! tried, two at a time: with every width, the array would be three times as long and no fault more likely to show.

use super::cases::{Case, Data, Layout, Residual, Task, Values};
use super::data::Random;
use crate::covering::{self, Levels, Strength};
use crate::op::{Choice, Stored};
use crate::plan::{Backward, Caps, Forward, RowSplit};
use crate::shader::variants;
use crate::types::{Affine, Dtype, Normalization, Problem};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

/// Rows and columns on which everything is tried: one column; pairs that a word holds; odd ones; rows that a thread, a part of a
/// subgroup, a subgroup and several hold; streamed ones, even and odd, and of several chunks.
const RICH: [(usize, u32); 12] = [
    (37, 1),
    (37, 7),
    (37, 16),
    (13, 37),
    (37, 64),
    (13, 200),
    (37, 384),
    (9, 1000),
    (5, 2050),
    (5, 8192),
    (5, 12_345),
    (5, 20_000),
];

/// The others: just below, at and above the steps of the ladders for GPUs and software adapters; widths of real models; a
/// million. No row and one row; more rows than one dimension of a grid has workgroups, and so many that a GPU's workgroups, each a
/// row of several subgroups, walk more than one. 5 and 37 rows leave the last workgroup short at every number of rows a
/// workgroup.
const PLAIN: [(usize, u32); 34] = [
    (37, 2),
    (37, 3),
    (5, 4),
    (37, 17),
    (5, 31),
    (37, 32),
    (37, 63),
    (37, 65),
    (37, 127),
    (37, 128),
    (37, 129),
    (37, 255),
    (5, 256),
    (5, 257),
    (5, 512),
    (5, 513),
    (37, 760),
    (5, 1024),
    (5, 1025),
    (5, 1151),
    (5, 2048),
    (5, 4096),
    (5, 4097),
    (5, 8193),
    (5, 16_384),
    (3, 40_004),
    (2, 131_072),
    (1, 1_048_576),
    (0, 64),
    (1, 64),
    (65_535, 8),
    (65_537, 3),
    (300_000, 2),
    (600, 4096),
];

/// Dtypes of rows and of parameters.
const DTYPES: [(Dtype, Dtype); 5] = [
    (Dtype::F32, Dtype::F32),
    (Dtype::F16, Dtype::F16),
    (Dtype::F16, Dtype::F32),
    (Dtype::Bf16, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F32),
];

const LAYOUTS: [Layout; 3] = [Layout::Dense, Layout::Slice, Layout::Odd];

/// The first is a level of every shape, the others of the rich ones.
const DATA: [Data; 14] = [
    Data::Normal,
    Data::LargeMean,
    Data::Consecutive,
    Data::Spread,
    Data::NearF16Max,
    Data::Constant,
    Data::Huge,
    Data::Subnormal,
    Data::Outlier,
    Data::NotFinite,
    Data::FullRange,
    Data::Brink,
    Data::SquareWave,
    Data::Cliff,
];

/// The default; next to nothing; what the variance is; what squares that underflow may matter beside; nothing.
const EPS: [f32; 5] = [1e-5, 1e-12, 1.0, 1e-28, 0.0];

const VALUES: [Values; 5] = [Values::Normal, Values::Zero, Values::Large, Values::OneHuge, Values::Positive];

const RESIDUALS: [Residual; 3] = [Residual::Normal, Residual::Like, Residual::Opposite];

/// Levels of each factor, in the order of [`case`]: what every case has, then what only cases of one direction have. Those begin
/// with a level for the other direction.
static COUNTS: LazyLock<[usize; FACTORS]> = LazyLock::new(|| {
    let of_all = [
        RICH.len() + PLAIN.len(),
        DTYPES.len(),
        Normalization::ALL.len(),
        Affine::ALL.len(),
        LAYOUTS.len(),
        DATA.len(),
        EPS.len(),
        VALUES.len(),
        VALUES.len(),
        2,
    ];
    let forward = Forward::CHOICES.iter().map(|choice| choice.labels.len()).chain([RESIDUALS.len()]);
    let backward = Backward::CHOICES.iter().map(|choice| choice.labels.len()).chain([VALUES.len()]);
    let mut counts = [0; FACTORS];
    let others = Stored::OTHERS.iter().map(|_| 1 + Dtype::ALL.len());
    let all = of_all.into_iter().chain(forward.chain(backward).map(|levels| 1 + levels)).chain(others);
    counts.iter_mut().zip(all).for_each(|(count, levels)| *count = levels);
    counts
});

const AFFINE: usize = 3;
const DIRECTION: usize = 9;
/// Options, and what the residual holds.
const FORWARD_ONLY: Range<usize> = DIRECTION + 1..DIRECTION + 2 + Forward::CHOICES.len();
/// Options, and what dy holds.
const BACKWARD_ONLY: Range<usize> = FORWARD_ONLY.end..FORWARD_ONLY.end + 1 + Backward::CHOICES.len();
/// Types of rows that are not x's: the first level is x's.
const OTHERS: Range<usize> = BACKWARD_ONLY.end..BACKWARD_ONLY.end + Stored::OTHERS.len();
const FACTORS: usize = OTHERS.end;

/// The case that the levels stand for, if there is one.
fn case(levels: &Levels<FACTORS>) -> Option<Case> {
    let level = levels.map(usize::from);
    let [shape, dtypes, normalization, affine, layout, data, eps, gain, bias, direction, ..] = level;
    let is_forward = direction == 0;
    let is_rich = shape < RICH.len();
    let (rows, cols) = if is_rich { RICH[shape] } else { PLAIN[shape - RICH.len()] };
    let (dtype, parameter_dtype) = DTYPES[dtypes];
    let (affine, data) = (Affine::ALL[affine], DATA[data]);
    let normalization = Normalization::ALL[normalization];
    let problem = Problem { cols, normalization, affine, eps: EPS[eps], ..Problem::default() };
    let mut problem = Problem { parameter_dtype, ..Stored::all(&problem, dtype) };
    for (stored, level) in Stored::OTHERS.iter().zip(&level[OTHERS]) {
        let Some(other) = level.checked_sub(1).map(|level| Dtype::ALL[level]) else { continue };
        stored.set(&mut problem, other);
        if other == dtype || problem.validate().is_err() {
            return None;
        }
    }
    let (own, others) =
        if is_forward { (FORWARD_ONLY, BACKWARD_ONLY) } else { (BACKWARD_ONLY, FORWARD_ONLY) };
    if level[own.clone()].contains(&0) || level[others].iter().any(|level| *level > 0) {
        return None;
    }
    let own = level[own].iter().map(|level| level - 1);
    let mut case = Case {
        layout: LAYOUTS[layout],
        data,
        gain: VALUES[gain],
        bias: VALUES[bias],
        ..Case::new(problem, rows, Task::forward())
    };
    if is_forward {
        let (forward, data) = options(&Forward::CHOICES, own);
        case.residual = RESIDUALS[data?];
        case.task = Task::Forward(forward);
        if !forward.go_together() || (!forward.residual && case.residual != Residual::Normal) {
            return None;
        }
    } else {
        let (backward, data) = options(&Backward::CHOICES, own);
        case.dy = VALUES[data?];
        case.task = Task::Backward(backward);
        // A call says once what becomes of the gradients of parameters.
        let differ = backward.dgain.zip(backward.dbias).is_some_and(|(dgain, dbias)| dgain != dbias);
        if !backward.go_together() || differ {
            return None;
        }
    }
    if !case.task.operation().fits(&problem) {
        return None;
    }
    if case.gain != Values::Normal && !affine.has_gain() {
        return None;
    }
    if case.bias != Values::Normal && !(affine.has_bias() && is_forward) {
        return None;
    }
    // On the plain shapes: storage, norm, affine, layout and direction.
    let plain = [Task::forward(), Task::backward(affine)]
        .map(|task| Case { layout: case.layout, ..Case::new(problem, rows, task) });
    let is_one = Stored::is_one(&problem);
    (if is_rich { is_defined(&case) } else { eps == 0 && is_one && plain.contains(&case) }).then_some(case)
}

/// Options from the levels of an operation's own factors, and what is left of those: the level of its data.
fn options<O: Default>(choices: &[Choice<O>], mut levels: impl Iterator<Item = usize>) -> (O, Option<usize>) {
    let mut options = O::default();
    for (choice, level) in choices.iter().zip(levels.by_ref()) {
        (choice.set)(&mut options, level);
    }
    (options, levels.next())
}

/// Whether the results are within the range of numbers, and the data within that of the storage.
fn is_defined(case: &Case) -> bool {
    let Case { problem, data, gain, dy, .. } = case;
    let is_forward = matches!(case.task, Task::Forward(_));
    let beyond_f16 = matches!(data, Data::FullRange | Data::Brink | Data::SquareWave | Data::Cliff);
    // The rstd of a row of the full range is a subnormal number, which backward may have to read as 0.
    if beyond_f16 && (problem.dtype == Dtype::F16 || !is_forward) {
        return false;
    }
    // A huge number times the rstd of a row without variance: 1e30 / sqrt(eps).
    let is_huge = *gain == Values::OneHuge || *dy == Values::OneHuge;
    let is_constant = problem.cols == 1 || matches!(data, Data::Constant | Data::Subnormal);
    if is_huge && !is_forward && is_constant && problem.eps < 1e-5 {
        return false;
    }
    !(*gain == Values::OneHuge && *dy == Values::OneHuge)
}

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
    const TRIES: usize = 400;
    let mut random = Random::new(1);
    let mut known = HashSet::new();
    let mut pool = Vec::new();
    for given in pairs() {
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

/// Levels with two that are given. Every other time, options are those that plain shapes have; else one half of those that they do
/// not have are the first.
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
            _ if OTHERS.contains(&factor) => (0, COUNTS[factor]),
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

/// The factors that a direction alone has, as plain shapes have them.
fn plain_levels(is_forward: bool, affine: Affine) -> Vec<(usize, usize)> {
    let levels: Vec<usize> = match if is_forward { Task::forward() } else { Task::backward(affine) } {
        Task::Forward(forward) => Forward::CHOICES.iter().map(|choice| (choice.get)(&forward)).collect(),
        Task::Backward(backward) => Backward::CHOICES.iter().map(|choice| (choice.get)(&backward)).collect(),
    };
    let factors = if is_forward { FORWARD_ONLY } else { BACKWARD_ONLY };
    // The last is of data, whose first level is plain.
    factors.zip(levels.into_iter().chain([0]).map(|level| 1 + level)).collect()
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let (levels, pool): (Vec<_>, Vec<Case>) = POOL.iter().copied().unzip();
    let chosen = covering::choose(&levels, Strength::Pairs);
    chosen.into_iter().map(|place| pool[place]).chain(alike()).collect()
});

/// All cases: between them every two levels of two factors that go together.
#[must_use]
pub fn cases() -> Vec<Case> {
    CASES.clone()
}

/// A case and the place of its mode among `modes`, each what plans are made from: between them every two levels of two
/// factors, of which the mode is one and the kernel, its storage and its reduction are others.
#[must_use]
pub fn cases_in(modes: &[(Caps, RowSplit)]) -> Vec<(usize, Case)> {
    const PLAN_FACTORS: usize = 4;
    let mut levels = Vec::new();
    let mut pool = Vec::new();
    for (case_levels, case) in POOL.iter() {
        for (mode, (caps, row_split)) in modes.iter().enumerate() {
            let Ok(plan) = case.plan(caps, *row_split) else { continue };
            let [kernel, access, parameters, reduction, ..] = variants::levels(&plan);
            let mut row = [0; FACTORS + 1 + PLAN_FACTORS];
            row[..FACTORS].copy_from_slice(case_levels);
            #[allow(clippy::cast_possible_truncation, reason = "a handful of modes")]
            row[FACTORS..].copy_from_slice(&[mode as u8, kernel, access, parameters, reduction]);
            levels.push(row);
            pool.push((mode, *case));
        }
    }
    let chosen = covering::choose(&levels, Strength::Pairs);
    let everywhere = (0..modes.len()).flat_map(|mode| alike().into_iter().map(move |case| (mode, case)));
    chosen.into_iter().map(|place| pool[place]).chain(everywhere).collect()
}

/// Rounding that always goes the same way adds up over many rows: those of one row to a GPU's workgroup and of several, and
/// streamed on a software adapter.
fn alike() -> [Case; 3] {
    [(65_537, 3), (20_000, 64), (5000, 1100)].map(|(rows, cols)| {
        let problem = Problem { cols, ..Problem::default() };
        Case { data: Data::Alike, ..Case::new(problem, rows, Task::backward(problem.affine)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = cases().iter().map(Case::name).collect();
        assert_eq!(names.len(), cases().len(), "two cases share a name");
    }

    /// Why two levels do not go together, if they do not: the only pairs that may be missing.
    fn is_excluded(given: [(usize, usize); 2]) -> bool {
        // With any completion whatever: a pair that no completion of many fits is one that `case` refuses.
        let mut random = Random::new(2);
        (0..2000).all(|_| case(&random_levels(&mut random, given)).is_none())
    }

    #[test]
    fn every_pair_of_levels_that_go_together_is_in_the_array() {
        let levels: Vec<_> = POOL.iter().map(|(levels, _)| *levels).collect();
        let chosen = covering::choose(&levels, Strength::Pairs);
        for given in pairs() {
            let has = |place: &usize| {
                given.iter().all(|(factor, level)| usize::from(levels[*place][*factor]) == *level)
            };
            assert!(chosen.iter().any(has) || is_excluded(given), "factors and levels {given:?}");
        }
        // No more than a software adapter runs in some minutes.
        assert!(chosen.len() < 450, "{} cases", chosen.len());
    }

    /// Every width in every storage and in both directions, every option with every storage, every kind of data with every
    /// storage and norm: what the lists of cases before the array had.
    #[test]
    fn what_was_covered_before_the_array_is() {
        let cases = cases();
        let has = |what: &str, is: &dyn Fn(&Case) -> bool| assert!(cases.iter().any(is), "{what}");
        for (_, cols) in RICH.iter().chain(&PLAIN) {
            for dtypes in DTYPES {
                has(&format!("{cols} columns in {dtypes:?}"), &|case| {
                    case.problem.cols == *cols && (case.problem.dtype, case.problem.parameter_dtype) == dtypes
                });
            }
            for is_forward in [true, false] {
                has(&format!("{cols} columns, forward: {is_forward}"), &|case| {
                    case.problem.cols == *cols && matches!(case.task, Task::Forward(_)) == is_forward
                });
            }
        }
        for data in DATA {
            for normalization in Normalization::ALL {
                has(&format!("{data:?} {normalization:?}"), &|case| {
                    case.data == data && case.problem.normalization == normalization
                });
            }
        }
    }
}
