//! Forward: `y = gain * xhat + bias`, see `docs/numerics.md`.

mod tensors;

pub(super) use tensors::TENSORS;

use super::Tensor;
use super::table::{Choice, combinations, place_of};
use crate::types::{CodeDtype, GateOrder};

/// What forward is asked for beyond the [`Problem`](crate::Problem). Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Whether a residual is added to x first and the sum written out.
    #[doc(alias = "skip", alias = "shortcut")]
    pub residual: bool,
    /// Whether the sum is not written out after all.
    pub without_sum: bool,
    /// Whether x is multiplied by a gate before the residual is added to it.
    #[doc(alias = "gated_residual")]
    pub gate: bool,
    /// Whether y is not written: codes are wanted in its place, or statistics alone, for whoever applies them
    /// elsewhere. For statistics alone gain and bias are not read.
    pub without_y: bool,
    /// Whether mean and rstd are written.
    pub statistics: bool,
    /// Whether y is multiplied by a gain for each row; without gain and bias for each column.
    pub row_gain: bool,
    /// Whether mean and variance of each row are given, in place of its own: batch norm in inference. Only
    /// for layer norm, and without a residual.
    pub given_statistics: bool,
    /// Whether running averages of mean and variance are updated. Only for layer norm, without a residual,
    /// and not of given ones.
    pub running_statistics: bool,
    /// Whether y is written in codes of 8 bits, and in which. Not for rows whose mean and variance are given
    /// or kept.
    pub codes: Option<CodeDtype>,
    /// Whether the unit of all codes is given, and not found for each row and written.
    pub given_unit: bool,
    /// Whether there is a gate, `silu(gate_input)`, and of what it is a factor. Only for RMS norm, see
    /// [`GateOrder`]; without a residual and a gain of each row, and after it not without y.
    pub gate_input: Option<GateOrder>,
    /// The output whose rows are x's own, if any: y or sum.
    pub x_in: Option<Tensor>,
    /// The output whose rows are the residual's own, if any: y or sum.
    pub residual_in: Option<Tensor>,
}

impl Default for Forward {
    /// y alone.
    fn default() -> Self {
        Self::new()
    }
}

