//! A plain copy: the time that memory alone takes.

use std::fmt::Write as _;
use wgpu_layernorm::Context;

/// Invocations of a workgroup and vec4s of each. Neighbours access neighbouring vec4s, as GPUs want it; on lavapipe
/// this is within a tenth of the fastest form, in which the vec4s of an invocation are neighbours.
const THREADS: u64 = 256;
const VEC4_PER_THREAD: u64 = 4;

/// Reads buffers of one size and writes others, without arithmetic to speak of.
pub(super) struct PlainCopy {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: u32,
}

impl PlainCopy {
    /// Each output becomes the exclusive or of the inputs: of one input, a copy. Runs once, and panics if that is wrong.
    pub(super) fn new(context: &Context, inputs: &[&wgpu::Buffer], outputs: &[&wgpu::Buffer]) -> Self {
        let device = context.device();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("copy"),
            source: wgpu::ShaderSource::Wgsl(wgsl(inputs.len(), outputs.len()).into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("copy"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let buffers = inputs.iter().chain(outputs);
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("copy"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let bytes_per_workgroup = 16 * THREADS * VEC4_PER_THREAD;
        let bytes = inputs[0].size();
        assert_eq!(
            bytes % bytes_per_workgroup,
            0,
            "the shapes of the benches are whole workgroups of the copy"
        );
        let workgroups = u32::try_from(bytes / bytes_per_workgroup).expect("a few thousand");
        let copy = Self { pipeline, bind_group, workgroups };
        copy.check(context, inputs, outputs);
        copy
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }

    fn check(&self, context: &Context, inputs: &[&wgpu::Buffer], outputs: &[&wgpu::Buffer]) {
        super::time_of_submit(context, 1, |pass| self.record(pass));
        let download = |buffers| pollster::block_on(context.run(&[], buffers)).expect("buffers can be read");
        let inputs = download(inputs);
        let mut expected = inputs[0].clone();
        for input in &inputs[1..] {
            for (expected, input) in expected.iter_mut().zip(input) {
                *expected ^= input;
            }
        }
        assert!(download(outputs).iter().all(|output| *output == expected), "the plain copy is wrong");
    }
}

fn wgsl(inputs: usize, outputs: usize) -> String {
    let mut declarations = String::new();
    let mut stores = String::new();
    for i in 0..inputs {
        let _ =
            writeln!(declarations, "@group(0) @binding({i}) var<storage, read> input_{i}: array<vec4<u32>>;");
    }
    for o in 0..outputs {
        let binding = inputs + o;
        let _ = writeln!(
            declarations,
            "@group(0) @binding({binding}) var<storage, read_write> output_{o}: array<vec4<u32>>;"
        );
        let _ = writeln!(stores, "        output_{o}[at] = value;");
    }
    let value = (0..inputs).map(|i| format!("input_{i}[at]")).collect::<Vec<_>>().join(" ^ ");
    format!(
        "{declarations}
@compute @workgroup_size({THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {{
    for (var i = 0u; i < {VEC4_PER_THREAD}u; i++) {{
        let at = (group.x * {VEC4_PER_THREAD}u + i) * {THREADS}u + thread;
        let value = {value};
{stores}    }}
}}
"
    )
}
