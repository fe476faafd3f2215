//! Backward: dx, and the sums over rows dgain and dbias, see `docs/numerics.md`.

mod tensors;

pub(super) use tensors::TENSORS;

use super::forward::GATES;
use super::table::{Choice, combinations, place_of};
use crate::types::{Affine, GateOrder, Gradient};

/// What backward is asked for beyond the [`Problem`](crate::Problem). Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backward {
    /// Whether dx is wanted, and what happens to the value there.
    #[doc(alias = "grad_input")]
    pub dx: Option<Gradient>,
    /// Whether the gradient that reaches the sum on other ways is added into dx, which is then overwritten.
    pub dsum: bool,
    /// Whether the gradient of what a gate has multiplied is wanted: `dbranch = gate * dx`, where x is the
    /// gated sum. Not with an activation.
    pub dbranch: bool,
    /// Whether the gradient of the gate is wanted. Not with an activation.
    #[doc(alias = "grad_gate")]
    pub dgate: Option<Gradient>,
    /// Whether dgain is wanted.
    #[doc(alias = "grad_weight", alias = "dgamma", alias = "dweight")]
    pub dgain: Option<Gradient>,
    /// Whether dbias is wanted.
    #[doc(alias = "grad_bias", alias = "dbeta")]
    pub dbias: Option<Gradient>,
    /// Whether forward multiplied y by a gain for each row.
    pub row_gain: bool,
    /// Whether the gradient of that gain is wanted.
    pub drow_gain: Option<Gradient>,
    /// Whether mean and variance of each row were given to forward, and are constants: batch norm in
    /// inference. Only for layer norm, without gain and bias of columns.
    pub given_statistics: bool,
    /// Whether xhat is made from forward's y, in place of x: of the statistics rstd alone counts then. Not
    /// where there is an activation, rows have a gain each, or mean and variance were given to forward.
    pub from_y: bool,
    /// Whether the columns are counted whose gain is too small for that. Only beside dx, without dsum, with
    /// which it would take more bindings than every device has, and where gain has a value for each column.
    pub clamped: bool,
    /// Whether forward had a gate, and of what it was a factor; its gradient is then written beside dx. Only
    /// without dsum, a gain of each row, and y in place of x.
    pub gate_input: Option<GateOrder>,
    /// Whether dx is written over x, or over y where xhat is made from that.
    pub x_in_dx: bool,
    /// Whether dx is written over dy.
    pub dy_in_dx: bool,
}

impl Default for Backward {
    /// Nothing yet.
    fn default() -> Self {
        Self::new()
    }
}

