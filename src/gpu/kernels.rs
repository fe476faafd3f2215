//! What all normalizations of a device share.

use super::adapter_info_of_device;
use super::caps::{caps_of_device, tuned_adapter};
use super::pipelines::{Compiled, Pipelines};
use super::prepared::Inner;
use super::scratch::{self, Scratch};
use super::uniforms::Uniforms;
use crate::error::Error;
#[cfg(feature = "verify")]
use crate::plan::Pooled;
use crate::plan::{AdapterKind, Caps, Operation, Plan, Strides, SubgroupSizes, TunedAdapter, Tuning};
use crate::shader::Dialect;
use crate::types::Problem;
use std::sync::Arc;

/// How [`Kernels`] are planned and compiled. All has defaults. Written with `..`, over
/// [`default`](Self::default), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug)]
pub struct KernelsDescriptor<'a> {
    /// Whether subgroup operations may be used where the device has them. Default: yes. A way out, should a
    /// driver have them wrong.
    pub subgroups: bool,
    /// Plan as for subgroups of these sizes where the device has any, whatever sizes it says, and take none
    /// of them to be full. Results are right with any sizes: reductions look at what there is. Default: as it
    /// says, and as is known of its driver.
    pub subgroup_sizes: Option<SubgroupSizes>,
    /// Plan as for this kind of adapter, whatever kind the device says that it is. Default: as it says.
    pub ladder: Option<AdapterKind>,
    /// Rungs to plan from instead of the ladder, where it has entries for the device's adapter and these
    /// rows. Default: none.
    pub tuning: Option<&'a Tuning>,
    /// What pipelines are created from and added to, on devices with wgpu's feature `PIPELINE_CACHE`.
    /// Default: what the driver keeps by itself.
    pub pipeline_cache: Option<&'a wgpu::PipelineCache>,
}

impl Default for KernelsDescriptor<'_> {
    fn default() -> Self {
        Self { subgroups: true, subgroup_sizes: None, ladder: None, tuning: None, pipeline_cache: None }
    }
}

/// What all normalizations of a device share: what is known of it, the compiled pipelines, and scratch. Make
/// one for a device, and every [`LayerNorm`](crate::LayerNorm) from it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Kernels {
    shared: Arc<Shared>,
    planning: Arc<Planning>,
}

/// What does not depend on how calls are planned.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Read once: in browsers each read asks for some forty numbers.
    pub(super) limits: wgpu::Limits,
    pub(super) is_browser: bool,
    pipelines: Pipelines,
    pub(super) uniforms: Uniforms,
    scratch: Scratch,
}

#[derive(Debug)]
struct Planning {
    caps: Caps,
    adapter: TunedAdapter,
    /// That of the adapter alone.
    tuning: Tuning,
}

