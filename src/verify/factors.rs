//! What cases differ in: the levels of each factor, and which go together.
//!
//! Shapes where kernels change are *narrow* or *wide* in plain use; on the *rich* ones every option, layout
//! and kind of data is tried, two at a time: with every width, the array would be three times as long and no
//! fault more likely to show.

use super::cases::{Case, Task};
use super::kinds::{Data, INNER_ROWS, Layout, Residual, SavedStatistics, Values, least_factor};
use crate::covering::Levels;
use crate::op::{Choice, Stored};
use crate::plan::{ACCESS_ROWS, Backward, Forward};
use crate::types::{Activation, Affine, Channels, Dtype, Normalization, Problem};
use std::ops::Range;
use std::sync::LazyLock;

/// Rows and columns on which everything is tried: one column; pairs that a word holds; odd ones; rows that a
/// thread, a part of a subgroup, a subgroup and several hold; streamed ones, even and odd, and of several
/// chunks.
pub(super) const RICH: [(usize, u32); 12] = [
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

/// The others: just below, at and above the steps of the ladders for GPUs and software adapters; widths of
/// real models; a million. No row and one row; more rows than one dimension of a grid has workgroups, and so
/// many that a GPU's workgroups, each a row of several subgroups, walk more than one. 5 and 37 rows leave the
/// last workgroup short at every number of rows a workgroup.
pub(super) const PLAIN: [(usize, u32); 34] = [
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
pub(super) const DTYPES: [(Dtype, Dtype); 5] = [
    (Dtype::F32, Dtype::F32),
    (Dtype::F16, Dtype::F16),
    (Dtype::F16, Dtype::F32),
    (Dtype::Bf16, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F32),
];

const LAYOUTS: [Layout; 8] = [
    Layout::Dense,
    Layout::Slice,
    Layout::Odd,
    Layout::Heads,
    Layout::Channels,
    Layout::Positions,
    Layout::Samples,
    Layout::Pool,
];

/// What plain shapes have. Rows inside outer ones, and tensors in one buffer, have the kernels of the others
/// and another place. They are the first of all.
pub(super) const PLAIN_LAYOUTS: [Layout; 3] = [Layout::Dense, Layout::Slice, Layout::Odd];

/// The first is a level of every shape, the others of the rich ones.
pub(super) const DATA: [Data; 14] = [
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

/// The default; next to nothing; what the variance is; what squares that underflow may matter beside;
/// nothing.
const EPS: [f32; 5] = [1e-5, 1e-12, 1.0, 1e-28, 0.0];

const VALUES: [Values; 6] =
    [Values::Normal, Values::Zero, Values::Large, Values::OneHuge, Values::Positive, Values::Tiny];

const SAVED: [SavedStatistics; 2] = [SavedStatistics::Reference, SavedStatistics::Device];

const RESIDUALS: [Residual; 3] = [Residual::Normal, Residual::Like, Residual::Opposite];

/// Levels of each factor, in the order of [`case`]: what every case has, then what only cases of one
/// direction have. Those begin with a level for the other direction.
pub(super) static COUNTS: LazyLock<[usize; FACTORS]> = LazyLock::new(|| {
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
    let last = [CHANNELS, Activation::ALL.len()];
    let forward = Forward::CHOICES.iter().map(|choice| choice.labels.len()).chain([RESIDUALS.len()]);
    let backward =
        Backward::CHOICES.iter().map(|choice| choice.labels.len()).chain([VALUES.len(), SAVED.len()]);
    let mut counts = [0; FACTORS];
    let others = Stored::OTHERS.iter().map(|_| 1 + Dtype::ALL.len());
    let all =
        of_all.into_iter().chain(forward.chain(backward).map(|levels| 1 + levels)).chain(others).chain(last);
    counts.iter_mut().zip(all).for_each(|(count, levels)| *count = levels);
    counts
});

pub(super) const DTYPE: usize = 1;
pub(super) const NORMALIZATION: usize = 2;
pub(super) const AFFINE: usize = 3;
pub(super) const LAYOUT: usize = 4;
pub(super) const BIAS: usize = 8;
pub(super) const DIRECTION: usize = 9;
/// Options, and what the residual holds.
pub(super) const FORWARD_ONLY: Range<usize> = DIRECTION + 1..DIRECTION + 2 + Forward::CHOICES.len();
/// Options, what dy holds, and whose the statistics are.
pub(super) const BACKWARD_ONLY: Range<usize> =
    FORWARD_ONLY.end..FORWARD_ONLY.end + 2 + Backward::CHOICES.len();
/// Types of rows that are not x's: the first level is x's.
pub(super) const OTHERS: Range<usize> = BACKWARD_ONLY.end..BACKWARD_ONLY.end + Stored::OTHERS.len();
/// Whether gain and bias have a value for each channel, of few channels, of many, of one, or of one a column,
/// and whether rows of a sample then follow each other, with a gate for each sample alone or not.
pub(super) const CHANNEL: usize = OTHERS.end;
/// What is applied after gain and bias.
pub(super) const ACTIVATION: usize = CHANNEL + 1;
pub(super) const FACTORS: usize = ACTIVATION + 1;

const CHANNELS: usize = 7;

/// The level of samples that have a gate each.
const OF_GATES: usize = 6;

/// Groups of a sample, as many as [`Layout`] has rows inside an outer row.
const GROUPS: u32 = INNER_ROWS;

/// The case that the levels stand for, if there is one.
pub(super) fn case(levels: &Levels<FACTORS>) -> Option<Case> {
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
    problem.activation = Activation::ALL[level[ACTIVATION]];
    if problem.activation.is_some() && !is_rich {
        return None;
    }
    let mut rows = rows;
    if LAYOUTS[layout] == Layout::Positions {
        // Where there are channels, the rows inside an outer one are their groups.
        if level[CHANNEL] > 0 {
            return None;
        }
        rows = rows.next_multiple_of(ACCESS_ROWS as usize);
    }
    if level[CHANNEL] > 0 {
        let groups = GROUPS as usize;
        if !is_rich || rows < groups {
            return None;
        }
        rows -= rows % groups;
        let channels = channels_of(cols, level[CHANNEL])?;
        // Rows of samples have one stride between them.
        if channels.is_blocked() && LAYOUTS[layout].span(cols, 4).inner_rows > 0 {
            return None;
        }
        // Outer columns are those of one channel.
        if channels.per_row() > 1 && LAYOUTS[layout] == Layout::Samples {
            return None;
        }
        problem.channels = Some(channels);
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
        let (forward, mut data) = options(&Forward::CHOICES, own);
        case.residual = RESIDUALS[data.next()?];
        case.task = Task::Forward(forward);
        if !forward.go_together() || (!forward.residual && case.residual != Residual::Normal) {
            return None;
        }
    } else {
        let (backward, mut data) = options(&Backward::CHOICES, own);
        case.dy = VALUES[data.next()?];
        case.saved = SAVED[data.next()?];
        case.task = Task::Backward(backward);
        // A call says once what becomes of the gradients of parameters.
        let mut wanted = [backward.dgain, backward.dbias, backward.dgate].into_iter().flatten();
        let first = wanted.next();
        if !backward.go_together() || wanted.any(|other| Some(other) != first) {
            return None;
        }
    }
    if !case.task.operation().fits(&problem) {
        return None;
    }
    // What has no parameters by channel does not depend on how channels lie.
    let is_gated = case.task.operation().is_gated();
    let has_parameters = is_gated || (affine.has_gain() && level[CHANNEL] != OF_GATES);
    if level[CHANNEL] > 0 && !has_parameters {
        return None;
    }
    if case.gain != Values::Normal && !affine.has_gain() {
        return None;
    }
    let from_y = matches!(case.task, Task::Backward(backward) if backward.from_y);
    let reads_bias = affine.has_bias() && (is_forward || problem.activation.is_some() || from_y);
    if case.bias != Values::Normal && !reads_bias {
        return None;
    }
    // On the plain shapes: storage, norm, affine, layout and direction.
    let plain = [Task::forward(), Task::backward(affine)]
        .map(|task| Case { layout: case.layout, ..Case::new(problem, rows, task) });
    let is_plain =
        eps == 0 && Stored::is_one(&problem) && PLAIN_LAYOUTS.contains(&case.layout) && plain.contains(&case);
    (if is_rich { is_defined(&case) } else { is_plain }).then_some(case)
}

/// As few channels of a group as divide its columns, as many, one, as in instance norm, or one for each
/// column, as in QK norm with a gain of each head, in a modulation, or beside gates of samples.
fn channels_of(cols: u32, level: usize) -> Option<Channels> {
    if level == 5 {
        return (cols > 1).then(|| Channels::of_samples(GROUPS, cols));
    }
    if level == OF_GATES {
        return (cols > 1).then(|| Channels::of_gates(GROUPS, cols));
    }
    let least = least_factor(cols);
    let per_row = *[least, cols / least, 1, cols].get(level - 1)?;
    // Of few and many, each once, and all of a row as such.
    let is_known = level == 2 && least * least == cols || level < 3 && [1, cols].contains(&per_row);
    let is_known = is_known || level == 4 && per_row == 1;
    (!is_known).then_some(Channels::new(per_row * GROUPS, GROUPS, cols / per_row))
}

/// Options from the levels of an operation's own factors, and what is left of those: the levels of its data.
fn options<O: Default, L: Iterator<Item = usize>>(choices: &[Choice<O>], mut levels: L) -> (O, L) {
    let mut options = O::default();
    for (choice, level) in choices.iter().zip(levels.by_ref()) {
        (choice.set)(&mut options, level);
    }
    (options, levels)
}

/// Whether the results are within the range of numbers, and the data within that of the storage.
fn is_defined(case: &Case) -> bool {
    let Case { problem, data, gain, dy, .. } = case;
    let is_forward = matches!(case.task, Task::Forward(_));
    let beyond_f16 = matches!(data, Data::FullRange | Data::Brink | Data::SquareWave | Data::Cliff);
    // The product with a gate may be out of range, or be one of values that are flushed.
    if case.task.operation().gate_input().is_some()
        && (beyond_f16 || *data == Data::Subnormal || (*data == Data::Huge && problem.dtype != Dtype::F16))
    {
        return false;
    }
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
