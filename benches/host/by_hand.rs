//! Dispatches of kernels written by hand, over wgpu alone.

use wgpu_layernorm::Context;
use wgpu_layernorm::plan::{Plan, Uniform};
use wgpu_layernorm::shader::{self, Dialect};

/// A dispatch of a kernel as somebody would write it who has only the text: the uniform at a dynamic offset.
pub(crate) struct ByHand {
    pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    pub(crate) uniform: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
}

/// Bytes of the kernels' uniform.
pub(crate) const UNIFORM_BYTES: usize = Uniform::BYTES;

impl ByHand {
    /// `tensors` in the order of the shader's bindings.
    pub(crate) fn new(context: &Context, plan: &Plan, tensors: &[&wgpu::Buffer]) -> Self {
        let device = context.device();
        let shader = shader::assemble(plan, Dialect::Naga).expect("a plan has a text");
        assert_eq!(shader.bindings.len(), tensors.len());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(shader.source.into()),
        });
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
            count: None,
        };
        let storage = shader.bindings.iter().map(|binding| {
            entry(binding.binding, wgpu::BufferBindingType::Storage { read_only: !binding.writable })
        });
        let entries: Vec<_> =
            std::iter::once(entry(0, wgpu::BufferBindingType::Uniform)).chain(storage).collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
        let layout = device.create_bind_group_layout(&descriptor);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            })),
            module: &module,
            entry_point: Some(shader::ENTRY_POINT),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        // Nothing is run, so its contents do not matter.
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1 << 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let bind_group = bind(device, &layout, &uniform, tensors);
        Self { pipeline, layout, uniform, bind_group }
    }

    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[256]);
        pass.dispatch_workgroups(64, 1, 1);
    }
}

pub(crate) fn bind(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    uniform: &wgpu::Buffer,
    tensors: &[&wgpu::Buffer],
) -> wgpu::BindGroup {
    let bound = |buffer, size| {
        let size = wgpu::BufferSize::new(size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size })
    };
    let resources = std::iter::once(bound(uniform, UNIFORM_BYTES as u64))
        .chain(tensors.iter().map(|tensor| bound(*tensor, tensor.size())));
    let entries: Vec<_> =
        (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}
