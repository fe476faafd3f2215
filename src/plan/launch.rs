//! The numbers of a dispatch as formulas of its rows, for hosts that have no [`Plan`]: data that any language
//! can evaluate.

use super::{Caps, Kernel, Operation, Plan};

/// A whole number that depends on the rows of a dispatch. No part of one is beyond 2^53 for the rows that
/// [`Launch::most_rows`] allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formula {
    /// The rows of the dispatch.
    Rows,
    /// A number.
    Number(u64),
    /// A product.
    Multiply(Box<[Self; 2]>),
    /// A quotient, rounded down.
    Divide(Box<[Self; 2]>),
    /// A quotient, rounded up.
    DivideUp(Box<[Self; 2]>),
    /// The smaller of two.
    Min(Box<[Self; 2]>),
    /// The larger of two.
    Max(Box<[Self; 2]>),
}

impl Formula {
    /// Its value for a number of rows. What is divided by 0, in no [`Launch`] of this crate, is 0.
    #[must_use]
    pub fn evaluate(&self, rows: u64) -> u64 {
        let pair = |operands: &[Self; 2]| (operands[0].evaluate(rows), operands[1].evaluate(rows));
        match self {
            Self::Rows => rows,
            Self::Number(number) => *number,
            Self::Multiply(operands) => {
                let (a, b) = pair(operands);
                a.saturating_mul(b)
            }
            Self::Divide(operands) => {
                let (a, b) = pair(operands);
                a.checked_div(b).unwrap_or(0)
            }
            Self::DivideUp(operands) => {
                let (a, b) = pair(operands);
                if b == 0 { 0 } else { a.div_ceil(b) }
            }
            Self::Min(operands) => {
                let (a, b) = pair(operands);
                a.min(b)
            }
            Self::Max(operands) => {
                let (a, b) = pair(operands);
                a.max(b)
            }
        }
    }

    fn times(self, other: impl Into<Self>) -> Self {
        match (self, other.into()) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a.saturating_mul(b)),
            (Self::Number(0), _) | (_, Self::Number(0)) => Self::Number(0),
            (factor, Self::Number(1)) | (Self::Number(1), factor) => factor,
            (a, b) => Self::Multiply(Box::new([a, b])),
        }
    }

    fn over(self, other: impl Into<Self>) -> Self {
        Self::Divide(Box::new([self, other.into()]))
    }

    fn over_up(self, other: impl Into<Self>) -> Self {
        match (self, other.into()) {
            (Self::Number(a), Self::Number(b)) if b > 0 => Self::Number(a.div_ceil(b)),
            (quotient, Self::Number(1)) => quotient,
            (Self::Multiply(factors), divisor) if factors[1] == divisor => {
                let [quotient, _] = *factors;
                quotient
            }
            (a, b) => Self::DivideUp(Box::new([a, b])),
        }
    }

    fn at_most(self, other: impl Into<Self>) -> Self {
        Self::Min(Box::new([self, other.into()]))
    }

    fn at_least(self, other: impl Into<Self>) -> Self {
        match (self, other.into()) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a.max(b)),
            (a, b) => Self::Max(Box::new([a, b])),
        }
    }
}

