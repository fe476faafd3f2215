//! The fixed set of cases.

use crate::plan::{Tensor, Tuning, TuningKey};
use crate::types::{Affine, Dtype, Gradient, Normalization, Problem};

/// What the rows of x hold; each row a little different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Mean 0, standard deviation 1.
    Normal,
    /// Mean 1e6 (f16: 1e3) times the standard deviation, where a float32 mean alone loses digits.
    LargeMean,
    /// 40000, 40001, 40002, 40003 again and again, where `E[x^2] - mean^2` gives NaN.
    Consecutive,
    /// 800 from the mean, where squares overflow float16.
    Spread,
    /// Close to the largest float16.
    NearF16Max,
    /// One value.
    Constant,
    /// 1e30 (f16: 1e4), where squares overflow float32.
    Huge,
    /// Close to the largest float32 on both sides of 0, where differences overflow.
    FullRange,
    /// 2^54 to 2^62 by row, where the squares of a thread's columns are finite and those of the row are not.
    Brink,
    /// 1e20, or 3e38 in every second row, its sign changing every 16 bytes: each thread of a row may find a constant.
    SquareWave,
    /// 1e12 in the first half of a row, where squares are in range, and 1e30 in the second: threads, or chunks, that are
    /// scaled beside some that are not.
    Cliff,
    /// Below the smallest normal number.
    Subnormal,
    /// One value a million times (f16: sixty thousand times) the others.
    Outlier,
    /// A NaN, an infinity or none in a row.
    NotFinite,
    /// Rows like each other, and dy the same in all, so that rounding in a sum over rows always goes the same way. x differs a
    /// little: what xhat is off, too, would add up from row to row.
    Alike,
}

impl Data {
    const ADVERSARIAL: [Self; 9] = [
        Self::LargeMean,
        Self::Consecutive,
        Self::Spread,
        Self::NearF16Max,
        Self::Constant,
        Self::Huge,
        Self::Subnormal,
        Self::Outlier,
        Self::NotFinite,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LargeMean => "large_mean",
            Self::Consecutive => "consecutive",
            Self::Spread => "spread",
            Self::NearF16Max => "near_f16_max",
            Self::Constant => "constant",
            Self::Huge => "huge",
            Self::FullRange => "full_range",
            Self::Brink => "brink",
            Self::SquareWave => "square_wave",
            Self::Cliff => "cliff",
            Self::Subnormal => "subnormal",
            Self::Outlier => "outlier",
            Self::NotFinite => "not_finite",
            Self::Alike => "alike",
        }
    }
}

/// How tensors lie in their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows one after the other.
    Dense,
    /// A slice of wider rows, all on 16 bytes where `cols` allows.
    Slice,
    /// Rows that start on single elements.
    Odd,
}

impl Layout {
    /// Elements before the first row, and between a row's end and the next row's start.
    pub(super) const fn offset_and_gap(self) -> (usize, usize) {
        match self {
            Self::Dense => (0, 0),
            Self::Slice => (64, 8),
            Self::Odd => (3, 5),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Slice => "slice",
            Self::Odd => "odd",
        }
    }
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// y, and sum with a residual.
    Forward {
        /// Whether a residual is added.
        residual: bool,
        /// Whether statistics are written.
        statistics: bool,
        /// An output and the input that it is written over.
        in_place: Option<(Tensor, Tensor)>,
    },
    /// Gradients, from the float32 rounded statistics of the reference.
    Backward {
        /// Whether dx is computed.
        dx: Option<Gradient>,
        /// Whether dgain and dbias are, as far as the affine has them.
        parameters: Option<Gradient>,
        /// The input that dx is written over.
        in_place: Option<Tensor>,
    },
}

impl Task {
    const FORWARD: Self = Self::Forward { residual: false, statistics: true, in_place: None };
    const BACKWARD: Self = Self::Backward {
        dx: Some(Gradient::Overwrite),
        parameters: Some(Gradient::Overwrite),
        in_place: None,
    };

