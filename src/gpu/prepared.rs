//! A call that is ready to be recorded.

/// A checked call over given buffers: every pipeline, bind group and dispatch is there. It can be recorded any number
/// of times, from any thread. It keeps the buffers alive.
#[derive(Debug)]
pub struct Prepared {
    pub(super) steps: Vec<Step>,
    /// Buffers of its own, for what one dispatch leaves for another.
    pub(crate) scratch: Vec<wgpu::Buffer>,
}

/// One dispatch.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 2],
}

impl Prepared {
    /// Records the call into a compute pass. Allocates nothing, takes no lock and submits nothing beyond what the
    /// same wgpu calls by hand do. Bind group 0 and the pipeline of the pass are those of the kernel afterwards.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let mut current: Option<&wgpu::ComputePipeline> = None;
        for step in &self.steps {
            if current != Some(&step.pipeline) {
                pass.set_pipeline(&step.pipeline);
                current = Some(&step.pipeline);
            }
            pass.set_bind_group(0, &step.bind_group, &[]);
            pass.dispatch_workgroups(step.workgroups[0], step.workgroups[1], 1);
        }
    }

    /// How many dispatches [`Prepared::record`] records.
    #[must_use]
    pub fn dispatch_count(&self) -> usize {
        self.steps.len()
    }
}
