//! Which constants of a plan's text are set, and which of its numbers are read from the uniform.

use crate::plan::{Forward, Kernel, Operation, Plan, Reduction, Storage, Tensor};
use crate::types::{Channels, Gradient, Normalization, Problem};

/// What follows from the width of the rows.
fn of_width(plan: &Plan) -> Vec<(&'static str, String)> {
    let factors = plan.row_factors();
    vec![
        ("COLS", format!("{}u", plan.cols)),
        ("STEPS", format!("{}u", plan.steps)),
        ("CHUNKS", format!("{}u", plan.chunks)),
        ("SUM_SCALE", format!("{:?}", factors.sum_scale)),
        ("MEAN_FACTOR", format!("{:?}", factors.mean_factor)),
        ("VARIANCE_COUNT", format!("{:?}", factors.variance_count)),
    ]
}

/// Those constants that the text has from the uniform, and what stands for them: of a kernel that holds no
/// rows all that follow from their width, but for steps that are unrolled.
pub(super) fn from_uniform(plan: &Plan) -> Vec<(&'static str, &'static str)> {
    if plan.sums_blocks() {
        return vec![("BLOCKS", "blocks_of(rows)")];
    }
    if plan.kernel.holds_rows() {
        return Vec::new();
    }
    let mut fields = vec![
        ("COLS", "params.cols"),
        ("CHUNKS", "params.chunks"),
        ("SUM_SCALE", "params.sum_scale"),
        ("MEAN_FACTOR", "params.mean_factor"),
    ];
    // Chunks have a size of their own, and a channel of one run is that run.
    if !plan.kernel.is_split() && !plan.is_one_run() {
        fields.push(("STEPS", "params.steps"));
    }
    if !plan.is_by_norm() {
        fields.push(("VARIANCE_COUNT", "f32(params.cols)"));
    }
    // A division by channels that the text does not know would be a third of the sums over channels.
    if reads_channels(plan).is_some_and(|channels| channels.is_one_a_step(plan.step_cols())) {
        fields.extend([("CHANNELS", "params.channels"), ("SPATIAL", "params.spatial")]);
    }
    fields
}

/// The channels whose gain and bias the text loads one by one; not where each run of columns is one of them.
fn reads_channels(plan: &Plan) -> Option<Channels> {
    let by_run = plan.kernel == Kernel::BackwardChannelSums;
    let loads = !by_run && plan.has_single_parameters();
    plan.channels.filter(|_| loads && plan.tensors().contains(&Tensor::Gain))
}