    fn name(self) -> String {
        let mut name = match self {
            Self::Forward { .. } => "forward".to_owned(),
            Self::Backward { .. } => "backward".to_owned(),
        };
        match self {
            Self::Forward { residual, statistics, in_place } => {
                for (option, present) in [("residual", residual), ("statistics", statistics)] {
                    if present {
                        name = format!("{name}+{option}");
                    }
                }
                if let Some((output, input)) = in_place {
                    name = format!("{name}+{}_over_{}", output.name(), input.name());
                }
            }
            Self::Backward { dx, parameters, in_place } => {
                for (option, gradient) in [("dx", dx), ("parameters", parameters)] {
                    match gradient {
                        None => {}
                        Some(Gradient::Overwrite) => name = format!("{name}+{option}"),
                        Some(Gradient::Accumulate) => name = format!("{name}+{option}_accumulated"),
                    }
                }
                if let Some(input) = in_place {
                    name = format!("{name}+dx_over_{}", input.name());
                }
            }
        }
        name
    }
}

/// One call with its data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What is computed.
    pub problem: Problem,
    /// Number of rows.
    pub rows: usize,
    /// Where the tensors lie.
    pub layout: Layout,
    /// What x holds.
    pub data: Data,
    /// What is run.
    pub task: Task,
}

impl Case {
    /// A name that tells the case from all others.
    #[must_use]
    pub fn name(&self) -> String {
        let Problem { cols, dtype, parameter_dtype, normalization, affine, .. } = self.problem;
        let parameters = if parameter_dtype == dtype { "" } else { "_f32_parameters" };
        format!(
            "{}/{dtype}{parameters}/{}x{cols}/{}/{}/{}/{}",
            self.task.name(),
            self.rows,
            normalization.name(),
            affine.name(),
            self.layout.name(),
            self.data.name(),
        )
    }

    /// What is computed.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// Storage of rows and of parameters.
const DTYPES: [(Dtype, Dtype); 5] = [
    (Dtype::F32, Dtype::F32),
    (Dtype::F16, Dtype::F16),
    (Dtype::F16, Dtype::F32),
    (Dtype::Bf16, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F32),
];

const AFFINES: [Affine; 3] = [Affine::GainBias, Affine::Gain, Affine::None];
const NORMALIZATIONS: [Normalization; 2] = [Normalization::Layer, Normalization::Rms];
const LAYOUTS: [Layout; 3] = [Layout::Dense, Layout::Slice, Layout::Odd];

/// Widths, each with the most rows that are run: 1; pairs that a word holds; odd and prime; just below, at and above
/// the steps of the ladders for GPUs and software adapters; widths of real models; rows that are streamed; a million.
/// 5 and 37 rows leave the last workgroup short at every number of rows a workgroup.
const SHAPES: [(usize, u32); 36] = [
    (37, 1),
    (37, 2),
    (37, 3),
    (5, 4),
    (37, 7),
    (37, 16),
    (37, 17),
    (5, 31),
    (37, 32),
    (37, 63),
    (37, 64),
    (37, 65),
    (37, 127),
    (37, 128),
    (37, 129),
    (37, 255),
    (5, 256),
    (5, 257),
    (37, 384),
    (5, 512),
    (5, 513),
    (37, 760),
    (5, 1000),
    (5, 1024),
    (5, 1025),
    (5, 1151),
    (5, 2048),
    (5, 2050),
    (5, 4096),
    (5, 4097),
    (5, 8192),
    (5, 8193),
    (5, 16_384),
    (3, 40_004),
    (2, 131_072),
    (1, 1_048_576),
];

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    shapes(&mut cases);
    options(&mut cases);
    adversarial_data(&mut cases);
    beyond_f16(&mut cases);
    many_rows(&mut cases);
    cases
}

/// Every width in every dtype, forward and backward; the other axes take turns, and parameters in float32 beside 16-bit
/// rows come at every third width.
fn shapes(cases: &mut Vec<Case>) {
    for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
        for (j, (dtype, parameter_dtype)) in DTYPES.into_iter().enumerate() {
            let turn = i + j;
            if parameter_dtype != dtype && turn % 3 != 0 {
                continue;
            }
            let problem = Problem {
                cols,
                dtype,
                parameter_dtype,
                normalization: NORMALIZATIONS[turn / 3 % 2],
                affine: AFFINES[(turn + i / 9) % 3],
                ..Problem::default()
            };
            for (task, layout) in [
                (Task::FORWARD, LAYOUTS[(turn + i / 3) % 3]),
                (Task::BACKWARD, LAYOUTS[(turn + i / 3 + 1) % 3]),
            ] {
                cases.push(Case { problem, rows, layout, data: Data::Normal, task });
            }
        }
    }
}