impl Kernels {
    /// Kernels planned as the device suggests. Compiles nothing yet.
    #[must_use]
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::with(device, queue, &KernelsDescriptor::default())
    }

    /// Kernels planned and compiled as described. Compiles nothing yet.
    #[must_use]
    pub fn with(device: &wgpu::Device, queue: &wgpu::Queue, descriptor: &KernelsDescriptor<'_>) -> Self {
        let (limits, info) = (device.limits(), adapter_info_of_device(device));
        let shared = Shared {
            device: device.clone(),
            queue: queue.clone(),
            uniforms: Uniforms::new(&limits),
            limits,
            is_browser: info.backend == wgpu::Backend::BrowserWebGpu,
            pipelines: Pipelines::new(descriptor.pipeline_cache.cloned()),
            scratch: Scratch::default(),
        };
        let mut caps = caps_of_device(device);
        if !descriptor.subgroups {
            caps.subgroup = None;
        }
        if let Some(sizes) = descriptor.subgroup_sizes {
            caps = with_sizes(caps, sizes);
        }
        caps.kind = descriptor.ladder.unwrap_or(caps.kind);
        let adapter = tuned_adapter(&info);
        let tuning = descriptor.tuning.map(|tuning| tuning.of_adapter(&adapter)).unwrap_or_default();
        Self { shared: Arc::new(shared), planning: Arc::new(Planning { caps, adapter, tuning }) }
    }

    /// The same pipelines, but calls are planned as for this kind of adapter.
    pub(crate) fn with_ladder(&self, kind: AdapterKind) -> Self {
        let Planning { caps, adapter, tuning } = &*self.planning;
        let caps = Caps { kind, ..*caps };
        let planning = Planning { caps, adapter: adapter.clone(), tuning: tuning.clone() };
        Self { shared: Arc::clone(&self.shared), planning: Arc::new(planning) }
    }

    /// The same pipelines, but calls are planned as for subgroups of these sizes.
    pub(crate) fn with_subgroup_sizes(&self, sizes: SubgroupSizes) -> Self {
        let Planning { caps, adapter, tuning } = &*self.planning;
        let caps = with_sizes(*caps, sizes);
        let planning = Planning { caps, adapter: adapter.clone(), tuning: tuning.clone() };
        Self { shared: Arc::clone(&self.shared), planning: Arc::new(planning) }
    }

    /// The same pipelines, but calls are planned from a table.
    pub(crate) fn with_tuning(&self, tuning: &Tuning) -> Self {
        let Planning { caps, adapter, .. } = &*self.planning;
        let planning = Planning { caps: *caps, adapter: adapter.clone(), tuning: tuning.of_adapter(adapter) };
        Self { shared: Arc::clone(&self.shared), planning: Arc::new(planning) }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The device's queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// What plans are made from.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.planning.caps
    }

    /// How many pipelines are compiled. Calls of all normalizations whose texts are equal share one.
    #[must_use]
    pub fn pipelines(&self) -> usize {
        self.shared.pipelines.count()
    }

    /// Bytes of the scratch that calls share: what the one of them that is prepared and needs the most needs,
    /// or what was reserved. A call's scratch holds partial sums of dgain and dbias, and of rows that are
    /// split. It is shared on one condition, which one queue and
    /// [`Prepared::record`](crate::Prepared::record) keep: calls run one after the other.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.shared.scratch.bytes()
    }

    /// Makes scratch as small as the calls that are still prepared allow.
    ///
    /// # Errors
    /// [`Error::Device`] where wgpu cannot create the smaller buffer; scratch stays as it is then.
    pub fn trim_scratch(&self) -> Result<(), Error> {
        let Shared { device, limits, scratch, .. } = &*self.shared;
        scratch.trim(device, limits)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The plan of rows as a whole, of tensors that lie so.
    pub(super) fn plan(
        &self,
        problem: &Problem,
        operation: Operation,
        vector_width: u32,
        strides: Strides,
    ) -> Result<Plan, Error> {
        let Planning { caps, adapter, tuning } = &*self.planning;
        let across = match (operation, strides) {
            (Operation::Forward(forward), Strides::Across) => Plan::forward_across(problem, forward, caps),
            (Operation::Backward(backward), Strides::Across) => {
                Plan::backward_across(problem, backward, caps)
            }
            _ => return tuning.plan(adapter, problem, operation, vector_width, caps),
        };
        match across {
            Err(error) if error.is_unsupported() => {
                tuning.plan(adapter, problem, operation, vector_width, caps)
            }
            across => across,
        }
    }

    /// Whether a plan is another than the ladder's. Split rows, and rows side by side, are always the
    /// ladder's.
    #[cfg(feature = "verify")]
    pub(crate) fn is_tuned(&self, problem: &Problem, plan: &Plan) -> bool {
        let by_ladder = Plan::by_ladder(problem, plan.operation, plan.vector_width, self.caps());
        plan.partial_cols == 0
            && !plan.is_across()
            && by_ladder != Ok(plan.with_strides(Strides::Dense).with_pooled(Pooled::Nothing))
    }
}

impl Shared {
    pub(super) fn compiled(&self, plan: &Plan) -> Result<Arc<Compiled>, Error> {
        let dialect = if self.is_browser { Dialect::Browser } else { Dialect::Naga };
        self.pipelines.get(&self.device, dialect, plan)
    }
    /// Scratch as it is now.
    pub(super) fn scratch(&self) -> scratch::Buffers {
        self.scratch.buffers()
    }

    pub(super) fn reserve_scratch(&self, bytes: scratch::Bytes) -> Result<(), Error> {
        self.scratch.reserve(&self.device, &self.limits, bytes)
    }

    pub(super) fn attach_scratch(&self, user: &Arc<Inner>) -> Result<(), Error> {
        self.scratch.attach(&self.device, &self.limits, user)
    }
}

/// Of a device without subgroup operations nothing changes.
fn with_sizes(caps: Caps, sizes: SubgroupSizes) -> Caps {
    match caps.subgroup {
        Some(_) => Caps { subgroup: Some(sizes), full_subgroups: false, ..caps },
        None => caps,
    }
}