impl Backward {
    /// The default, in constants too.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            dx: None,
            dsum: false,
            dbranch: false,
            dgate: None,
            dgain: None,
            dbias: None,
            row_gain: false,
            drow_gain: None,
            given_statistics: false,
            from_y: false,
            clamped: false,
            gate_input: None,
            x_in_dx: false,
            dy_in_dx: false,
        }
    }

    /// Whether dgain, dbias or dgate is wanted: sums over rows.
    #[must_use]
    pub const fn has_parameters(&self) -> bool {
        self.has_affine_gradients() || self.dgate.is_some()
    }

    /// What becomes of gradients of parameters: a call says it once.
    #[cfg(feature = "gpu")]
    pub(crate) fn of_parameters(&self) -> Option<Gradient> {
        self.dgain.or(self.dbias).or(self.dgate).or(self.drow_gain)
    }

    /// Whether dgain or dbias is wanted.
    pub(crate) const fn has_affine_gradients(&self) -> bool {
        self.dgain.is_some() || self.dbias.is_some()
    }

    /// Whether anything is wanted of what a gate has multiplied, or of the gate.
    pub(crate) const fn is_gated(&self) -> bool {
        self.dbranch || self.dgate.is_some()
    }

    /// Whether dx is made, be it written or what other gradients are made from.
    pub(crate) const fn makes_dx(&self) -> bool {
        self.dx.is_some() || self.is_gated()
    }

    /// Whether the affine has the parameters whose gradients are wanted.
    pub(crate) const fn fits(&self, affine: Affine) -> bool {
        (self.dgain.is_none() || affine.has_gain()) && (self.dbias.is_none() || affine.has_bias())
    }

    /// What the first of the two split kernels does of a call whose rows are
    /// [split](Self::splits_rows). It writes no gradient: x and dy are read where they are. In dbranch what
    /// 16 bits hide of dx shows. A new option has to be decided.
    pub(crate) const fn of_split_sums(self) -> Self {
        Self {
            dx: None,
            dsum: false,
            dbranch: self.dbranch,
            dgate: None,
            dgain: None,
            dbias: None,
            row_gain: false,
            drow_gain: None,
            given_statistics: self.given_statistics,
            from_y: false,
            clamped: false,
            gate_input: self.gate_input,
            x_in_dx: false,
            dy_in_dx: false,
        }
    }

    /// Whether the second of the split kernels has what the first leaves: not where it writes dx alone, which
    /// does not depend on it.
    pub(crate) const fn needs_row_sums(&self) -> bool {
        !self.given_statistics || self.has_parameters() || self.drow_gain.is_some()
    }

    /// Whether there are kernels of it for split rows: with what y, or the gradient of a gate, takes there,
    /// AMD's compiler spills registers.
    pub(crate) const fn splits_rows(&self) -> bool {
        !self.from_y && self.dgate.is_none()
    }

    pub(crate) const CHOICES: [Choice<Self>; 12] = [
        Choice {
            labels: &["", "/dx", "/dx/dx_accumulate"],
            get: |backward| place_of(&GRADIENTS, &backward.dx),
            set: |backward, value| backward.dx = GRADIENTS[value],
        },
        Choice {
            labels: &["", "/dsum"],
            get: |backward| usize::from(backward.dsum),
            set: |backward, value| backward.dsum = value > 0,
        },
        Choice {
            labels: &["", "/dbranch"],
            get: |backward| usize::from(backward.dbranch),
            set: |backward, value| backward.dbranch = value > 0,
        },
        Choice {
            labels: &["", "/dgate", "/dgate/dgate_accumulate"],
            get: |backward| place_of(&GRADIENTS, &backward.dgate),
            set: |backward, value| backward.dgate = GRADIENTS[value],
        },
        Choice {
            labels: &["", "/dgain", "/dgain/dgain_accumulate"],
            get: |backward| place_of(&GRADIENTS, &backward.dgain),
            set: |backward, value| backward.dgain = GRADIENTS[value],
        },
        Choice {
            labels: &["", "/dbias", "/dbias/dbias_accumulate"],
            get: |backward| place_of(&GRADIENTS, &backward.dbias),
            set: |backward, value| backward.dbias = GRADIENTS[value],
        },
        Choice {
            labels: &["", "/row_gain", "/row_gain/drow_gain", "/row_gain/drow_gain/drow_gain_accumulate"],
            get: |backward| place_of(&ROW_GAINS, &(backward.row_gain, backward.drow_gain)),
            set: |backward, value| (backward.row_gain, backward.drow_gain) = ROW_GAINS[value],
        },
        Choice {
            labels: &["", "/given_statistics"],
            get: |backward| usize::from(backward.given_statistics),
            set: |backward, value| backward.given_statistics = value > 0,
        },
        Choice {
            labels: &["", "/from_y", "/from_y/clamped"],
            get: |backward| place_of(&SOURCES, &(backward.from_y, backward.clamped)),
            set: |backward, value| (backward.from_y, backward.clamped) = SOURCES[value],
        },
        Choice {
            labels: &["", "/gate_input_before", "/gate_input_after"],
            get: |backward| place_of(&GATES, &backward.gate_input),
            set: |backward, value| backward.gate_input = GATES[value],
        },
        Choice {
            labels: &["", "/x_in_dx"],
            get: |backward| usize::from(backward.x_in_dx),
            set: |backward, value| backward.x_in_dx = value > 0,
        },
        Choice {
            labels: &["", "/dy_in_dx"],
            get: |backward| usize::from(backward.dy_in_dx),
            set: |backward, value| backward.dy_in_dx = value > 0,
        },
    ];

    /// Whether the options go together: something is wanted, what dx is added to is no input, dsum goes into
    /// a dx that is overwritten, or to a gate, and rows of a gated sum have neither gains nor given
    /// statistics.
    pub(crate) fn go_together(&self) -> bool {
        let is_in_place = self.x_in_dx || self.dy_in_dx;
        let fits = !is_in_place || (self.dx == Some(Gradient::Overwrite) && self.x_in_dx != self.dy_in_dx);
        let is_kept = self.dx == Some(Gradient::Overwrite) || (self.dx.is_none() && self.is_gated());
        let has_place = !self.dsum || is_kept;
        let is_sum = !self.is_gated() || !(self.row_gain || self.given_statistics);
        let has_gain = match self.row_gain {
            true => self.dx.is_some() || self.drow_gain.is_some(),
            false => self.drow_gain.is_none(),
        };
        // What y was multiplied by in all columns is no matter of a gain for each, and of given statistics dx
        // needs no xhat.
        let of_y = match self.from_y {
            true => {
                let may_count = self.dx.is_some() && !self.dsum;
                !self.row_gain && !self.given_statistics && !self.is_gated() && (may_count || !self.clamped)
            }
            false => !self.clamped,
        };
        let is_plain = !self.dsum && !self.row_gain && !self.given_statistics && !self.from_y;
        let gated = self.gate_input.is_none() || (is_plain && !self.is_gated());
        (self.makes_dx() || self.has_parameters() || self.drow_gain.is_some())
            && of_y
            && gated
            && fits
            && is_sum
            && has_place
            && has_gain
    }

    /// All options that go together.
    pub(crate) fn all() -> Vec<Self> {
        combinations(&Self::CHOICES).into_iter().filter(Self::go_together).collect()
    }
}

const GRADIENTS: [Option<Gradient>; 3] = [None, Some(Gradient::Overwrite), Some(Gradient::Accumulate)];

/// Whether xhat is made from y, and whether columns are counted whose gain is too small for that.
const SOURCES: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

/// Whether rows have a gain each, and what becomes of its gradient.
const ROW_GAINS: [(bool, Option<Gradient>); 4] =
    [(false, None), (true, None), (true, Some(Gradient::Overwrite)), (true, Some(Gradient::Accumulate))];
