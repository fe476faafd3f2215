//! Cutting a call into dispatches that keep an adapter's limits.

use super::across::MOST_ROWS;
use super::strides::{inner_columns, place_among_inner_rows};
use super::{Caps, Kernel, Plan, Span};
use crate::error::Error;
use crate::types::Channels;

/// One dispatch of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispatch {
    /// The first row.
    pub first_row: u64,
    /// How many rows.
    pub rows: u32,
    /// Workgroups in x and y; z is 1. The shader numbers them `y * x_count + x`, and there may be a few too
    /// many.
    pub workgroups: [u32; 2],
    /// How many partial sums of the parameter gradients it leaves, one for each slot, workgroup or sample.
    /// All dispatches of a call share them, so that scratch does not grow with their number.
    pub partial_rows: u32,
    /// How many of them the dispatches before this one have left: those are added to, the others written
    /// anew.
    pub earlier_partial_rows: u32,
    /// The rows inside an outer row, where a tensor has such, and the groups of a sample, where rows are
    /// groups; else 1.
    pub inner_rows: u32,
    /// Which row of its outer row the first row is.
    pub first_inner_row: u32,
    /// The columns inside an outer column, where a tensor has such; else all of the plan's.
    pub inner_columns: u32,
}

/// More than any tensor takes: what would fill the host's memory with dispatches is refused.
const MOST_DISPATCHES: usize = 1 << 20;

