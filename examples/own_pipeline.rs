//! Layer norm, forward and backward, inside a compute pass of your own: between two shaders of yours, over
//! your buffers, with one submit and no copies.
//!
//!     cargo run --release --example own_pipeline
//!
//! What is normalized are the keys of an attention layer: the middle third of a fused projection, whose rows
//! hold query, key and value side by side. They are read where they lie, and their gradient is written where
//! it belongs.

use wgpu::util::DeviceExt;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, BufferRows, BufferVector, Context, Error, ForwardBuffers, Gradient,
    Kernels, LayerNorm, LayerNormDescriptor, Rows, RowsMut, wgpu,
};

const ROWS: usize = 6;
const COLS: usize = 64;
/// Elements from one row of the fused projection to the next: query, key, value.
const STRIDE: usize = 3 * COLS;

const SHADERS: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<f32>;
@group(0) @binding(1) var<storage, read> term: array<f32>;

@compute @workgroup_size(64)
fn halve(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&data)) { data[id.x] *= 0.5; }
}

@compute @workgroup_size(64)
fn add(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&data)) { data[id.x] += term[id.x]; }
}";

fn main() -> Result<(), Error> {
    // Any device will do. This one is opened by the library to keep the example short; see
    // `required_features` and `required_limits` for what to ask an adapter for. Nothing in them is a must.
    let context = Context::new_blocking(&AdapterChoice::Auto)?;
    println!("on {}", context.description());
    let (device, queue) = (context.device(), context.queue());

    // The buffers of the pipeline. All that the kernels ask of one is the usage STORAGE.
    let mut projection: Vec<f32> =
        (0..ROWS * STRIDE).map(|i| ((i * 37 % 101) as f32 - 50.0) / 16.0).collect();
    let dy: Vec<f32> = (0..ROWS * COLS).map(|i| ((i * 11 % 23) as f32 - 11.0) / 8.0).collect();
    let gain_and_bias: Vec<f32> =
        (0..2 * COLS).map(|i| if i < COLS { 1.0 + i as f32 / 64.0 } else { 0.25 }).collect();
    let buffer = |label, values: &[f32]| {
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(label),
            contents: bytemuck::cast_slice(values),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    };
    let projection_buffer = buffer("projection", &projection);
    let projection_gradient = buffer("projection_gradient", &vec![0.0; ROWS * STRIDE]);
    let parameters = buffer("gain_and_bias", &gain_and_bias);
    let y = buffer("y", &vec![0.0; ROWS * COLS]);
    let dy_buffer = buffer("dy", &dy);
    let stream = buffer("stream", &vec![1.0; ROWS * COLS]);
    let statistics = buffer("statistics", &[0.0; ROWS * 2]);

    // Once for a model: the kernels of the device, which all norms share, a norm for each layer, and each
    // call. Preparing checks the buffers, and compiles what no other call has needed so far.
    let kernels = Kernels::new(device, queue);
    let norm = LayerNorm::new(
        &kernels,
        &LayerNormDescriptor { label: Some("key_norm"), cols: 64, ..LayerNormDescriptor::default() },
    )?;
    let keys_of = |buffer| BufferRows::at_element(buffer, COLS as u64).with_stride(STRIDE as u64);
    // Tensors may share a buffer, all of them if need be.
    let gain = BufferVector::from(&parameters);
    let bias = BufferVector::at_element(&parameters, COLS as u64);
    let forward = norm.prepare_forward(&ForwardBuffers {
        gain: Some(gain),
        bias: Some(bias),
        statistics: Some((&statistics).into()),
        ..ForwardBuffers::new(ROWS as u64, keys_of(&projection_buffer), &y)
    })?;
    let backward = norm.prepare_backward(&BackwardBuffers {
        gain: Some(gain),
        dx: Some(keys_of(&projection_gradient)),
        ..BackwardBuffers::new(ROWS as u64, keys_of(&projection_buffer), &dy_buffer, &statistics)
    })?;
    let halve = Own::new(device, "halve", &[&projection_buffer]);
    let add = Own::new(device, "add", &[&stream, &y]);

    // For each frame or step: record. wgpu orders the dispatches of a pass, so forward sees what `halve`
    // wrote, and backward the statistics of forward. A prepared call may be recorded as often as you like.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        halve.record(&mut pass, 18); // 6 rows of 192 values, 64 a workgroup
        forward.record(&mut pass);
        backward.record(&mut pass);
        add.record(&mut pass, 6);
    }
    queue.submit([encoder.finish()]);

    // Here the pipeline would go on. The example looks at the results: `run` without calls only downloads.
    let bytes = pollster::block_on(context.run(&[], &[&stream, &projection_gradient]))?;
    let [stream, gradient] =
        [&bytes[0], &bytes[1]].map(|bytes| bytemuck::pod_collect_to_vec::<u8, f32>(bytes));

    // And compares them with the reference, in float64, on the same slice.
    projection.iter_mut().for_each(|value| *value *= 0.5);
    let x = Rows { data: &projection[COLS..], stride: STRIDE };
    let (gain, bias) = gain_and_bias.split_at(COLS);
    let inputs = ForwardInputs { gain: Some(gain), bias: Some(bias), ..ForwardInputs::new(ROWS, x) };
    let mut y = vec![0.0_f64; ROWS * COLS];
    let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride: COLS });
    reference::forward(norm.problem(), &inputs, outputs)?;
    let inputs =
        BackwardInputs { gain: Some(gain), ..BackwardInputs::new(ROWS, x, Rows { data: &dy, stride: COLS }) };
    let mut expected_gradient = vec![0.0_f64; ROWS * STRIDE];
    let outputs = BackwardOutputs::<f64, f64> {
        dgate_input: None,
        dx: Some(RowsMut { data: &mut expected_gradient[COLS..], stride: STRIDE }),
        dgain: None,
        dbias: None,
        drow_gain: None,
        dx_gradient: Gradient::Overwrite,
        parameter_gradient: Gradient::Overwrite,
        ..BackwardOutputs::default()
    };
    reference::backward(norm.problem(), &inputs, outputs)?;

    println!("stream {:.4?} ...", &stream[..4]);
    println!("dx     {:.4?} ...", &gradient[COLS..][..4]);
    assert!(stream.iter().zip(&y).all(|(has, y)| (f64::from(*has) - (1.0 + y)).abs() < 1e-5));
    // The thirds of query and value are 0 in both: what lies between the rows has been left alone.
    assert!(gradient.iter().zip(&expected_gradient).all(|(has, dx)| (f64::from(*has) - dx).abs() < 1e-5));
    println!("both agree with the reference");
    Ok(())
}

/// A shader of the caller's.
struct Own {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
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
        Self { bind_group: device.create_bind_group(&descriptor), pipeline }
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>, workgroups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
    }
}