impl Forward {
    /// The default, in constants too.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            residual: false,
            without_sum: false,
            gate: false,
            without_y: false,
            statistics: false,
            row_gain: false,
            given_statistics: false,
            running_statistics: false,
            codes: None,
            given_unit: false,
            gate_input: None,
            x_in: None,
            residual_in: None,
        }
    }

    /// Whether the sum is written out, and read by whoever reads the rows again.
    pub(crate) const fn stores_sum(&self) -> bool {
        self.residual && !self.without_sum
    }

    /// Whether y is made of the rows, be it written as it is or in codes.
    pub(crate) const fn makes_y(&self) -> bool {
        !self.without_y || self.codes.is_some()
    }

    /// Whether a unit is found for the codes of each row.
    pub(crate) const fn finds_units(&self) -> bool {
        self.codes.is_some() && !self.given_unit
    }

    /// Walks of a row that is too wide for registers: one for its moments, one that makes y, and one before
    /// that for the unit of its codes.
    const fn walks(&self) -> u32 {
        1 + self.makes_y() as u32 + self.finds_units() as u32
    }

    /// What the first of the two split kernels does of it: the moments, and the sum where it is stored. It
    /// binds no y, so an input that lies there is read where it is. Each option is named, so that a new one
    /// has to be decided.
    pub(crate) fn of_split_statistics(self) -> Self {
        let in_sum = |input: Option<Tensor>| input.filter(|output| *output == Tensor::Sum);
        Self {
            residual: self.residual,
            without_sum: self.without_sum,
            gate: self.gate,
            without_y: false,
            statistics: false,
            row_gain: false,
            given_statistics: false,
            running_statistics: false,
            codes: None,
            given_unit: false,
            gate_input: self.gate_input.filter(|order| *order == GateOrder::Before),
            x_in: in_sum(self.x_in),
            residual_in: in_sum(self.residual_in),
        }
    }

    /// What the second does: all the rest, from the stored sum where there is one, whatever lies in y.
    pub(crate) fn of_split_apply(self) -> Self {
        if self.stores_sum() { Self { x_in: None, residual_in: None, ..self } } else { self }
    }

    pub(crate) const CHOICES: [Choice<Self>; 10] = [
        Choice {
            labels: &["", "/residual", "/residual/without_sum"],
            get: |forward| place_of(&RESIDUALS, &(forward.residual, forward.without_sum)),
            set: |forward, value| (forward.residual, forward.without_sum) = RESIDUALS[value],
        },
        Choice {
            labels: &["", "/gate"],
            get: |forward| usize::from(forward.gate),
            set: |forward, value| forward.gate = value > 0,
        },
        Choice {
            labels: &["", "/statistics", "/statistics/without_y", "/codes_alone"],
            get: |forward| place_of(&STATISTICS, &(forward.statistics, forward.without_y)),
            set: |forward, value| (forward.statistics, forward.without_y) = STATISTICS[value],
        },
        Choice {
            labels: &["", "/row_gain"],
            get: |forward| usize::from(forward.row_gain),
            set: |forward, value| forward.row_gain = value > 0,
        },
        Choice {
            labels: &["", "/given_statistics", "/running_statistics"],
            get: |forward| place_of(&OF_ROWS, &(forward.given_statistics, forward.running_statistics)),
            set: |forward, value| {
                (forward.given_statistics, forward.running_statistics) = OF_ROWS[value];
            },
        },
        Choice {
            labels: &["", "/int8_codes", "/fp8_codes"],
            get: |forward| place_of(&CODES, &forward.codes),
            set: |forward, value| forward.codes = CODES[value],
        },
        Choice {
            labels: &["", "/given_unit"],
            get: |forward| usize::from(forward.given_unit),
            set: |forward, value| forward.given_unit = value > 0,
        },
        Choice {
            labels: &["", "/gate_input_before", "/gate_input_after"],
            get: |forward| place_of(&GATES, &forward.gate_input),
            set: |forward, value| forward.gate_input = GATES[value],
        },
        Choice {
            labels: &["", "/x_in_y", "/x_in_sum"],
            get: |forward| place_of(&OUTPUTS, &forward.x_in),
            set: |forward, value| forward.x_in = OUTPUTS[value],
        },
        Choice {
            labels: &["", "/residual_in_y", "/residual_in_sum"],
            get: |forward| place_of(&OUTPUTS, &forward.residual_in),
            set: |forward, value| forward.residual_in = OUTPUTS[value],
        },
    ];

    /// Whether the options go together: there is a sum with a residual alone, one output cannot hold both
    /// inputs, and something is wanted, codes or statistics in place of y, which no gain of rows has part in.
    /// Statistics are given or kept, of x itself without codes. A gate is that of a sum without such gains.
    pub(crate) fn go_together(&self) -> bool {
        let in_sum = self.x_in == Some(Tensor::Sum) || self.residual_in == Some(Tensor::Sum);
        let alone = if self.residual {
            !(self.without_sum && in_sum)
        } else {
            self.residual_in.is_none() && !in_sum && !self.without_sum
        };
        let in_y = self.x_in == Some(Tensor::Y) || self.residual_in == Some(Tensor::Y);
        let instead_of_y = self.codes.is_some() || (self.statistics && !self.row_gain);
        let has_outputs = !self.without_y || (instead_of_y && !in_y);
        let has_unit = self.codes.is_some() || !self.given_unit;
        let of_rows = match (self.given_statistics, self.running_statistics) {
            (true, true) => false,
            (false, false) => true,
            _ => !self.residual && self.codes.is_none(),
        };
        let is_plain = !self.residual && !self.row_gain && !self.given_statistics && !self.running_statistics;
        let gated = match self.gate_input {
            None => true,
            Some(GateOrder::Before) => is_plain,
            Some(GateOrder::After) => is_plain && self.makes_y(),
        };
        let has_sum = !self.gate || (self.residual && !self.row_gain);
        alone
            && has_sum
            && has_outputs
            && has_unit
            && of_rows
            && gated
            && (self.x_in.is_none() || self.x_in != self.residual_in)
    }

    /// All options that go together.
    pub(crate) fn all() -> Vec<Self> {
        combinations(&Self::CHOICES).into_iter().filter(Self::go_together).collect()
    }
}

/// Whether statistics of rows are given, and whether running ones are updated.
const OF_ROWS: [(bool, bool); 3] = [(false, false), (true, false), (false, true)];

/// Whether there is a residual, and whether its sum is left out.
const RESIDUALS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

/// Whether there are statistics, and whether y is left out, for them or for codes.
const STATISTICS: [(bool, bool); 4] = [(false, false), (true, false), (true, true), (false, true)];

/// Which codes there are.
const CODES: [Option<CodeDtype>; 3] = [None, Some(CodeDtype::Int8), Some(CodeDtype::Fp8E4m3)];

/// Which gates there are.
pub(super) const GATES: [Option<GateOrder>; 3] = [None, Some(GateOrder::Before), Some(GateOrder::After)];

/// What an input may lie in.
const OUTPUTS: [Option<Tensor>; 3] = [None, Some(Tensor::Y), Some(Tensor::Sum)];
