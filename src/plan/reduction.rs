//! How the threads of a row add up.

/// How the threads of a row add up their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reduction {
    /// One thread holds the row.
    Thread,
    /// The row's threads are a part of every subgroup: an exchange between lanes, no barrier.
    Lanes,
    /// The row's threads may be a part of a subgroup or several, and a workgroup's subgroups may be full or
    /// not: an exchange between as many lanes as there are, and one barrier.
    Adaptive,
    /// The row's threads are exactly a subgroup, and that a workgroup: one subgroup operation, no barrier.
    Subgroup,
    /// The row's threads are a workgroup of several subgroups: a subgroup operation and one barrier. The
    /// number is the smallest subgroup size that there may be, which bounds how many partial sums there are.
    Subgroups(u32),
    /// A tree in workgroup memory, for adapters without subgroup operations.
    Workgroup,
}

impl Reduction {
    /// `thread`, `lanes`, `subgroup`, `adaptive`, `subgroups` or `workgroup`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Lanes => "lanes",
            Self::Subgroup => "subgroup",
            Self::Adaptive => "adaptive",
            Self::Subgroups(_) => "subgroups",
            Self::Workgroup => "workgroup",
        }
    }

    /// Bytes of workgroup memory that a workgroup of `invocations` takes to add up values of `sums` bytes.
    pub(super) const fn workgroup_bytes(self, invocations: u32, sums: u32) -> u32 {
        // Two halves, used in turn, so that one barrier a reduction is enough.
        let in_turn = 2 * sums;
        match self {
            Self::Thread | Self::Lanes | Self::Subgroup => 0,
            Self::Adaptive => invocations.saturating_mul(in_turn),
            // 0 divides nothing, and is no plan's.
            Self::Subgroups(0) => u32::MAX,
            Self::Subgroups(min) => invocations.div_ceil(min).saturating_mul(in_turn),
            Self::Workgroup => invocations.saturating_mul(sums),
        }
    }
}