/// Every option, on a cached and a streamed width, even and odd, in every storage.
fn options(cases: &mut Vec<Case>) {
    use Gradient::{Accumulate, Overwrite};
    let forward = |residual, statistics, in_place| Task::Forward { residual, statistics, in_place };
    let backward = |dx, parameters, in_place| Task::Backward { dx, parameters, in_place };
    let tasks = [
        forward(false, false, None),
        forward(false, true, Some((Tensor::Y, Tensor::X))),
        forward(true, true, None),
        forward(true, false, Some((Tensor::Y, Tensor::X))),
        forward(true, true, Some((Tensor::Sum, Tensor::Residual))),
        forward(true, true, Some((Tensor::Sum, Tensor::X))),
        forward(true, false, Some((Tensor::Y, Tensor::Residual))),
        backward(Some(Overwrite), None, None),
        backward(None, Some(Overwrite), None),
        backward(Some(Accumulate), Some(Accumulate), None),
        backward(Some(Overwrite), Some(Overwrite), Some(Tensor::Dy)),
        backward(Some(Overwrite), Some(Accumulate), Some(Tensor::X)),
        backward(Some(Accumulate), None, None),
    ];
    for (i, task) in tasks.into_iter().enumerate() {
        for (j, (rows, cols)) in [(13, 200), (13, 37), (5, 20_000), (5, 12_345)].into_iter().enumerate() {
            for (k, (dtype, parameter_dtype)) in [DTYPES[0], DTYPES[1], DTYPES[3]].into_iter().enumerate() {
                let turn = i + j + k;
                let problem = Problem {
                    cols,
                    dtype,
                    parameter_dtype,
                    normalization: NORMALIZATIONS[turn % 2],
                    ..Problem::default()
                };
                cases.push(Case { problem, rows, layout: LAYOUTS[turn % 3], data: Data::Normal, task });
            }
        }
    }
}

/// Data that has broken other kernels, cached and streamed, for both norms.
fn adversarial_data(cases: &mut Vec<Case>) {
    use Normalization::{Layer, Rms};
    for data in Data::ADVERSARIAL {
        for (rows, cols, normalizations) in [(9, 384, &[Layer, Rms]), (5, 20_000, &[Layer, Rms])] {
            for dtype in Dtype::ALL {
                for &normalization in normalizations {
                    let problem =
                        Problem { cols, dtype, parameter_dtype: dtype, normalization, ..Problem::default() };
                    for task in [Task::FORWARD, Task::BACKWARD] {
                        cases.push(Case { problem, rows, layout: Layout::Dense, data, task });
                    }
                }
            }
        }
        // Several chunks of a split row for each thread that puts their moments together.
        if data == Data::LargeMean {
            let problem = Problem { cols: 131_072, ..Problem::default() };
            cases.push(Case { problem, rows: 2, layout: Layout::Dense, data, task: Task::FORWARD });
        }
        // The widest row in registers: the longest sums without compensation, of like terms where data is constant.
        let problem = Problem { cols: 8192, normalization: Rms, ..Problem::default() };
        cases.push(Case { problem, rows: 5, layout: Layout::Dense, data, task: Task::FORWARD });
    }
}

/// Forward alone: the rstd of a row of the full range is a subnormal number, which backward may have to read as 0.
fn beyond_f16(cases: &mut Vec<Case>) {
    for data in [Data::FullRange, Data::Brink, Data::SquareWave, Data::Cliff] {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            for cols in [384, 20_000] {
                for normalization in NORMALIZATIONS {
                    let problem =
                        Problem { cols, dtype, parameter_dtype: dtype, normalization, ..Problem::default() };
                    let (layout, task) = (Layout::Dense, Task::FORWARD);
                    cases.push(Case { problem, rows: 5, layout, data, task });
                }
            }
        }
    }
}

