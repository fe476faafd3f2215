//! The set of texts that is compiled for every back end before one reaches a user's.
//!
//! The product of adapters, widths, types and options has tens of thousands of plans. The set is a covering
//! array of them: few plans between which every three factors (kernel, storage, reduction, options ...) meet
//! in every way in which any plan of the product has them, or every two for compilers that take long. What
//! decides registers is looked at elsewhere, at the shapes of real networks (`tests/vendors/amd.csv`).

use crate::covering::{self, Levels};
use crate::error::Error;
use crate::op::{Choice, Stored};
use crate::plan::{
    AdapterKind, Backward, Caps, Forward, Operation, Plan, Pooled, Reduction, Storage, Strides,
    SubgroupSizes, Tensor,
};
use crate::types::{Affine, Normalization, Problem};
use std::collections::HashSet;
use std::sync::OnceLock;

mod problems;

pub use crate::covering::Strength;
use problems::{activated_problems, channel_problems, gate_problems, mixed_problems, problems};

/// Rows of the product, which has a million, that are tried for a combination that is missing.
const MOST_TRIED: usize = 48;

/// A text's plan, and the adapter that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The plan.
    pub plan: Plan,
    /// What the plan was made from: its dispatches follow these limits.
    pub caps: Caps,
}

/// Adapters that between them reach every reduction and every storage.
fn adapters() -> [Caps; 12] {
    let gpu = Caps { unrolls_loops: true, ..Caps::webgpu_default() };
    let subgroups = |min, max| Some(SubgroupSizes { min, max });
    let wide = Caps {
        subgroup: subgroups(32, 32),
        full_subgroups: true,
        shader_f16: true,
        max_storage_buffers: 16,
        ..gpu
    };
    [
        Caps { max_storage_buffers: 16, ..gpu },
        Caps { max_storage_buffers: 16, unrolls_loops: false, ..gpu },
        wide,
        Caps { unrolls_loops: false, ..wide },
        // Few invocations: the most of a row in a thread.
        Caps { max_invocations: 128, ..wide },
        Caps { subgroup: subgroups(8, 32), max_invocations: 1024, max_workgroup_bytes: 32_768, ..wide },
        Caps { subgroup: subgroups(64, 128), ..wide },
        Caps { subgroup: subgroups(4, 64), full_subgroups: false, ..wide },
        Caps { subgroup: subgroups(4, 64), full_subgroups: false, unrolls_loops: false, ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(8, 8), short_texts: true, ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(4, 4), shader_f16: false, ..wide },
        Caps { kind: AdapterKind::Software, subgroup: None, shader_f16: false, short_texts: true, ..wide },
    ]
}

/// Elements at once, as rows' places in their buffers may allow them.
const VECTOR_WIDTHS: [u32; 4] = [1, 2, 4, 8];

/// Plans between which every three factors meet in every way that the product has.
///
/// # Errors
/// Those of [`Plan`]: a fault of this crate, as every one of these problems fits its adapter.
pub fn all() -> Result<Vec<Variant>, Error> {
    // Whoever asks meanwhile waits, where two would make it twice.
    static ALL: OnceLock<Result<Vec<Variant>, Error>> = OnceLock::new();
    ALL.get_or_init(|| covering(Strength::Triples, |_| true)).clone()
}

/// Of the plans of the product that `wanted` takes, few between which its factors meet in every way.
///
/// # Errors
/// As [`all`].
pub fn covering(strength: Strength, mut wanted: impl FnMut(&Variant) -> bool) -> Result<Vec<Variant>, Error> {
    let pool: Vec<_> = with_levels()?.iter().filter(|(variant, _)| wanted(variant)).collect();
    let levels: Vec<_> = pool.iter().map(|(_, levels)| *levels).collect();
    Ok(covering::choose(&levels, strength, MOST_TRIED).into_iter().map(|place| pool[place].0).collect())
}

/// The product: a plan for each way in which the factors meet, more than anybody compiles, with its levels.
/// Made once: it takes seconds.
fn with_levels() -> Result<&'static [(Variant, Levels<FACTORS>)], Error> {
    static PRODUCT: OnceLock<Result<Vec<(Variant, Levels<FACTORS>)>, Error>> = OnceLock::new();
    PRODUCT.get_or_init(make_product).as_deref().map_err(Error::clone)
}

