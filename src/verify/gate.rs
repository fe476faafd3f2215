//! What a gate, `silu(gate_input)`, adds to the terms that results of gated RMS norm are judged by.
//!
//! The gate is off by at most 9 units of its input (2 of exp, 5 of the division, 2 of roundings: see
//! docs/numerics.md), and the product with it by 10 units of the product with that; its slope by 14 units.

use super::judge::RowTerms;
use super::tolerance::{FLOAT32_UNITS, SMALLEST_NORMAL};
use crate::reference::gate;
use crate::types::GateOrder;

/// A product with a gate, and one with its slope, as parts of what is allowed.
pub(super) const PRODUCT: f64 = 10.0 / FLOAT32_UNITS;
pub(super) const SLOPE: f64 = 14.0 / FLOAT32_UNITS;

/// The largest slope of a gate.
const MOST_SLOPE: f64 = 1.1;

/// A gate, and x beside it, in dense rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) order: GateOrder,
    pub(crate) input: &'a [f32],
    pub(crate) x: &'a [f32],
    pub(crate) cols: usize,
}

impl Gate<'_> {
    fn at(&self, row: usize, column: usize) -> (f64, f64) {
        let i = row * self.cols + column;
        (self.input[i].into(), self.x[i].into())
    }

    /// What is normalized, not rounded.
    pub(super) fn normalized(&self) -> Vec<f64> {
        let product = |(x, input): (&f32, &f32)| match self.order {
            GateOrder::Before => f64::from(*x) * gate(f64::from(*input))[0],
            GateOrder::After => f64::from(*x),
        };
        self.x.iter().zip(self.input).map(product).collect()
    }

    /// How far xhat of an element is off for the gate before the norm, as terms are.
    pub(crate) fn off_xhat(&self, row: usize, column: usize, rstd: f64) -> f64 {
        let (input, x) = self.at(row, column);
        match self.order {
            GateOrder::Before => PRODUCT * (x * input).abs() * rstd,
            GateOrder::After => 0.0,
        }
    }

    /// dz of a dy, and how far it is off, as terms are.
    pub(crate) fn dz(&self, row: usize, column: usize, dy: f64) -> [f64; 2] {
        let (input, _) = self.at(row, column);
        match self.order {
            GateOrder::Before => [dy, 0.0],
            GateOrder::After => [dy * gate(input)[0], PRODUCT * (dy * input).abs()],
        }
    }

    /// By how much rstd of a row is off, as a part of it, as terms are: by the squares that it is made of.
    pub(super) fn off_rstd(&self, row: usize, rstd: f64) -> f64 {
        let of_column = |column| {
            let (input, x) = self.at(row, column);
            (x * gate(input)[0] * rstd).abs() * self.off_xhat(row, column, rstd)
        };
        match self.order {
            GateOrder::Before => (0..self.cols).map(of_column).sum::<f64>() / self.cols as f64,
            GateOrder::After => 0.0,
        }
    }

    /// Terms of y of an element, of a gain, the largest xhat, and what they would be without the gate.
    pub(super) fn of_y(
        &self,
        row: usize,
        column: usize,
        rstd: f64,
        [gain, most_xhat, terms]: [f64; 3],
    ) -> f64 {
        let (input, _) = self.at(row, column);
        match self.order {
            GateOrder::Before => {
                let off = (0..self.cols).map(|column| self.off_xhat(row, column, rstd)).fold(0.0, f64::max);
                terms + gain.abs() * (off + most_xhat * self.off_rstd(row, rstd))
            }
            GateOrder::After => terms * (1.0 + PRODUCT) * input.abs(),
        }
    }

    /// Terms of dx of an element, from those of its row.
    pub(super) fn of_dx(&self, row: usize, column: usize, of_row: RowTerms) -> RowTerms {
        let (input, _) = self.at(row, column);
        match self.order {
            GateOrder::Before => RowTerms {
                terms: of_row.terms * (1.0 + PRODUCT) * input.abs(),
                flushed: of_row.flushed * (1.0 + input.abs()),
            },
            GateOrder::After => RowTerms { flushed: of_row.flushed * (1.0 + input.abs()), ..of_row },
        }
    }

    /// Terms of the gradient of an input, from those of the row's dx, and of dy, the gain and the largest
    /// xhat.
    pub(super) fn of_dgate_input(
        &self,
        row: usize,
        column: usize,
        of_row: RowTerms,
        [dy, gain, most_xhat]: [f64; 3],
    ) -> RowTerms {
        let (_, x) = self.at(row, column);
        let share = MOST_SLOPE + SLOPE;
        match self.order {
            GateOrder::Before => RowTerms {
                terms: share * of_row.terms * x.abs(),
                flushed: (of_row.flushed + SMALLEST_NORMAL) * (1.0 + x.abs() + of_row.terms),
            },
            GateOrder::After => RowTerms {
                terms: share * (dy * gain).abs() * most_xhat,
                flushed: SMALLEST_NORMAL * 4.0 * (1.0 + dy.abs()) * (1.0 + gain.abs()) * (1.0 + most_xhat),
            },
        }
    }
}
