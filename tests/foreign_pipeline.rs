//! The kernels between shaders of the caller's: one encoder, one submit, no copies, over a slice of a fused
//! buffer.

use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, BufferRows, Context, Dtype, ForwardBuffers, ForwardInputs, Kernels, LayerNorm,
    LayerNormDescriptor, Rows, RowsMut,
};

const ROWS: usize = 5;
const COLS: usize = 37;
const OFFSET: usize = 11;
const STRIDE: usize = 101;

const SHADERS: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<f32>;
@group(0) @binding(1) var<storage, read_write> kept: array<f32>;

@compute @workgroup_size(64)
fn halve(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&data)) { data[id.x] *= 0.5; }
}

@compute @workgroup_size(64)
fn add_one(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&data)) {
        data[id.x] += 1.0;
        kept[id.x] = data[id.x];
    }
}";

/// A dispatch of the test's own shader.
struct Own {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: u32,
}

impl Own {
    fn new(device: &wgpu::Device, entry_point: &str, buffers: &[&wgpu::Buffer]) -> Self {
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: None,
            module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(SHADERS.into()),
            }),
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let workgroups = u32::try_from(buffers[0].size().div_ceil(4 * 64)).unwrap();
        Self { bind_group: device.create_bind_group(&descriptor), pipeline, workgroups }
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}

#[test]
fn forward_runs_between_shaders_of_the_callers() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let (device, queue) = (context.device(), context.queue());
    let mut fused: Vec<f32> = (0..ROWS * STRIDE).map(|i| ((i * 37 % 101) as f32 - 41.0) / 16.0).collect();
    let gain: Vec<f32> = (0..COLS).map(|i| 1.0 + i as f32 / 32.0).collect();
    let bias: Vec<f32> = (0..COLS).map(|i| i as f32 / 8.0 - 1.0).collect();
    let buffer = |usage, values: &[f32]| {
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage,
        })
    };
    // STORAGE is all that the kernels ask for. What the passes leave is kept by the test's own shader.
    let storage = |values: &[f32]| buffer(wgpu::BufferUsages::STORAGE, values);
    let kept = [(); 2]
        .map(|()| buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC, &[0.0; ROWS * COLS]));

    // An eps that counts beside the variance, so that y tells how often x has been halved.
    let descriptor = LayerNormDescriptor { cols: 37, eps: 0.5, ..LayerNormDescriptor::default() };
    let norm = LayerNorm::new(&Kernels::new(device, queue), &descriptor).unwrap();
    let problem = *norm.problem();
    let (halve, forward, add_one) = {
        let (fused, y) = (storage(&fused), storage(&[0.0; ROWS * COLS]));
        let (gain, bias) = (storage(&gain), storage(&bias));
        let x = BufferRows::at_element(&fused, OFFSET as u64).with_stride(STRIDE as u64);
        let forward = norm
            .prepare_forward(&ForwardBuffers {
                gain: Some((&gain).into()),
                bias: Some((&bias).into()),
                ..ForwardBuffers::new(ROWS as u64, x, &y)
            })
            .unwrap();
        let add_one = kept.each_ref().map(|kept| Own::new(device, "add_one", &[&y, kept]));
        (Own::new(device, "halve", &[&fused]), forward, add_one)
    };
    drop(norm);

    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for add_one in &add_one {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        halve.record(&mut pass);
        forward.record(&mut pass);
        add_one.record(&mut pass);
    }
    queue.submit([encoder.finish()]);

    let kept = pollster::block_on(context.run(&[], &kept.each_ref())).unwrap();
    for (pass, kept) in kept.iter().enumerate() {
        fused.iter_mut().for_each(|value| *value *= 0.5);
        let inputs = ForwardInputs {
            gain: Some(&gain[..]),
            bias: Some(&bias[..]),
            ..ForwardInputs::new(ROWS, Rows { data: &fused[OFFSET..], stride: STRIDE })
        };
        let mut expected = vec![0.0_f64; ROWS * COLS];
        let outputs = ForwardOutputs::new(RowsMut { data: &mut expected, stride: COLS });
        reference::forward(&problem, &inputs, outputs).unwrap();
        expected.iter_mut().for_each(|y| *y += 1.0);

        let got: Vec<f32> = bytemuck::pod_collect_to_vec(kept);
        for (row, (got, expected)) in got.chunks(COLS).zip(expected.chunks(COLS)).enumerate() {
            let largest = expected.iter().map(|y| y.abs()).fold(0.0, f64::max);
            let most = 4.0 * Dtype::F32.unit_roundoff() * largest;
            assert!(
                got.iter().zip(expected).all(|(got, expected)| (f64::from(*got) - expected).abs() <= most),
                "pass {pass}, row {row}: {got:?} instead of {expected:?}"
            );
        }
    }
}