/// No row, one row, more rows than one dimension of a grid has workgroups, and so many that a GPU's workgroups, each a row of
/// several subgroups, walk more than one: with and without dx, which take two sums a row and one.
fn many_rows(cases: &mut Vec<Case>) {
    for (rows, cols) in [(0, 64), (1, 64), (65_535, 8), (65_537, 3), (300_000, 2)] {
        for dtype in Dtype::ALL {
            let problem = Problem { cols, dtype, parameter_dtype: dtype, ..Problem::default() };
            for task in [Task::FORWARD, Task::BACKWARD] {
                cases.push(Case { problem, rows, layout: Layout::Dense, data: Data::Normal, task });
            }
        }
    }
    let parameters_alone = Task::Backward { dx: None, parameters: Some(Gradient::Overwrite), in_place: None };
    for (dtype, task) in [Dtype::F32, Dtype::F16]
        .into_iter()
        .flat_map(|dtype| [Task::BACKWARD, parameters_alone].map(|task| (dtype, task)))
    {
        let problem = Problem { cols: 4096, dtype, parameter_dtype: dtype, ..Problem::default() };
        cases.push(Case { problem, rows: 600, layout: Layout::Dense, data: Data::Normal, task });
    }
    // Of one row to a GPU's workgroup and of several, and streamed on a software adapter.
    for (rows, cols) in [(65_537, 3), (20_000, 64), (5000, 1100)] {
        let problem = Problem { cols, ..Problem::default() };
        cases.push(Case { problem, rows, layout: Layout::Dense, data: Data::Alike, task: Task::BACKWARD });
    }
}

/// Cases of the calls that a table has rungs for: with every affine and storage of parameters, rows that leave the last workgroup
/// short or alone, dense and sliced, and data that has broken kernels. The device's own entries decide what becomes of them:
/// [`Outcome::is_tuned`](super::Outcome::is_tuned) tells.
#[must_use]
pub fn tuned_cases(tuning: &Tuning) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in tuning.entries().iter().filter(|entry| entry.rung.is_some()) {
        let TuningKey { operation, normalization, dtype, cols, .. } = &entry.key;
        let task = match operation.as_str() {
            "forward" => Task::FORWARD,
            "forward_residual" => Task::Forward { residual: true, statistics: true, in_place: None },
            "backward" => Task::BACKWARD,
            _ => Task::Backward { dx: Some(Gradient::Overwrite), parameters: None, in_place: None },
        };
        let problem = |parameter_dtype, affine| Problem {
            cols: *cols,
            dtype: *dtype,
            parameter_dtype,
            normalization: *normalization,
            affine,
            ..Problem::default()
        };
        let mut add = |problem, rows, layout, data| cases.push(Case { problem, rows, layout, data, task });
        // Without gain and bias, backward has no gradients of parameters and is another operation.
        let affines = if operation == "backward" { &AFFINES[..2] } else { &AFFINES[..] };
        for (i, affine) in affines.iter().enumerate() {
            let layout = [Layout::Dense, Layout::Slice][i % 2];
            add(problem(*dtype, *affine), [37, 5, 1][i], layout, Data::Normal);
        }
        if *dtype != Dtype::F32 {
            add(problem(Dtype::F32, Affine::GainBias), 5, Layout::Slice, Data::Normal);
        }
        for data in Data::ADVERSARIAL {
            add(problem(*dtype, Affine::GainBias), 9, Layout::Dense, data);
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_axis_is_reached() {
        let cases = cases();
        let names: BTreeSet<_> = cases.iter().map(Case::name).collect();
        assert_eq!(names.len(), cases.len(), "two cases share a name");
        for dtypes in DTYPES {
            for layout in LAYOUTS {
                for affine in AFFINES {
                    for is_forward in [true, false] {
                        assert!(
                            cases.iter().any(|case| {
                                (case.problem.dtype, case.problem.parameter_dtype) == dtypes
                                    && case.layout == layout
                                    && case.problem.affine == affine
                                    && matches!(case.task, Task::Forward { .. }) == is_forward
                            }),
                            "no case with {dtypes:?}, {layout:?}, {affine:?}, forward: {is_forward}"
                        );
                    }
                }
            }
        }
    }
}