fn make_product() -> Result<Vec<(Variant, Levels<FACTORS>)>, Error> {
    let mut product = Product::default();
    let (all_forwards, all_backwards) = (Forward::all(), Backward::all());
    let with_options = |problem: Problem| {
        let forwards = few(&fitting(&all_forwards, Operation::Forward, &problem), &Forward::CHOICES);
        let backwards = few(&fitting(&all_backwards, Operation::Backward, &problem), &Backward::CHOICES);
        (problem, forwards, backwards)
    };
    let with_options: Vec<_> = problems().map(with_options).collect();
    for caps in adapters() {
        for (problem, forwards, backwards) in &with_options {
            for vector_width in VECTOR_WIDTHS {
                product.add(problem, vector_width, &caps, forwards, backwards)?;
            }
        }
    }
    // Rows of which some have another type, and of channels whose values are a vec4's or each column's own:
    // each on an adapter of its own turn.
    let in_turn = || adapters().into_iter().cycle();
    let mixed = mixed_problems().into_iter().zip(in_turn());
    let of_channels = channel_problems().zip(in_turn());
    for (problem, caps) in mixed.chain(of_channels).chain(activated_problems().zip(in_turn())) {
        let forwards = few(&fitting(&all_forwards, Operation::Forward, &problem), &Forward::CHOICES);
        let backwards = few(&fitting(&all_backwards, Operation::Backward, &problem), &Backward::CHOICES);
        for vector_width in VECTOR_WIDTHS {
            product.add(&problem, vector_width, &caps, &forwards, &backwards)?;
        }
    }
    for (problem, caps) in gate_problems().zip(in_turn()) {
        let (mut forwards, mut backwards) = (all_forwards.clone(), all_backwards.clone());
        forwards.retain(|forward| Operation::Forward(*forward).is_gated());
        backwards.retain(|backward| Operation::Backward(*backward).is_gated());
        let forwards = few(&fitting(&forwards, Operation::Forward, &problem), &Forward::CHOICES);
        let backwards = few(&fitting(&backwards, Operation::Backward, &problem), &Backward::CHOICES);
        for vector_width in VECTOR_WIDTHS {
            product.add(&problem, vector_width, &caps, &forwards, &backwards)?;
        }
    }
    // The options in every combination; each is one segment or another, whatever the rest of the text is.
    let [_, _, with_all_features, ..] = adapters();
    for problem in problems().filter(|problem| {
        let full = problem.normalization == Normalization::Layer && problem.affine == Affine::GainBias;
        full && [384, 40_000].contains(&problem.cols)
    }) {
        let forwards = fitting(&all_forwards, Operation::Forward, &problem);
        let backwards = fitting(&all_backwards, Operation::Backward, &problem);
        for vector_width in [1, 8] {
            product.add(&problem, vector_width, &with_all_features, &forwards, &backwards)?;
        }
    }
    Ok(product.variants)
}

/// What a text depends on, and the width of its row beside it: the factors of the array, a level each.
pub(crate) fn levels(plan: &Plan) -> Levels<FACTORS> {
    let log2 = |value: u32| u8::try_from(value.max(1).ilog2()).unwrap_or(u8::MAX);
    let mut options = [0; OPTIONS];
    match plan.operation {
        Operation::Forward(forward) => {
            options[..FORWARD_CHOICES].copy_from_slice(&choice_levels(&Forward::CHOICES, &forward));
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            options[FORWARD_CHOICES..].copy_from_slice(&choice_levels(&Backward::CHOICES, &backward));
        }
    }
    let reduction = match plan.reduction {
        Reduction::Thread => 0,
        Reduction::Lanes => 1,
        Reduction::Subgroup => 2,
        // Few subgroups are added up one after the other, many by a second subgroup operation.
        Reduction::Subgroups(min) => 3 + u8::from(plan.workgroup_size().div_ceil(min) > super::FEW_SUBGROUPS),
        Reduction::Workgroup => 5,
        Reduction::Adaptive => 6,
    };
    // Every column of a row's last step is there, or the last of its vec4s is, or neither.
    let tail = match plan.cols {
        cols if cols.is_multiple_of(plan.step_cols()) => 0,
        cols if cols.is_multiple_of(4) => 1,
        _ => 2,
    };
    let own = [
        plan.kernel as u8,
        4 * plan.storage(Tensor::X) as u8 + log2(plan.vector_width),
        plan.storages[Stored::AsParameters] as u8,
        reduction,
        plan.normalization as u8,
        plan.affine as u8,
        u8::from(plan.unroll),
        u8::from(plan.hold_parameters),
        u8::from(plan.branch),
        u8::from(plan.combine_slots),
        log2(plan.threads_per_row),
        u8::from(plan.rows_per_workgroup > 1),
        log2(plan.steps).min(MOST_STEPS_LEVEL),
        log2(plan.block_rows),
        tail,
        plan.pooled as u8,
        u8::from(plan.short),
        plan.strides as u8,
        // Columns of each channel's own, a channel an access, a channel a step, and a channel a column, with
        // a gain of each or one that they share.
        plan.channels.map_or(0, |channels| {
            let [of_access, of_step] =
                [4, plan.step_cols()].map(|cols| channels.spatial.is_multiple_of(cols));
            match channels.is_by_column() {
                true => 4 + u8::from(channels.shares_affine && plan.affine.has_gain()),
                false => 1 + u8::from(of_access) + u8::from(of_step),
            }
        }),
        plan.activation as u8,
    ];
    let mut levels = [0; FACTORS];
    levels[..PLAN_FACTORS].copy_from_slice(&own);
    levels[PLAN_FACTORS..][..OPTIONS].copy_from_slice(&options);
    // Which type of rows is not x's, and whether it is the wider one.
    for (number, stored) in (0_u8..).zip(Stored::OTHERS) {
        let other = plan.storages[*stored];
        if other != plan.storages[Stored::AsRows] {
            levels[FACTORS - 1] = 1 + 2 * number + u8::from(other == Storage::F32);
        }
    }
    levels
}