impl From<u64> for Formula {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Formula {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// How a dispatch is launched, by its rows. [`Plan::dispatches`] gives the same numbers, and cuts calls into
/// dispatches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Launch {
    /// The most rows of one dispatch. A binding that is too short for that many cuts a call sooner.
    pub most_rows: u64,
    /// The rows of a dispatch are a multiple of this: of an access's rows, or of the groups that workgroups
    /// are dealt to.
    pub rows_multiple: u32,
    /// The uniform's `slot_rows`.
    pub slot_rows: Formula,
    /// Workgroups in x and in y; there is one in z. The first is the uniform's `workgroups_x` too.
    pub workgroups: [Formula; 2],
    /// Partial sums of the parameter gradients that the dispatch leaves: the rows of
    /// `backward_reduce_parameters`.
    pub partial_rows: Formula,
    /// Bytes of the partial sums, which the dispatches of a call share.
    pub scratch_bytes: Formula,
    /// Bytes of the partial moments or sums of rows, which the two split kernels share.
    pub row_partials_bytes: Formula,
}

impl Plan {
    /// The launch of this plan's dispatches. For `backward_reduce_parameters`, whose one dispatch adds up
    /// partial sums, these are its rows.
    #[must_use]
    pub fn launch(&self, caps: &Caps) -> Launch {
        let gradients = self.parameter_gradients();
        let per_workgroup = self.rows_per_workgroup;
        // Of each group that workgroups are dealt to.
        let groups = self.dealt_groups();
        let rows = if groups == 1 { Formula::Rows } else { Formula::Rows.over(groups) };
        let wanted = match self.rows_per_slot {
            1 => Formula::from(1_u32),
            most => Formula::Rows.over(self.least_slots).at_least(1_u32).at_most(most),
        };
        let wanted = match self.has_slot_sums() {
            true => wanted.at_least(rows.clone().over_up(self.most_slots())),
            false => wanted,
        };
        let slot_rows = wanted.over_up(self.block_rows).times(self.block_rows);
        let row_groups = rows.over_up(slot_rows.clone().times(self.rows_at_a_time()));
        let workgroups = match self.kernel {
            Kernel::BackwardReduceParameters => Formula::from(self.steps),
            _ => row_groups.clone().times(groups).times(self.chunks),
        };
        let y = workgroups.clone().over_up(caps.max_workgroups).at_least(1_u32);
        let leaves_partials = matches!(self.operation, Operation::Backward(_)) && gradients > 0;
        let partial_rows = match self.channels_of_sums() {
            Some(channels) => Formula::Rows.over_up(channels.groups),
            None if leaves_partials => row_groups.times(self.partial_rows(per_workgroup)),
            None => Formula::from(0_u32),
        };
        Launch {
            most_rows: match self.kernel {
                Kernel::BackwardReduceParameters => self.max_partial_rows.into(),
                _ => self.most_rows_per_dispatch(caps),
            },
            rows_multiple: groups.max(self.access_rows()),
            slot_rows,
            workgroups: [workgroups.over_up(y.clone()), y],
            row_partials_bytes: Formula::Rows.times(self.row_partials_bytes(1)),
            scratch_bytes: partial_rows
                .clone()
                .times(u64::from(gradients) * u64::from(self.parameters()) * 4),
            partial_rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AdapterKind, Backward};
    use crate::shader::variants;
    use crate::types::{Channels, Gradient, Problem};

    #[test]
    fn a_launch_is_the_dispatch_of_its_rows() {
        for variants::Variant { plan, caps } in variants::all().unwrap() {
            let launch = plan.launch(&caps);
            let near = |rows: u64| [rows.saturating_sub(1), rows, rows + 1];
            let rows = [1, 4, 37, 512, 1024, 8192, 65_535 * 4, 1 << 20, launch.most_rows];
            let multiple = u64::from(launch.rows_multiple);
            let is_one = |rows: &u64| (1..=launch.most_rows).contains(rows) && rows.is_multiple_of(multiple);
            for rows in rows.into_iter().flat_map(near).filter(is_one) {
                let dispatch = match plan.kernel {
                    Kernel::BackwardReduceParameters => {
                        plan.reduce_dispatch(u32::try_from(rows).unwrap(), &caps)
                    }
                    _ => {
                        let dispatches = plan.dispatches(rows, &[], &caps).unwrap();
                        assert_eq!(dispatches.len(), 1, "{rows} rows of {}", plan.label());
                        dispatches[0]
                    }
                };
                let workgroups = dispatch.workgroups.map(u64::from);
                assert_eq!(
                    [&launch.workgroups[0], &launch.workgroups[1]].map(|count| count.evaluate(rows)),
                    workgroups,
                    "{rows} rows of {}",
                    plan.label()
                );
                if plan.kernel == Kernel::BackwardReduceParameters {
                    continue;
                }
                assert_eq!(
                    launch.slot_rows.evaluate(rows),
                    u64::from(plan.slot_rows(rows)),
                    "{rows} {plan:?}"
                );
                assert_eq!(launch.partial_rows.evaluate(rows), u64::from(dispatch.partial_rows), "{plan:?}");
                assert_eq!(launch.scratch_bytes.evaluate(rows), plan.scratch_bytes(&[dispatch]), "{plan:?}");
                assert_eq!(launch.row_partials_bytes.evaluate(rows), plan.row_partials_bytes(rows));
            }
            if plan.kernel != Kernel::BackwardReduceParameters {
                let more = plan.dispatches(launch.most_rows + multiple, &[], &caps).unwrap();
                assert_eq!(more.len(), 2, "{} takes more than most_rows", plan.label());
            }
        }
    }

    /// Workgroups that are dealt to heads, as many to each.
    #[test]
    fn a_launch_of_heads_is_the_dispatch_of_their_rows() {
        let backward = Backward {
            dx: Some(Gradient::Overwrite),
            dgain: Some(Gradient::Overwrite),
            dbias: Some(Gradient::Overwrite),
            ..Backward::default()
        };
        let most_partial_rows = |plan: &Plan, rows: u64| {
            let fewer = [3, rows / 7, rows / 2, rows - 3].map(|rows| (rows / 3 * 3).max(3));
            let left = fewer.map(|rows| plan.dispatches(rows, &[], &Caps::webgpu_default()).unwrap()[0]);
            left.iter().map(|dispatch| dispatch.partial_rows).max().unwrap()
        };
        for (kind, cols) in [(AdapterKind::Gpu, 64), (AdapterKind::Gpu, 40_000), (AdapterKind::Software, 64)]
        {
            let caps = Caps { kind, ..Caps::webgpu_default() };
            let problem = Problem { channels: Some(Channels::of_heads(3, cols)), ..Problem::layer(cols) };
            let plan = Plan::backward(&problem, backward, 8, &caps).unwrap();
            assert!(plan.deals_heads(), "{}", plan.label());
            let launch = plan.launch(&caps);
            assert_eq!(launch.most_rows % 3, 0);
            for rows in [3, 6, 111, 4095, 3 * 65_535, 3 << 20] {
                let rows = rows.min(launch.most_rows);
                let [dispatch] = plan.dispatches(rows, &[], &caps).unwrap()[..] else {
                    panic!("{rows} rows")
                };
                let workgroups = [0, 1].map(|axis| launch.workgroups[axis].evaluate(rows));
                assert_eq!(workgroups, dispatch.workgroups.map(u64::from), "{rows} rows");
                assert_eq!(launch.slot_rows.evaluate(rows), u64::from(plan.slot_rows(rows)));
                assert_eq!(launch.partial_rows.evaluate(rows), u64::from(dispatch.partial_rows));
                assert_eq!(launch.scratch_bytes.evaluate(rows), plan.scratch_bytes(&[dispatch]));
                let most = most_partial_rows(&plan, rows).max(dispatch.partial_rows);
                assert!(most <= plan.most_partial_rows(rows), "{rows} rows leave {most}");
            }
        }
    }
}
