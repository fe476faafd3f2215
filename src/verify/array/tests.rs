//! What the arrays cover.

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
    assert!(chosen.len() < 610, "{} cases", chosen.len());
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
/// WebGPU's limits all have one but rows that are split, with an activation and dsum, or from y with dsum or
/// counted gains, or gated with dgain, and codes beside all else; on a device with fewer storage buffers only
/// calls with more tensors have none.
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
                        let has_codes = matches!(case.task, Task::Forward(Forward { codes: Some(_), .. }));
                        let has_more = match case.task {
                            Task::Backward(backward) => {
                                let counts = backward.dsum || backward.clamped;
                                (backward.from_y && counts) || backward.gate_input.is_some()
                            }
                            Task::Forward(_) => false,
                        };
                        let is_gated = case.task.operation().is_gated();
                        let is_known = has_codes
                            || has_more
                            || is_gated
                            || (case.problem.activation.is_some() && has_dsum);
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
        match adapter {
            "few" | "WebGPU's limits" => assert!(!refused.is_empty(), "{adapter}"),
            "a browser" => {}
            _ => assert!(refused.is_empty(), "{adapter}: {refused:?}"),
        }
        let is_known = |error: &String| error.contains("storage buffers per shader stage");
        assert!(refused.keys().all(is_known), "{adapter}: {refused:?}");
    }
}