const PLAN_FACTORS: usize = 20;
const FORWARD_CHOICES: usize = Forward::CHOICES.len();
const BACKWARD_CHOICES: usize = Backward::CHOICES.len();

const OPTIONS: usize = FORWARD_CHOICES + BACKWARD_CHOICES;

pub(crate) const FACTORS: usize = PLAN_FACTORS + OPTIONS + 1;

/// Rows of 2^5 steps and more are loops over as many.
const MOST_STEPS_LEVEL: u8 = 5;

#[derive(Default)]
struct Product {
    /// The levels of plans that are neither pooled nor strided.
    known: HashSet<Levels<FACTORS>>,
    variants: Vec<(Variant, Levels<FACTORS>)>,
}

impl Product {
    fn add(
        &mut self,
        problem: &Problem,
        vector_width: u32,
        caps: &Caps,
        forwards: &[Forward],
        backwards: &[Backward],
    ) -> Result<(), Error> {
        for forward in forwards {
            self.keep(Plan::forward(problem, *forward, vector_width, caps)?, caps);
            if forward.codes.is_none() {
                for plan in Plan::forward_split(problem, *forward, vector_width, caps)? {
                    self.keep(plan, caps);
                }
            }
            self.keep_across(Plan::forward_across(problem, *forward, caps), caps)?;
        }
        for backward in backwards {
            // Of channels, sums alone are no matter of these.
            let has_rows = backward.makes_dx() || backward.drow_gain.is_some();
            if has_rows || !problem.has_channel_sums() {
                self.keep(Plan::backward(problem, *backward, vector_width, caps)?, caps);
                if backward.splits_rows() {
                    for plan in Plan::backward_split(problem, *backward, vector_width, caps)? {
                        self.keep(plan, caps);
                    }
                }
                self.keep_across(Plan::backward_across(problem, *backward, caps), caps)?;
            }
            if backward.has_parameters() {
                if problem.has_channel_sums() {
                    self.keep(Plan::channel_sums(problem, *backward, vector_width, caps)?, caps);
                }
                self.keep(Plan::reduce_parameters(problem, *backward, vector_width, caps)?, caps);
                if let Some(plan) = Plan::reduce_shared(problem, *backward, vector_width, caps)? {
                    self.keep(plan, caps);
                }
            }
        }
        Ok(())
    }

    /// Where there is no kernel across, the others are all that there is.
    fn keep_across(&mut self, plan: Result<Plan, Error>, caps: &Caps) -> Result<(), Error> {
        match plan {
            Err(error) if error.is_unsupported() => Ok(()),
            plan => {
                self.keep(plan?, caps);
                Ok(())
            }
        }
    }

    /// Which pooled and strided plans have texts of their own follows from the levels of the one that is
    /// neither.
    fn keep(&mut self, plan: Plan, caps: &Caps) {
        if !self.known.insert(levels(&plan)) {
            return;
        }
        let strides = |pooled| Strides::ALL.into_iter().map(move |strides| (pooled, strides));
        for (pooled, strides) in Pooled::ALL.into_iter().flat_map(strides) {
            let plan = plan.with_pooled(pooled).with_strides(strides);
            let plan = if strides == Strides::Columns { plan.with_sums_apart() } else { plan };
            if (plan.pooled, plan.strides) == (pooled, strides) {
                self.variants.push((Variant { plan, caps: *caps }, levels(&plan)));
            }
        }
    }
}

/// The options that fit a problem.
fn fitting<O: Copy>(all: &[O], operation: fn(O) -> Operation, problem: &Problem) -> Vec<O> {
    all.iter().copied().filter(|options| operation(*options).fits(problem)).collect()
}

/// Of all options, some between which every two meet in every way that they go together.
fn few<O: Copy, const N: usize>(all: &[O], choices: &[Choice<O>; N]) -> Vec<O> {
    let levels: Vec<Levels<N>> = all.iter().map(|options| choice_levels(choices, options)).collect();
    covering::choose(&levels, Strength::Pairs, MOST_TRIED).into_iter().map(|place| all[place]).collect()
}

/// The values of an operation's options.
fn choice_levels<O, const N: usize>(choices: &[Choice<O>; N], options: &O) -> Levels<N> {
    choices.each_ref().map(|choice| u8::try_from((choice.get)(options)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests;
