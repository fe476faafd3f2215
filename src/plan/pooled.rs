//! Inputs and outputs in one buffer.

use super::{Plan, Tensor};
use crate::op::{Shape, Used};

/// Which tensors that a dispatch only reads are bound as if it wrote them too. That is what wgpu asks for
/// where an input lies in the buffer of an output, beside it and not in the same bytes, as in an allocator's
/// pool: one dispatch uses a buffer in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pooled {
    /// None: no input lies in an output's buffer.
    #[default]
    Nothing,
    /// All but gain, bias and gate: tensors of rows, statistics, and what an earlier dispatch of the call has
    /// left.
    Rows,
    /// All.
    Everything,
}

impl Pooled {
    /// All, from the fewest texts to the most.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Rows, Self::Everything];

    fn includes(self, shape: Option<Shape>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Rows => !shape.is_some_and(Shape::is_of_parameters),
            Self::Everything => true,
        }
    }
}

impl Plan {
    /// The same plan for tensors that lie so; [`Plan::pooled`] is the least that has its text.
    #[must_use]
    pub fn with_pooled(self, pooled: Pooled) -> Self {
        let used = self.used();
        let is_read = |used: &&Used| used.bound == used.tensor && used.uses.writes == 0;
        let read: Vec<Option<Shape>> = used.iter().filter(is_read).map(|used| Some(used.shape)).collect();
        let has_text_of =
            |less: &Pooled| read.iter().all(|shape| less.includes(*shape) == pooled.includes(*shape));
        Self { pooled: Pooled::ALL.into_iter().find(has_text_of).unwrap_or(pooled), ..self }
    }

    /// Whether the shader binds a tensor `read_write`: because it writes to it, or because the tensor lies in
    /// the buffer of one that it writes to.
    #[must_use]
    pub fn binds_read_write(&self, tensor: Tensor) -> bool {
        self.writes(tensor) || self.pooled.includes(self.shape(tensor))
    }

    /// What `is_shared`, whether two tensors lie in one buffer, asks for.
    #[cfg(any(feature = "gpu", test))]
    pub(crate) fn pooled_by(&self, is_shared: impl Fn(Tensor, Tensor) -> bool) -> Pooled {
        let tensors = self.tensors();
        // What is bound read_write for the sake of one tensor must not meet another in a third buffer.
        let suits = |pooled: &Pooled| {
            let plan = Self { pooled: *pooled, ..*self };
            let differ = |a: Tensor, b: Tensor| plan.binds_read_write(a) != plan.binds_read_write(b);
            !tensors.iter().any(|a| tensors.iter().any(|b| differ(*a, *b) && is_shared(*a, *b)))
        };
        Pooled::ALL.into_iter().find(suits).unwrap_or(Pooled::Everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Backward, Caps, Forward};
    use crate::types::{Gradient, Problem};

    fn plans() -> [Plan; 2] {
        let problem = Problem { cols: 64, ..Problem::default() };
        let caps = Caps::webgpu_default();
        let backward = Backward { dgain: Some(Gradient::Overwrite), ..Backward::default() };
        [
            Plan::forward(&problem, Forward { statistics: true, ..Forward::default() }, 8, &caps).unwrap(),
            Plan::reduce_parameters(&problem, backward, 8, &caps).unwrap(),
        ]
    }

    #[test]
    fn what_lies_with_an_output_is_bound_as_one() {
        use Tensor::{Bias, Dgain, Gain, Partials, Statistics, X, Y};
        let [forward, reduce] = plans();
        let pooled = |plan: &Plan, pools: &[&[Tensor]]| {
            plan.pooled_by(|a, b| pools.iter().any(|pool| pool.contains(&a) && pool.contains(&b)))
        };
        for (pools, expected) in [
            (&[][..], Pooled::Nothing),
            // Read alone, or written alone.
            (&[&[X, Gain, Bias][..], &[Y, Statistics]], Pooled::Nothing),
            (&[&[X, Y]], Pooled::Rows),
            (&[&[X, Statistics]], Pooled::Rows),
            (&[&[Gain, Y]], Pooled::Everything),
            // x is bound as y is, and gain lies with x.
            (&[&[X, Gain], &[X, Y]], Pooled::Everything),
            (&[&[X, Gain, Bias, Y, Statistics]], Pooled::Everything),
        ] {
            assert_eq!(pooled(&forward, pools), expected, "{pools:?}");
        }
        assert_eq!(pooled(&reduce, &[&[Partials, Dgain]]), Pooled::Rows);
    }

    #[test]
    fn plans_with_one_text_are_one() {
        let [forward, reduce] = plans();
        let distinct = |plan: Plan| Pooled::ALL.map(|pooled| plan.with_pooled(pooled).pooled);
        assert_eq!(distinct(forward), Pooled::ALL);
        // No gain, no bias.
        assert_eq!(distinct(reduce), [Pooled::Nothing, Pooled::Rows, Pooled::Rows]);
    }
}
