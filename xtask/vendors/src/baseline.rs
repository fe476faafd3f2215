//! The plans of the vendors' tables: what models run, at the widths where the ladder changes, as wgpu has
//! them, and with loops and without subgroups.

use std::collections::HashSet;
use wgpu_layernorm::plan::{Backward, Caps, Forward, Plan, Strides};
use wgpu_layernorm::{Affine, Channels, CodeDtype, Dtype, Gradient, Normalization, Problem};

/// The plans for an adapter with these caps.
pub(crate) fn baseline(caps: &Caps) -> Vec<Plan> {
    let mut seen = HashSet::new();
    // As a host of its own may have them emitted for any GPU: `layernorm emit --unrolls-loops`.
    let with_loops = Caps { unrolls_loops: true, ..Caps::webgpu_default() };
    let all = plans(caps).into_iter().chain(plans(&with_loops));
    // Some need no subgroups either way.
    all.filter(|plan| seen.insert(plan.label())).collect()
}

/// The width that is also split among workgroups.
const WIDEST: u32 = 131_072;

/// Channels of positions side by side: the first and the last stage of a network for images.
const CHANNEL_WISE: [u32; 2] = [96, 768];

/// Columns of modulated rows: two sizes of diffusion transformers.
const MODULATED: [u32; 2] = [1152, 3072];

/// Channels, groups and values of a channel: the first, widest and deepest of a diffusion U-Net, and the
/// style transfer of instance norm.
const GROUP_NORMS: [[u32; 3]; 4] = [[320, 32, 4096], [640, 32, 1024], [1280, 32, 64], [64, 64, 16_384]];

/// Channels, samples and positions of batch norms: the first and the last of a residual network of 18
/// layers, of which a workgroup holds a channel.
const BATCH_NORMS: [[u32; 3]; 2] = [[64, 32, 3136], [512, 32, 49]];

fn plans(caps: &Caps) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let mut add = |plan: Result<Plan, wgpu_layernorm::Error>| {
        if let Ok(plan) = plan
            && !plans.contains(&plan)
        {
            plans.push(plan);
        }
    };
    let all = Backward {
        dx: Some(Gradient::Overwrite),
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Overwrite),
        ..Backward::default()
    };
    let statistics = Forward { statistics: true, ..Forward::default() };
    for cols in [64, 384, 1024, 2048, 4096, 8192, 16_384, WIDEST] {
        for dtype in Dtype::ALL {
            let problem = Problem { cols, dtype, parameter_dtype: dtype, ..Problem::default() };
            add(Plan::forward(&problem, statistics, 8, caps));
            add(Plan::backward(&problem, all, 8, caps));
            add(Plan::reduce_parameters(&problem, all, 8, caps));
            if cols == WIDEST {
                for split in [
                    Plan::forward_split(&problem, statistics, 8, caps),
                    Plan::backward_split(&problem, all, 8, caps),
                ] {
                    split.into_iter().flatten().for_each(|plan| add(Ok(plan)));
                }
            }
        }
        let rms = Problem {
            cols,
            dtype: Dtype::F16,
            parameter_dtype: Dtype::F16,
            normalization: Normalization::Rms,
            affine: Affine::Gain,
            ..Problem::default()
        };
        add(Plan::forward(&rms, Forward { residual: true, ..Forward::default() }, 8, caps));
        // Held, and streamed.
        for codes in CodeDtype::ALL.into_iter().filter(|_| cols == 4096 || cols == WIDEST) {
            let alone = Forward { codes: Some(codes), without_y: true, ..Forward::default() };
            add(Plan::forward(&rms, alone, 8, caps));
        }
        add(Plan::backward(&rms, Backward { dx: Some(Gradient::Overwrite), ..Backward::default() }, 8, caps));
    }
    for cols in MODULATED {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let channels = Some(Channels::of_samples(2, cols));
            let affine = Affine::ZeroCenteredGainBias;
            let problem =
                Problem { cols, dtype, parameter_dtype: dtype, affine, channels, ..Problem::default() };
            let of_samples = |plan: Plan| plan.with_strides(Strides::Rows);
            add(Plan::forward(&problem, statistics, 8, caps).map(of_samples));
            add(Plan::backward(&problem, all, 8, caps).map(of_samples));
        }
    }
    for cols in CHANNEL_WISE {
        for dtype in [Dtype::F32, Dtype::F16] {
            let problem = Problem { cols, dtype, parameter_dtype: dtype, ..Problem::default() };
            add(Plan::forward_across(&problem, statistics, caps));
            add(Plan::backward_across(&problem, all, caps));
        }
    }
    for [count, groups, spatial] in GROUP_NORMS {
        for dtype in [Dtype::F32, Dtype::F16] {
            let channels = Some(Channels::new(count, groups, spatial));
            let cols = count / groups * spatial;
            let problem = Problem { cols, dtype, parameter_dtype: dtype, channels, ..Problem::default() };
            add(Plan::forward(&problem, statistics, 8, caps));
            add(Plan::backward(&problem, all, 8, caps));
            add(Plan::channel_sums(&problem, all, 8, caps));
        }
    }
    for [channels, samples, spatial] in BATCH_NORMS {
        for dtype in [Dtype::F32, Dtype::F16] {
            let problem =
                Problem { dtype, parameter_dtype: dtype, ..Problem::batch(channels, samples, spatial) };
            // Positions side by side in accesses as wide as they allow.
            let width = if spatial.is_multiple_of(8) { 8 } else { 1 };
            let of_batch = |plan: Plan| plan.with_strides(Strides::Columns);
            let training = Forward { running_statistics: true, ..statistics };
            let inference = Forward { given_statistics: true, ..Forward::default() };
            add(Plan::forward(&problem, training, width, caps).map(of_batch));
            add(Plan::forward(&problem, inference, width, caps).map(of_batch));
            add(Plan::backward(&problem, all, width, caps).map(of_batch));
            let given = Backward { given_statistics: true, ..all };
            for both in [
                Plan::forward_split(&problem, training, width, caps),
                Plan::backward_split(&problem, given, width, caps),
            ] {
                both.into_iter().flatten().for_each(|plan| add(Ok(of_batch(plan))));
            }
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesa::VENDORS;
    use wgpu_layernorm::plan::Kernel;

    #[test]
    fn every_table_has_every_kernel() {
        for vendor in VENDORS {
            for family in vendor.families {
                let plans = baseline(&(vendor.caps)(family));
                for kernel in Kernel::ALL {
                    assert!(plans.iter().any(|plan| plan.kernel == kernel), "{} on {family}", kernel.name());
                }
            }
        }
    }
}
