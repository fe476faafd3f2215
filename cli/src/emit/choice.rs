//! Which variant: the operation and its options, and the adapter or the limits to plan for.

use super::flags::{Choice, OperationFlag, Subgroups};
use crate::compute::Compute;
use crate::failure::Failure;
use wgpu_layernorm::plan::{Backward, Caps, Forward, Operation, Plan, Strides, Tensor};
use wgpu_layernorm::shader::variants::Variant;
use wgpu_layernorm::{Affine, Channels, Dtype, Error, Gradient, Problem};

/// The failure of a wrong field, by the flag that has its name.
fn by_flag(error: Error) -> Failure {
    match error {
        Error::Invalid { what, has, needs } if what == "channels.count" => {
            wrong(format!("--channels is {has}, needs to be {needs}"))
        }
        Error::Invalid { what, .. } if what == "channels.spatial" => {
            wrong("--cols is less than the channels of a group, --channels by --groups")
        }
        Error::Invalid { what, has, needs }
            if what.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()) =>
        {
            wrong(format!("--{} is {has}, needs to be {needs}", what.replace('_', "-")))
        }
        error => error.into(),
    }
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::WrongCall(message.into())
}

impl Choice {
    /// With `--all` nothing is chosen.
    pub(crate) fn refuse_beside_all(&self) -> Result<(), Failure> {
        let given = [
            ("--operation", self.operation.is_some()),
            ("--cols", self.cols.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--parameter-dtype", self.parameter_dtype.is_some()),
            ("--normalization", self.normalization.is_some()),
            ("--affine", self.affine.is_some()),
            ("--activation", self.activation.is_some()),
            ("--option", !self.option.is_empty()),
            ("--vector-width", self.vector_width.is_some()),
            ("--channels", self.channels.is_some()),
            ("--groups", self.groups.is_some()),
            ("--shared-affine", self.shared_affine),
            ("--strided", self.strided),
            ("--outer-columns", self.outer_columns),
            ("--adapter", self.adapter.is_some()),
            ("--kind", self.kind.is_some()),
            ("--subgroup-sizes", self.subgroup_sizes.is_some()),
            ("--full-subgroups", self.full_subgroups),
            ("--shader-f16", self.shader_f16),
            ("--unrolls-loops", self.unrolls_loops),
            ("--max-invocations", self.max_invocations.is_some()),
            ("--max-workgroup-bytes", self.max_workgroup_bytes.is_some()),
            ("--max-storage-buffers", self.max_storage_buffers.is_some()),
            ("--max-workgroups", self.max_workgroups.is_some()),
            ("--max-binding-bytes", self.max_binding_bytes.is_some()),
            ("--storage-alignment", self.storage_alignment.is_some()),
        ];
        let of_operations = self.of_forward().into_iter().chain(self.of_backward());
        match given.into_iter().chain(of_operations).find(|(_, given)| *given) {
            Some((flag, _)) => {
                Err(wrong(format!("--all writes every variant, {flag} chooses one: leave one out")))
            }
            None => Ok(()),
        }
    }

    /// The flags that only forward has, and whether each was given.
    fn of_forward(&self) -> [(&'static str, bool); 3] {
        [
            ("--residual", self.residual),
            ("--statistics", self.statistics),
            ("--residual-in", self.residual_in.is_some()),
        ]
    }

    fn of_backward(&self) -> [(&'static str, bool); 4] {
        [
            ("--dx", self.dx.is_some()),
            ("--dgain", self.dgain.is_some()),
            ("--dbias", self.dbias.is_some()),
            ("--dy-in", self.dy_in.is_some()),
        ]
    }

    pub(crate) fn variant(&self) -> Result<Variant, Failure> {
        let problem = self.problem();
        problem.validate().map_err(by_flag)?;
        let operation = self.operation.unwrap_or(OperationFlag::Forward);
        let are_apart = |channels: Channels| channels.per_row() > 1 && channels.spatial > 1;
        if operation == OperationFlag::ChannelSums && !problem.channels.is_some_and(are_apart) {
            return Err(wrong(
                "--operation channel-sums needs --channels and --groups, with several channels to a group and several \
                 columns to a channel",
            ));
        }
        let vector_width = self.vector_width.unwrap_or(8);
        let least = self.vector_width.unwrap_or(1);
        // Looked for before an adapter is.
        let (forward, backward) = (self.forward(operation)?, self.backward(operation, &problem)?);
        let caps = self.caps()?;
        let plan = match operation {
            OperationFlag::Forward if self.across => Plan::forward_across(&problem, forward, &caps),
            OperationFlag::Backward if self.across => Plan::backward_across(&problem, backward, &caps),
            OperationFlag::Forward => Plan::forward(&problem, forward, vector_width, &caps),
            OperationFlag::ForwardSplitStatistics => {
                Plan::forward_split(&problem, forward, vector_width, &caps).map(|[first, _]| first)
            }
            OperationFlag::ForwardSplitApply => {
                Plan::forward_split(&problem, forward, vector_width, &caps).map(|[_, second]| second)
            }
            OperationFlag::Backward => Plan::backward(&problem, backward, vector_width, &caps),
            OperationFlag::BackwardSplitSums => {
                Plan::backward_split(&problem, backward, vector_width, &caps).map(|[first, _]| first)
            }
            OperationFlag::BackwardSplitApply => {
                Plan::backward_split(&problem, backward, vector_width, &caps).map(|[_, second]| second)
            }
            OperationFlag::ChannelSums => Plan::channel_sums(&problem, backward, vector_width, &caps),
            OperationFlag::ReduceParameters => {
                Plan::reduce_parameters(&problem, backward, vector_width, &caps)
            }
            OperationFlag::ReduceShared => {
                let plan = Plan::reduce_shared(&problem, backward, vector_width, &caps).map_err(by_flag)?;
                Ok(plan.ok_or_else(|| {
                    let needs = "--shared-affine, --option dgate, and --dgain or --dbias";
                    wrong(format!("--operation reduce-shared needs {needs}"))
                })?)
            }
        }
        .map_err(by_flag)?;
        if self.across && !plan.is_across() {
            return Err(wrong(
                "--across is about whole rows, and --operation needs to be forward or backward",
            ));
        }
        let has_row_gain = forward.row_gain || backward.row_gain;
        if has_row_gain && problem.affine != Affine::None {
            return Err(wrong("--option row_gain is in place of gain and bias, and needs --affine none"));
        }
        let strides = match (self.strided, self.outer_columns) {
            (_, true) => Strides::Columns,
            (true, false) => Strides::Rows,
            (false, false) => Strides::Dense,
        };
        if strides == Strides::Rows && operation.is_reduction() {
            return Err(wrong("--strided is about rows, and --operation reduce-parameters has none"));
        }
        if self.outer_columns && operation == OperationFlag::ChannelSums {
            return Err(wrong(
                "--outer-columns are those of one channel, --operation channel-sums walks several",
            ));
        }
        // 8 stands for 16 bytes, which are 4 values of float32, as in partial sums.
        let read = if operation.is_reduction() { Dtype::F32 } else { problem.dtype };
        // Sums over channels take what divides a channel, and add up one by one.
        let is_of_channels = problem.channels.is_some()
            && (operation == OperationFlag::ChannelSums || operation.is_reduction());
        if !is_of_channels && !self.across && plan.vector_width < least.min(Plan::max_vector_width(read, 8)) {
            return Err(wrong(format!(
                "--vector-width is {least}, needs to divide --cols {}, or to be at most {}",
                problem.cols, plan.vector_width
            )));
        }
        let plan = plan.with_strides(strides);
        Ok(Variant { plan: if self.outer_columns { plan.with_sums_apart() } else { plan }, caps })
    }

    fn problem(&self) -> Problem {
        let dtype = self.dtype.unwrap_or_default();
        Problem {
            cols: self.cols.unwrap_or_default(),
            dtype,
            parameter_dtype: self.parameter_dtype.unwrap_or(dtype),
            normalization: self.normalization.unwrap_or_default(),
            affine: self.affine.unwrap_or_default(),
            activation: self.activation.unwrap_or_default(),
            channels: self.channels.zip(self.groups).map(|(count, groups)| {
                let per_row = count.checked_div(groups).unwrap_or(0).max(1);
                let channels = Channels::new(count, groups, self.cols.unwrap_or_default() / per_row);
                Channels { shares_affine: self.shared_affine, ..channels }
            }),
            ..Problem::default()
        }
    }

    fn forward(&self, operation: OperationFlag) -> Result<Forward, Failure> {
        if !operation.is_forward() {
            return match self.of_forward().iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(wrong(format!("{flag} is forward's, --operation is another"))),
                None => Ok(Forward::default()),
            };
        }
        for (flag, input, needs_residual) in
            [("--x-in", self.x_in, false), ("--residual-in", self.residual_in, true)]
        {
            match input {
                Some(Tensor::Dx) => {
                    return Err(wrong(format!("{flag} is dx, needs to be y or sum in forward")));
                }
                Some(output) if !self.residual && (needs_residual || output == Tensor::Sum) => {
                    return Err(wrong(format!("{flag} needs --residual")));
                }
                _ => {}
            }
        }
        if self.x_in.is_some() && self.x_in == self.residual_in {
            return Err(wrong("--x-in and --residual-in are one output, which cannot hold both"));
        }
        let forward = Forward {
            residual: self.residual,
            statistics: self.statistics,
            x_in: self.x_in,
            residual_in: self.residual_in,
            ..Forward::default()
        };
        match self.with_options(Operation::Forward(forward))? {
            Operation::Forward(forward) => Ok(forward),
            _ => Ok(forward),
        }
    }

    /// The operation with what `--option` says.
    fn with_options(&self, operation: Operation) -> Result<Operation, Failure> {
        let mut all = operation;
        for (place, name) in self.option.iter().enumerate() {
            let unknown =
                || wrong(format!("--option {name:?} needs to be one of {}", all.option_names().join(", ")));
            all = all.with_option(name).ok_or_else(unknown)?;
            if let Some(other) = self.option[..place].iter().find(|other| all.with_option(other) != Some(all))
            {
                return Err(wrong(format!(
                    "--option {other} and --option {name} are in each other's place; give one"
                )));
            }
        }
        if !self.option.is_empty() && !all.options_go_together() {
            return Err(wrong(format!("--option {} does not go with the rest", self.option.join(" "))));
        }
        Ok(all)
    }

    fn backward(&self, operation: OperationFlag, problem: &Problem) -> Result<Backward, Failure> {
        if operation.is_forward() {
            return match self.of_backward().iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(wrong(format!("{flag} is backward's, --operation is forward"))),
                None => Ok(Backward::default()),
            };
        }
        for (flag, input) in [("--x-in", self.x_in), ("--dy-in", self.dy_in)] {
            if let Some(Tensor::Y | Tensor::Sum) = input {
                return Err(wrong(format!("{flag} needs to be dx in backward")));
            }
        }
        let default = |present: bool| present.then_some(Gradient::Overwrite);
        let backward = Backward {
            dx: self.dx.unwrap_or(Some(Gradient::Overwrite)),
            dgain: self.dgain.unwrap_or(default(problem.affine.has_gain())),
            dbias: self.dbias.unwrap_or(default(problem.affine.has_bias())),
            x_in_dx: self.x_in.is_some(),
            dy_in_dx: self.dy_in.is_some(),
            ..Backward::default()
        };
        let (Operation::Backward(backward) | Operation::ReduceParameters(backward)) =
            self.with_options(Operation::Backward(backward))?
        else {
            return Ok(backward);
        };
        if backward.dgain.is_some() && !problem.affine.has_gain() {
            return Err(wrong("--dgain needs an --affine with a gain"));
        }
        if backward.dbias.is_some() && !problem.affine.has_bias() {
            return Err(wrong("--dbias needs an --affine with a bias"));
        }
        if backward.x_in_dx && backward.dy_in_dx {
            return Err(wrong("--x-in and --dy-in are one output, which cannot hold both"));
        }
        if (backward.x_in_dx || backward.dy_in_dx) && backward.dx != Some(Gradient::Overwrite) {
            return Err(wrong("--x-in and --dy-in need --dx overwrite"));
        }
        let parameters = backward.has_parameters();
        let is_sum = operation == OperationFlag::ChannelSums || operation.is_reduction();
        if is_sum && !parameters {
            return Err(wrong("--operation reduce-parameters and channel-sums need --dgain or --dbias"));
        }
        let has_sums = problem.channels.is_some_and(|channels| channels.per_row() > 1);
        let is_gated = backward.dbranch || backward.dgate.is_some();
        if has_sums && !is_sum && backward.dx.is_none() && !is_gated {
            return Err(wrong(
                "--operation backward needs --dx: of channels, channel-sums has dgain and dbias",
            ));
        }
        if backward.dx.is_none() && !is_gated && !parameters && backward.drow_gain.is_none() {
            return Err(wrong(
                "--operation backward needs one of --dx, --dgain, --dbias and --option drow_gain",
            ));
        }
        Ok(backward)
    }

    fn caps(&self) -> Result<Caps, Failure> {
        if let Some(name) = &self.adapter {
            return match Compute::choose(name)? {
                Compute::Adapter(context) => Ok(context.caps()),
                Compute::Cpu => Err(wrong(
                    "--adapter: the CPU reference has no kernels; name an adapter, or leave it out and give limits",
                )),
            };
        }
        let default = Caps::webgpu_default();
        Ok(Caps {
            kind: self.kind.unwrap_or(default.kind),
            subgroup: match self.subgroup_sizes {
                Some(Subgroups::Sizes(sizes)) => Some(sizes),
                Some(Subgroups::None) | None => None,
            },
            full_subgroups: self.full_subgroups,
            shader_f16: self.shader_f16,
            unrolls_loops: self.unrolls_loops,
            max_invocations: self.max_invocations.unwrap_or(default.max_invocations),
            max_workgroup_bytes: self.max_workgroup_bytes.unwrap_or(default.max_workgroup_bytes),
            max_storage_buffers: self.max_storage_buffers.unwrap_or(default.max_storage_buffers),
            max_workgroups: self.max_workgroups.unwrap_or(default.max_workgroups),
            max_binding_bytes: self.max_binding_bytes.unwrap_or(default.max_binding_bytes),
            storage_alignment: self.storage_alignment.unwrap_or(default.storage_alignment),
            ..default
        })
    }
}
