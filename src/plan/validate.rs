//! Numbers that no adapter and no plan can have, refused before anything divides by them.

use super::across::ACCESS_ROWS;
use super::ladder::{MOST_BLOCK_ROWS, MOST_INVOCATIONS, MOST_WORKGROUP_ROWS};
use super::sums::GATED_GRADIENTS;
use super::{Caps, Kernel, Plan, Reduction, RegisterBudget, Storage, Stored, SubgroupSizes};
use crate::error::Error;
use crate::types::{Dtype, Problem};

impl SubgroupSizes {
    /// The sizes from `min` to `max`, if both are powers of two and `4 <= min <= max <= 128`, as WebGPU has
    /// them.
    #[must_use]
    pub const fn new(min: u32, max: u32) -> Option<Self> {
        let sizes = Self { min, max };
        if sizes.are_plausible() { Some(sizes) } else { None }
    }

    /// No subgroup of WebGPU is smaller.
    pub(super) const LEAST: u32 = 4;

    const fn are_plausible(self) -> bool {
        let Self { min, max } = self;
        min.is_power_of_two() && max.is_power_of_two() && Self::LEAST <= min && min <= max && max <= 128
    }
}

impl Caps {
    /// Whether a device can have these numbers. Plans are made for no others. A limit that is merely low is
    /// no fault here: what exceeds it is [unsupported](Error::is_unsupported).
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that no device has.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(sizes) = self.subgroup
            && !sizes.are_plausible()
        {
            let SubgroupSizes { min, max } = sizes;
            let needs = "two powers of two from 4 to 128, the smaller first";
            return Err(Error::invalid("subgroup", format!("{min}..{max}"), needs));
        }
        let counts = [("max_invocations", self.max_invocations), ("max_workgroups", self.max_workgroups)];
        if let Some((field, value)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(field, value, "1 or more"));
        }
        if self.storage_alignment < 4 || !self.storage_alignment.is_power_of_two() {
            return Err(Error::invalid("storage_alignment", self.storage_alignment, "a power of two from 4"));
        }
        let most = RegisterBudget::MOST.fields();
        for ((field, value), (_, most)) in self.registers.fields().into_iter().zip(most) {
            if value == 0 || value > most {
                return Err(Error::invalid(field, value, format!("1 to {most}")));
            }
        }
        if !self.registers.block_rows.is_power_of_two() {
            return Err(Error::invalid("registers.block_rows", self.registers.block_rows, "a power of two"));
        }
        Ok(())
    }

    /// The caps to plan with: validated, and without more invocations than any device has.
    pub(super) fn for_plans(&self) -> Result<Self, Error> {
        self.validate()?;
        Ok(Self { max_invocations: self.max_invocations.min(MOST_INVOCATIONS), ..*self })
    }
}