impl Plan {
    /// The dispatches of a call over `rows` rows, whose tensors lie as `spans` says. Rows beyond one storage
    /// binding or one grid are cut into several dispatches. Without rows there is no dispatch.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where not even one row fits a binding or a grid, and where there would be more
    /// than 2^20 dispatches; [`Error::Invalid`] where a span is, where rows are not as many as the plan's
    /// channels or accesses ask for, and those of [`Plan::validate`] and [`Caps::validate`].
    pub fn dispatches(&self, rows: u64, spans: &[Span], caps: &Caps) -> Result<Vec<Dispatch>, Error> {
        self.validate()?;
        caps.validate()?;
        if let Some(channels) = self.channels {
            channels.check_rows(rows)?;
        }
        spans.iter().try_for_each(|span| span.validate(rows))?;
        self.check_across(rows, spans)?;
        // Shaders count elements in u32; a binding this long has fewer than 2^31 of them.
        let most_bytes = caps.max_binding_bytes.min(u64::from(u32::MAX)) / 4 * 4;
        let most_rows = self.most_rows_per_dispatch(caps);
        if most_rows == 0 {
            return Err(Error::unsupported(
                "workgroups of a dispatch, for one row,",
                most_workgroups(caps),
                format!("at least {}", self.chunks),
            ));
        }
        let inner_rows = self.inner_rows(spans)?;
        let inner_columns = inner_columns(spans, self.cols)?;
        let mut dispatches = Vec::new();
        let (mut first_row, mut earlier_partial_rows) = (0, 0);
        while first_row < rows {
            if dispatches.len() == MOST_DISPATCHES {
                return Err(Error::unsupported(
                    "rows of one call",
                    format!("{first_row} in {MOST_DISPATCHES} dispatches"),
                    format!("{rows} rows"),
                ));
            }
            let mut count = (rows - first_row).min(most_rows);
            for span in spans {
                let fit = span.rows_in_window(first_row, caps.storage_alignment, most_bytes);
                let fit = self.in_accesses(fit, rows - first_row);
                if fit == 0 {
                    let of_access = u64::from(self.access_rows()).min(rows - first_row);
                    let (_, needs) = span.window(first_row, of_access, caps.storage_alignment);
                    let of_access =
                        if of_access == 1 { "one row".to_owned() } else { format!("{of_access} rows") };
                    return Err(Error::unsupported(
                        "storage buffer binding size in bytes",
                        most_bytes,
                        format!("at least {needs} for {of_access}"),
                    ));
                }
                count = count.min(fit);
            }
            count = self.in_accesses(self.in_samples(first_row, count), rows - first_row);
            let groups = self.dealt_groups();
            if !count.is_multiple_of(groups.into()) {
                let needs = format!("at least {groups}, those of a sample");
                return Err(Error::unsupported(
                    "rows of a dispatch whose workgroups have a group each",
                    count,
                    needs,
                ));
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let dispatch = self.dispatch(first_row, count, earlier_partial_rows, caps);
            let [first_inner_row, inner_rows] = place_among_inner_rows(first_row, inner_rows);
            let dispatch = Dispatch { inner_rows, first_inner_row, inner_columns, ..dispatch };
            first_row += u64::from(count);
            earlier_partial_rows = self.partial_rows_after(&dispatch);
            dispatches.push(dispatch);
        }
        Ok(dispatches)
    }

    /// The dispatch of `rows` rows from `first_row` on, which are no more than fit one.
    pub(crate) fn dispatch(
        &self,
        first_row: u64,
        rows: u32,
        earlier_partial_rows: u32,
        caps: &Caps,
    ) -> Dispatch {
        let slots = self.slots(rows.into());
        Dispatch {
            first_row,
            rows,
            workgroups: grid(self.workgroups(rows.into()) * self.chunks, caps.max_workgroups),
            partial_rows: self
                .samples(rows.into())
                .unwrap_or_else(|| self.partial_rows(slots / self.dealt_groups())),
            earlier_partial_rows,
            inner_rows: 1,
            first_inner_row: 0,
            inner_columns: self.cols,
        }
    }

    /// The one dispatch of `backward_reduce_parameters`: a workgroup for each step of columns. Of
    /// [`Plan::reduce_shared`] its rows are the partial sums of each sample.
    #[must_use]
    pub fn reduce_dispatch(&self, partial_rows: u32, caps: &Caps) -> Dispatch {
        let groups = self.reduced_groups();
        Dispatch {
            first_row: 0,
            rows: partial_rows.saturating_mul(groups),
            workgroups: grid(self.steps, caps.max_workgroups),
            partial_rows,
            earlier_partial_rows: 0,
            inner_rows: groups,
            first_inner_row: 0,
            inner_columns: self.cols,
        }
    }

    pub(super) fn most_rows_per_dispatch(&self, caps: &Caps) -> u64 {
        let workgroups = most_workgroups(caps) / u64::from(self.chunks.max(1));
        // Each group may have a workgroup that is not full.
        let rows_at_a_time = if self.deals_heads() { 1 } else { self.rows_at_a_time() };
        let most = if self.is_across() { MOST_ROWS } else { 1 << 31 };
        let by_grid = (workgroups * u64::from(rows_at_a_time)).min(most);
        match self.kernel {
            Kernel::BackwardReduceParameters => by_grid,
            // A slot walks its rows in a loop, whose trips are limited on some adapters.
            Kernel::ForwardCached
            | Kernel::ForwardStreamed
            | Kernel::ForwardSplitStatistics
            | Kernel::ForwardSplitApply
            | Kernel::BackwardCached
            | Kernel::BackwardStreamed
            | Kernel::BackwardSplitSums
            | Kernel::BackwardSplitApply
            | Kernel::BackwardChannelSums => {
                let trips = u64::from(caps.max_loop_trips) / self.loop_trips_per_row();
                let block_rows = u64::from(self.block_rows.max(1));
                let rows = trips / block_rows * block_rows;
                let most_slots = u64::from(self.most_slots()) * u64::from(self.dealt_groups());
                let by_slots = by_grid.min(rows.max(1) * most_slots);
                match self.channels_of_sums() {
                    Some(Channels { groups, .. }) => {
                        let most = by_slots.min(u64::from(self.max_partial_rows) * u64::from(groups));
                        self.in_samples(0, most)
                    }
                    None => self.in_samples(0, by_slots),
                }
            }
        }
    }
}

/// The most workgroups of a dispatch. Near-square grids have a few more than they need: of half as many as
/// numbers, none exceeds 32 bits.
pub(super) fn most_workgroups(caps: &Caps) -> u64 {
    u64::from(caps.max_workgroups).pow(2).min(1 << 31)
}

/// Workgroups in x and y, at most `most` each, with as few too many as a near-square has.
fn grid(workgroups: u32, most: u32) -> [u32; 2] {
    let y = workgroups.div_ceil(most.max(1)).max(1);
    [workgroups.div_ceil(y), y]
}
