//! The cases: a covering array of the [factors](super::factors), made by code.

use super::cases::{Case, Task};
use super::data::Random;
use super::factors::{
    ACTIVATION, AFFINE, BACKWARD_ONLY, CHANNEL, COUNTS, DIRECTION, FACTORS, FORWARD_ONLY, OTHERS, RICH, case,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Choice;
    use crate::plan::{AdapterKind, SubgroupSizes};
    use crate::types::{Dtype, Normalization};
    use crate::verify::factors::{DATA, DTYPES, PLAIN};
    use std::collections::{BTreeMap, BTreeSet};

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
        let chosen = covering::choose(&levels, Strength::Pairs, usize::MAX);
        for given in pairs() {
            let has = |place: &usize| {
                given.iter().all(|(factor, level)| usize::from(levels[*place][*factor]) == *level)
            };
            assert!(chosen.iter().any(has) || is_excluded(given), "factors and levels {given:?}");
        }
        // No more than a software adapter runs in some minutes.
        assert!(chosen.len() < 530, "{} cases", chosen.len());
    }

    /// Every width in every storage and in both directions, every option with every storage, every kind of
    /// data with every storage and norm: what the lists of cases before the array had.
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
        for (dtype, parameter_dtype) in DTYPES {
            let has = |what: String, is: &dyn Fn(&Case) -> bool| {
                has(&format!("{what} in {dtype} with parameters in {parameter_dtype}"), &|case| {
                    (case.problem.dtype, case.problem.parameter_dtype) == (dtype, parameter_dtype) && is(case)
                });
            };
            // What no float16 holds is no data of its rows.
            let beyond_f16 = [Data::FullRange, Data::Brink, Data::SquareWave, Data::Cliff];
            for data in DATA {
                if dtype != Dtype::F16 || !beyond_f16.contains(&data) {
                    has(format!("{data:?}"), &|case| case.data == data);
                }
            }
            for (choice, level) in levels_of(&Forward::CHOICES) {
                has(
                    format!("forward's {:?}", choice.labels[level]),
                    &|case| matches!(case.task, Task::Forward(forward) if (choice.get)(&forward) == level),
                );
            }
            for (choice, level) in levels_of(&Backward::CHOICES) {
                has(
                    format!("backward's {:?}", choice.labels[level]),
                    &|case| matches!(case.task, Task::Backward(backward) if (choice.get)(&backward) == level),
                );
            }
        }
    }

    fn levels_of<O>(choices: &[Choice<O>]) -> impl Iterator<Item = (&Choice<O>, usize)> {
        choices.iter().flat_map(|choice| (0..choice.labels.len()).map(move |level| (choice, level)))
    }

    const H200: Caps = Caps {
        subgroup: Some(SubgroupSizes { min: 32, max: 32 }),
        full_subgroups: true,
        shader_f16: true,
        max_invocations: 1024,
        max_workgroup_bytes: 49_152,
        max_storage_buffers: 1 << 20,
        ..Caps::webgpu_default()
    };
    const LAVAPIPE: Caps = Caps {
        kind: AdapterKind::Software,
        subgroup: Some(SubgroupSizes { min: 8, max: 8 }),
        shader_int64: true,
        short_texts: true,
        max_workgroup_bytes: 32_768,
        max_storage_buffers: 32,
        storage_alignment: 32,
        max_loop_trips: Caps::LAVAPIPE_22_LOOP_TRIPS,
        ..H200
    };
    const GL: Caps = Caps { max_storage_buffers: 16, ..plain(LAVAPIPE) };
    const SWIFTSHADER: Caps = Caps {
        subgroup: Some(SubgroupSizes { min: 4, max: 4 }),
        shader_f16: false,
        shader_int64: false,
        short_texts: false,
        max_invocations: 256,
        max_workgroup_bytes: 16_384,
        max_storage_buffers: 10,
        ..LAVAPIPE
    };

    /// Without what `Context::open_plain` leaves out.
    const fn plain(caps: Caps) -> Caps {
        Caps { subgroup: None, shader_f16: false, shader_int64: false, ..caps }
    }

    /// As tests/conformance.rs has them.
    fn modes_of(caps: Caps) -> Vec<(Caps, RowSplit)> {
        let mut modes = vec![(caps, RowSplit::Never), (caps, RowSplit::Wide)];
        if plain(caps) != caps {
            modes.push((plain(caps), RowSplit::Never));
        }
        let gpu = Caps { kind: AdapterKind::Gpu, ..caps };
        if caps.kind == AdapterKind::Software {
            modes.extend([(gpu, RowSplit::Never), (gpu, RowSplit::Wide)]);
        }
        if let Some(sizes) = caps.subgroup {
            let twice = 2 * sizes.max;
            for (min, max) in [(4, 64), (twice, twice)] {
                let subgroup = Some(SubgroupSizes { min, max });
                modes.push((Caps { subgroup, full_subgroups: false, ..gpu }, RowSplit::Never));
            }
        }
        modes
    }

    const IN_ALL: usize = PLAN_FACTORS + FACTORS;

    /// More than any factor has.
    const LEVELS: usize = 64;

    /// Which two levels of two factors some rows have, by `[first][second][level][level]`; of the first two
    /// factors and another, where only those are wanted.
    fn pairs_in<'a>(rows: impl IntoIterator<Item = &'a Levels<IN_ALL>>, strength: Strength) -> Vec<bool> {
        // No hash set: the rows have 200 million pairs.
        let mut pairs = vec![false; IN_ALL * IN_ALL * LEVELS * LEVELS];
        let firsts = if strength == Strength::Levels { 2 } else { IN_ALL };
        for levels in rows {
            let levels = levels.map(usize::from);
            for (first, level) in levels.iter().enumerate().take(firsts) {
                for (second, other) in levels.iter().enumerate().skip(first + 1) {
                    pairs[((first * IN_ALL + second) * LEVELS + level) * LEVELS + other] = true;
                }
            }
        }
        pairs
    }

    /// What conformance, and the browser's page, run has each pair of levels for which there is a plan. Within
    /// WebGPU's limits all have one but rows that are split, with an activation and dsum, and codes beside
    /// all else; on a device with fewer storage buffers only calls with more tensors have none.
    #[test]
    fn every_pair_of_levels_that_have_a_plan_is_in_what_conformance_runs() {
        let names: Vec<String> = POOL.iter().map(|(_, case)| case.name()).collect();
        let default = Caps::webgpu_default();
        let few = Caps { max_storage_buffers: 5, ..default };
        for (adapter, modes, strength) in [
            ("lavapipe and GL", [modes_of(LAVAPIPE), modes_of(GL)].concat(), Strength::Pairs),
            ("SwiftShader", modes_of(SWIFTSHADER), Strength::Levels),
            ("H200", modes_of(H200), Strength::Pairs),
            ("WebGPU's limits", modes_of(default), Strength::Pairs),
            ("a browser", vec![(default, RowSplit::Never)], Strength::Levels),
            ("few", modes_of(few), Strength::Pairs),
        ] {
            let (mut possible, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new());
            for ((levels, case), name) in POOL.iter().zip(&names) {
                for (mode, from) in modes.iter().enumerate() {
                    match levels_in(mode, *from, levels, case) {
                        Ok(Some(levels)) => possible.push((levels, (mode, name.clone()))),
                        Ok(None) => assert_eq!(from.1, RowSplit::Wide, "{adapter}: {name}"),
                        Err(error) => {
                            let has_dsum = matches!(case.task, Task::Backward(Backward { dsum: true, .. }));
                            let has_codes =
                                matches!(case.task, Task::Forward(Forward { codes: Some(_), .. }));
                            let is_known = has_codes || (case.problem.activation.is_some() && has_dsum);
                            assert!(adapter == "few" || is_known, "{adapter}: {name}: {error}");
                            *refused.entry(error.to_string()).or_default() += 1;
                        }
                    }
                }
            }
            let chosen: HashSet<_> =
                cases_in(&modes, strength).iter().map(|(mode, case)| (*mode, case.name())).collect();
            println!("{adapter}: {} cases", chosen.len());
            let covered = possible.iter().filter(|(_, name)| chosen.contains(name)).map(|(levels, _)| levels);
            let covered = pairs_in(covered, strength);
            let all = pairs_in(possible.iter().map(|(levels, _)| levels), strength);
            let missing = all.iter().zip(&covered).position(|(is_possible, has)| *is_possible && !has);
            assert_eq!(missing, None, "{adapter}: see pairs_in");
            let has_few = !["lavapipe and GL", "SwiftShader", "H200"].contains(&adapter);
            assert_eq!(refused.is_empty(), !has_few, "{adapter}: {refused:?}");
            let is_known = |error: &String| error.contains("storage buffers per shader stage");
            assert!(refused.keys().all(is_known), "{adapter}: {refused:?}");
        }
    }
}
