//! The names of plans.

use super::{Plan, Pooled, Reduction, Stored, Strides};

impl Plan {
    /// A name that tells variants apart: kernel, storage, shape and options.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = format!(
            "{}/{}x{}/{}/{}/cols{}/{}x{}",
            self.kernel.name(),
            self.storages[Stored::AsRows].name(),
            self.vector_width,
            self.normalization.name(),
            self.affine.name(),
            self.cols,
            self.threads_per_row,
            self.rows_per_workgroup,
        );
        if self.activation.is_some() {
            label += &format!("/{}", self.activation);
        }
        if self.kernel.is_split() {
            label += &format!("/chunks{}", self.chunks);
        }
        if let Some(channels) = self.channels {
            label += &format!("/channels{}x{}", channels.per_row(), channels.spatial);
            if channels.shares_affine {
                label += "/shared";
            }
        }
        for (stored, storage) in self.storages.each() {
            if storage != self.storages[Stored::AsRows] {
                label += &format!("/{}_{}", stored.name(), storage.name());
            }
        }
        match self.reduction {
            Reduction::Thread => label += "/thread",
            Reduction::Lanes => label += "/lanes",
            Reduction::Adaptive => label += "/adaptive",
            Reduction::Subgroup => label += "/subgroup",
            Reduction::Subgroups(min) => label += &format!("/subgroups{min}"),
            Reduction::Workgroup => label += "/workgroup",
        }
        if self.block_rows > 1 {
            label += &format!("/blocks{}", self.block_rows);
        }
        if self.unroll {
            label += "/unrolled";
        }
        if self.short {
            label += "/short";
        }
        if self.hold_parameters {
            label += "/hold_parameters";
        }
        if self.partial_gradients != self.parameter_gradients() {
            label += &format!("/of{}", self.partial_gradients);
        }
        if self.branch {
            label += "/branch";
        }
        if self.combine_slots {
            label += "/combine_slots";
        }
        label += match self.pooled {
            Pooled::Nothing => "",
            Pooled::Rows => "/pooled_rows",
            Pooled::Everything => "/pooled",
        };
        label += match self.strides {
            Strides::Dense => "",
            Strides::Rows => "/strided",
            Strides::Columns => "/outer_columns",
            Strides::Across => "/across",
        };
        label + &self.operation.options_label()
    }
}