impl Plan {
    /// Whether the plan's numbers go together, as those of a plan that this crate has made do.
    /// [`Plan::check`], [`Plan::dispatches`] and [`assemble`](crate::shader::assemble) refuse others, whose
    /// kernels would leave out values, or end nowhere.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |field: &str, has: u32, needs: String| {
            Err(Error::invalid(format!("the plan's {field}"), has, needs))
        };
        if self.cols == 0 || self.cols > Problem::MAX_COLS {
            return wrong("cols", self.cols, format!("1 to {}", Problem::MAX_COLS));
        }
        if (self.wants_whole_rows() && self.kernel.is_split()) || (self.writes_codes() && self.is_across()) {
            let needs = "one of whole rows with codes, from y and with dgate, and with codes not across";
            return Err(Error::invalid("the plan's kernel", self.kernel, needs));
        }
        if let Some(channels) = self.channels {
            let per_row = if self.kernel == Kernel::BackwardChannelSums { channels.per_row() } else { 1 };
            channels.validate(self.cols.saturating_mul(per_row))?;
            let changes_gain = self.affine.has_gain() && self.changes_parameters();
            if changes_gain && self.block_rows > 1 {
                return wrong(
                    "block_rows",
                    self.block_rows,
                    "1: of channels, each row has others".to_owned(),
                );
            }
            if changes_gain && self.hold_parameters {
                let needs = "false: of channels, each row has others";
                return Err(Error::invalid("the plan's hold_parameters", true, needs));
            }
            if self.row_cols() > Problem::MAX_COLS.into() {
                let needs = format!("channels of at most {} values together", Problem::MAX_COLS);
                return Err(Error::invalid("the plan's channels", self.row_cols(), needs));
            }
        } else if self.kernel == Kernel::BackwardChannelSums {
            return Err(Error::invalid("the plan's channels", "none", "there, as it sums over those"));
        }
        let gradients = self.parameter_gradients();
        if self.partial_gradients < gradients || self.partial_gradients > GATED_GRADIENTS {
            let needs = format!("{gradients} to {GATED_GRADIENTS}, with those of the operation among them");
            return wrong("partial_gradients", self.partial_gradients, needs);
        }
        if self.kernel == Kernel::BackwardChannelSums && self.parameter_gradients() == 0 {
            return Err(Error::invalid("sums over channels", "of nothing", "of dgain or dbias"));
        }
        let rows = || std::iter::once(&Stored::AsRows).chain(Stored::OTHERS);
        let are_f32 = rows().all(|stored| self.storages[*stored] == Storage::F32);
        let dtype = if are_f32 { Dtype::F32 } else { Dtype::F16 };
        // float16 of WGSL's own is for rows whose values do not pair up.
        let narrow = if self.uses_native_f16() { 1 } else { Self::max_vector_width(dtype, self.cols) };
        // Of 64-bit words as many again, where all of a row is in such words.
        let has_words = narrow == 16 / dtype.size() && self.cols.is_multiple_of(2 * narrow);
        let widest = if has_words && self.short { 2 * narrow } else { narrow };
        let widest = if self.is_across() { ACCESS_ROWS } else { widest };
        if !self.vector_width.is_power_of_two() || self.vector_width > widest {
            return wrong("vector_width", self.vector_width, format!("a power of two of at most {widest}"));
        }
        for (field, value, most) in [
            ("threads_per_row", self.threads_per_row, MOST_INVOCATIONS),
            ("rows_per_workgroup", self.rows_per_workgroup, MOST_INVOCATIONS),
            ("block_rows", self.block_rows, MOST_BLOCK_ROWS * self.access_rows()),
        ] {
            if !value.is_power_of_two() || value > most {
                return wrong(field, value, format!("a power of two of at most {most}"));
            }
        }
        if self.block_rows < self.access_rows() {
            return wrong("block_rows", self.block_rows, format!("{ACCESS_ROWS} or more, as an access has"));
        }
        if let Reduction::Subgroups(min) = self.reduction
            && !(min.is_power_of_two() && min <= MOST_INVOCATIONS)
        {
            let needs = format!("a power of two of at most {MOST_INVOCATIONS}");
            return wrong("smallest subgroup of reduction", min, needs);
        }
        for (field, value) in [("least_slots", self.least_slots), ("max_partial_rows", self.max_partial_rows)]
        {
            if value == 0 {
                return wrong(field, value, "1 or more".to_owned());
            }
        }
        let most_rows = MOST_WORKGROUP_ROWS / self.rows_per_workgroup;
        if self.rows_per_slot == 0 || self.rows_per_slot > most_rows {
            return wrong("rows_per_slot", self.rows_per_slot, format!("1 to {most_rows}"));
        }
        // All steps of all chunks cover the row, and each chunk has a column.
        let step_cols = u64::from(self.step_cols());
        let chunk_cols = u64::from(self.steps) * step_cols;
        let needs = (u64::from(self.cols).div_ceil(step_cols)).div_ceil(self.chunks.max(1).into());
        if self.chunks == 0 || u64::from(self.chunks - 1).saturating_mul(chunk_cols) >= self.cols.into() {
            return wrong("chunks", self.chunks, format!("as many as {} columns have", self.cols));
        }
        if u64::from(self.steps) < needs || chunk_cols >= u64::from(self.cols) + step_cols {
            return wrong("steps", self.steps, format!("{needs}, so that they cover {} columns", self.cols));
        }
        Ok(())
    }
}
