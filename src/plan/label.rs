//! The names of plans.

use super::{Operation, Plan, Pooled, Reduction, Tensor};
use crate::types::Gradient;

impl Plan {
    /// A name that tells variants apart: kernel, storage, shape and options.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = format!(
            "{}/{}x{}/{}/{}/cols{}/{}x{}",
            self.kernel.name(),
            self.row_storage.name(),
            self.vector_width,
            self.normalization.name(),
            self.affine.name(),
            self.cols,
            self.threads_per_row,
            self.rows_per_workgroup,
        );
        if self.kernel.is_split() {
            label += &format!("/chunks{}", self.chunks);
        }
        if self.parameter_storage != self.row_storage {
            label += "/parameters_";
            label += self.parameter_storage.name();
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
        for (name, present) in self.options() {
            if present {
                label += "/";
                label += name;
            }
        }
        label
    }

    fn options(&self) -> Vec<(&'static str, bool)> {
        match self.operation {
            Operation::Forward(forward) => vec![
                ("residual", forward.residual),
                ("statistics", forward.statistics),
                ("x_in_y", forward.x_in == Some(Tensor::Y)),
                ("x_in_sum", forward.x_in == Some(Tensor::Sum)),
                ("residual_in_y", forward.residual_in == Some(Tensor::Y)),
                ("residual_in_sum", forward.residual_in == Some(Tensor::Sum)),
            ],
            Operation::Backward(backward) | Operation::ReduceParameters(backward) => vec![
                ("dx", backward.dx.is_some()),
                ("dx_accumulate", backward.dx == Some(Gradient::Accumulate)),
                ("dgain", backward.dgain.is_some()),
                ("dgain_accumulate", backward.dgain == Some(Gradient::Accumulate)),
                ("dbias", backward.dbias.is_some()),
                ("dbias_accumulate", backward.dbias == Some(Gradient::Accumulate)),
                ("x_in_dx", backward.x_in_dx),
                ("dy_in_dx", backward.dy_in_dx),
            ],
        }
    }
}
