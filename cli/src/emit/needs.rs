//! What a device must have for a kernel, in its description.

use super::Format;
use serde::Serialize;
use wgpu_layernorm::plan::{Caps, Plan, Reduction};

#[derive(Debug, Serialize)]
pub(super) struct Needs {
    features: Vec<&'static str>,
    /// The adapter's smallest subgroup is at least the first, its largest at most the second.
    subgroup_sizes: Option<[u32; 2]>,
    /// Of the pipeline's shader stage, in SPIR-V.
    #[serde(skip_serializing_if = "Option::is_none")]
    vulkan_stage_flags: Option<Vec<&'static str>>,
    limits: Limits,
}

/// By the names of WebGPU.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroup_size_x: u32,
    max_compute_workgroup_storage_size: u32,
    max_storage_buffers_per_shader_stage: usize,
    /// What `dispatch.workgroups` is made for.
    max_compute_workgroups_per_dimension: u32,
}

impl Needs {
    /// `bindings`: storage buffers.
    pub(super) fn new(plan: &Plan, caps: &Caps, format: Format, bindings: usize) -> Self {
        Self {
            features: [("shader-f16", plan.uses_native_f16()), ("subgroups", plan.uses_subgroups())]
                .into_iter()
                .filter_map(|(name, used)| used.then_some(name))
                .collect(),
            subgroup_sizes: subgroup_sizes(plan),
            vulkan_stage_flags: (format == Format::Spirv).then(|| vulkan_stage_flags(plan, caps)),
            limits: Limits {
                max_compute_invocations_per_workgroup: plan.workgroup_size(),
                max_compute_workgroup_size_x: plan.workgroup_size(),
                max_compute_workgroup_storage_size: plan.workgroup_bytes(),
                max_storage_buffers_per_shader_stage: bindings,
                max_compute_workgroups_per_dimension: caps.max_workgroups,
            },
        }
    }
}

pub(super) const fn subgroup_sizes(plan: &Plan) -> Option<[u32; 2]> {
    match plan.reduction {
        Reduction::Lanes => Some([plan.threads_per_row, 128]),
        Reduction::Adaptive => Some([4, 128]),
        Reduction::Subgroup => Some([plan.workgroup_size(), plan.workgroup_size()]),
        Reduction::Subgroups(min) => Some([min, plan.threads_per_row]),
        _ => None,
    }
}

/// Without the first, drivers of several sizes report one of them, whichever they take: Intel's say 32. The
/// second makes threads numbered by subgroup fill the workgroup. Vulkan allows it for multiples of the
/// largest size.
pub(super) fn vulkan_stage_flags(plan: &Plan, caps: &Caps) -> Vec<&'static str> {
    let Some(sizes) = caps.subgroup.filter(|_| plan.uses_subgroups()) else { return Vec::new() };
    let mut flags = vec!["VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT"];
    if plan.workgroup_size().is_multiple_of(sizes.max) {
        flags.push("VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT");
    }
    flags
}