pub(super) fn constants(plan: &Plan) -> Vec<(&'static str, String)> {
    let unsigned = |value: u32| format!("{value}u");
    // Of given statistics the mean is a constant, as the 0 of RMS norm is.
    let has_own_mean = match plan.operation {
        Operation::Forward(_) => true,
        _ => !plan.operation.has_given_statistics(),
    };
    let centered = || (plan.normalization == Normalization::Layer && has_own_mean).to_string();
    let is_wide = |tensor| matches!(plan.storage(tensor), Storage::F32 | Storage::PackedBf16);
    let wide_range = match plan.operation {
        // What is normalized is the sum as stored.
        Operation::Forward(Forward { residual: true, .. }) => is_wide(Tensor::Sum),
        Operation::Forward(_) => is_wide(Tensor::X),
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            is_wide(if backward.from_y { Tensor::Y } else { Tensor::X }) || is_wide(Tensor::Dy)
        }
    };
    let by_norm = plan.is_by_norm();
    let mut constants = vec![
        ("THREADS_PER_ROW", unsigned(plan.threads_per_row)),
        ("ROWS_PER_WORKGROUP", unsigned(plan.rows_per_workgroup)),
        // The codes of a word are one thread's.
        ("CONTIGUOUS", unsigned(plan.vector_width.max(if plan.writes_codes() { 4 } else { 1 }))),
        ("PARTS", unsigned(plan.parts())),
        ("IS_FULL", plan.is_full().to_string()),
        ("BY_NORM", by_norm.to_string()),
        // Of a norm, what eps is the square of counts.
        ("ENOUGH_EPS", if by_norm { "1e-14" } else { "1e-28" }.to_owned()),
    ];
    constants.extend(of_width(plan));
    if let Some(channels) = reads_channels(plan) {
        constants.push(("SPATIAL", unsigned(channels.spatial)));
        constants.push(("IS_ONE_CHANNEL", channels.is_one_an_access(plan.vector_width).to_string()));
        constants.push(("IS_ONE_CHANNEL_A_STEP", channels.is_one_a_step(plan.step_cols()).to_string()));
    }
    if plan.changes_parameters()
        && plan.tensors().contains(&Tensor::Gain)
        && matches!(plan.kernel, Kernel::ForwardSplitApply | Kernel::BackwardSplitApply)
    {
        constants.push(("RELOAD_PARAMETERS", "true".to_owned()));
    }
    let of_sums = plan.channels.filter(|_| plan.kernel == Kernel::BackwardChannelSums);
    if let Some(channels) = reads_channels(plan).or(of_sums) {
        constants.push(("CHANNELS", unsigned(channels.per_row())));
    }
    if let Reduction::Subgroups(min) = plan.reduction {
        constants.push(("FEW_SUBGROUPS", unsigned(super::FEW_SUBGROUPS)));
        constants.push(("SUBGROUP_MIN", unsigned(min)));
    }
    if plan.storages.any(&[Storage::PackedF16, Storage::NativeF16]) && !plan.short {
        constants.push(("BRANCH", plan.branch.to_string()));
    }
    if plan.partial_cols > 0 {
        constants.push(("PARTIAL_COLS", unsigned(plan.partial_cols)));
    }
    match plan.operation {
        Operation::Forward(_) => {
            constants.push(("CENTERED", centered()));
            constants.push(("WIDE_RANGE", wide_range.to_string()));
            // docs/numerics.md derives it: scaled, sums of squares stay finite up to the largest float32.
            let log2_cols =
                if plan.kernel.holds_rows() { plan.log2_cols() } else { Problem::MAX_COLS.ilog2() };
            constants.push(("SMALL_SCALE", format!("0x1p-{}f", (132 + log2_cols) / 2)));
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            let has_rows = matches!(plan.operation, Operation::Backward(_));
            if has_rows {
                constants.push(("IS_ONE_COLUMN", (plan.row_cols() == 1).to_string()));
                constants.push(("FROM_Y", backward.from_y.to_string()));
            }
            if has_rows && plan.kernel != Kernel::BackwardChannelSums {
                // dy * gain of 16 bits each is in range, and so are their means and differences. The sums of
                // a chunk do not know what is wanted.
                let has_wide_gain = plan.affine.has_gain() && plan.storage(Tensor::Gain) == Storage::F32;
                let of_rows =
                    backward.makes_dx() || backward.drow_gain.is_some() || plan.leaves_channel_sums();
                let counts = of_rows || plan.kernel == Kernel::BackwardSplitSums;
                // Walked sums of channels take their infinities from the walk of large rows.
                let is_summed = plan.has_channel_rows()
                    && plan.kernel != Kernel::BackwardCached
                    && (plan.leaves_channel_sums() || plan.kernel == Kernel::BackwardSplitSums);
                let is_linear = backward.given_statistics;
                let in_f32 = plan.storage(Tensor::Dx) == Storage::F32 || backward.is_gated();
                let shows_residue = in_f32 && !is_linear && !backward.from_y;
                constants.push(("SHOWS_RESIDUE", shows_residue.to_string()));
                constants.push(("IS_LINEAR", is_linear.to_string()));
                if !(is_linear && plan.kernel == Kernel::BackwardSplitApply) {
                    constants.push(("COMPENSATE_LARGE", (plan.kernel != Kernel::BackwardCached).to_string()));
                }
                constants
                    .push(("WIDE_RANGE", (counts && (wide_range || has_wide_gain || is_summed)).to_string()));
            }
            if let (Operation::Backward(_), Some(gradient)) = (plan.operation, backward.drow_gain) {
                let accumulates = gradient == Gradient::Accumulate;
                constants.push(("ACCUMULATES_DROW_GAIN", accumulates.to_string()));
            }
            let [mut dgain, mut dbias] = [backward.dgain, backward.dbias].map(|gradient| gradient.is_some());
            if has_rows && plan.kernel != Kernel::BackwardChannelSums {
                let with_row_sum = plan.leaves_channel_sums() && dbias;
                constants.push(("WITH_ROW_SUM", with_row_sum.to_string()));
            }
            if plan.leaves_channel_sums() {
                constants.push(("WITH_CHANNEL_DGAIN", dgain.to_string()));
                constants.push(("WITH_CHANNEL_DBIAS", dbias.to_string()));
                (dgain, dbias) = (false, false);
            }
            constants.push(("WITH_DGAIN", dgain.to_string()));
            constants.push(("WITH_DBIAS", dbias.to_string()));
            constants.push(("PARAMETER_GRADIENTS", unsigned(plan.partial_gradients.max(1))));
            constants.push(("DBIAS", u32::from(backward.dgain.is_some()).to_string() + "u"));
            if !plan.kernel.is_split() && plan.kernel != Kernel::BackwardChannelSums {
                constants.push(("WITH_DGATE", backward.dgate.is_some().to_string()));
            }
        }
    }
    match plan.kernel {
        Kernel::ForwardCached => {
            // Below LARGE they do so unscaled.
            constants.push(("LARGE", format!("0x1p{}f", 61 - i64::from(plan.log2_cols()))));
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            constants.push(("HOLD_GATE", super::gates::holds_gate(plan).to_string()));
            let shows = plan.storage(Tensor::Y) == Storage::F32
                || [Tensor::Statistics, Tensor::RunningVariance, Tensor::Units]
                    .iter()
                    .any(|kept| plan.writes(*kept));
            constants.push(("COMPENSATE_SQUARES", shows.to_string()));
            constants.push(("WITH_CODES", plan.writes_codes().to_string()));
        }
        Kernel::ForwardStreamed => {
            constants.push(("WITH_CODES", plan.writes_codes().to_string()));
            let finds_units = matches!(plan.operation, Operation::Forward(forward) if forward.finds_units());
            constants.push(("FINDS_UNITS", finds_units.to_string()));
            constants.push(("WALKED", unsigned(plan.walked())));
            constants.push(("BLOCK_ROWS", unsigned(plan.block_accesses())));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::ForwardSplitStatistics => {
            constants.push(("WALKED", unsigned(plan.walked())));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardCached => {
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            let with_dx = matches!(plan.operation, Operation::Backward(backward) if backward.makes_dx());
            constants.push(("CENTERED", centered()));
            constants.push(("WITH_DX", with_dx.to_string()));
            if plan.sums_blocks() {
                constants.push(("BLOCK_ROWS", unsigned(Plan::SUMMED_ROWS)));
            }
            // An xhat that y shows is bounded.
            let from_y = matches!(plan.operation, Operation::Backward(backward) if backward.from_y);
            constants.push(("WIDE_X", (is_wide(Tensor::X) && !from_y).to_string()));
        }
        Kernel::BackwardChannelSums => {
            constants.push(("CENTERED", centered()));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
            constants.push(("CENTERED", centered()));
            constants.push(("BLOCK_ROWS", unsigned(plan.block_accesses())));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardSplitApply => constants.push(("CENTERED", centered())),
        Kernel::BackwardReduceParameters => constants.push(("BATCH", unsigned(Plan::REDUCE_BATCH))),
        Kernel::ForwardSplitApply => {}
    }
    let uniform = from_uniform(plan);
    constants.retain(|(name, _)| !uniform.iter().any(|(constant, _)| constant == name));
    constants
}
