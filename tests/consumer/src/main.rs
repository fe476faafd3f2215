//! An application that is not ours, over the package as it is published. With a back end of its choice, it
//! opens a device of its own and normalizes buffers of its own; without any, it gets an error that says what
//! is missing.
//!
//!     cargo xtask package

use wgpu_layernorm::{
    AdapterChoice, Context, Error, ForwardBuffers, Kernels, LayerNorm, LayerNormDescriptor, adapters,
    required_features, required_limits,
};

type Failure = Box<dyn std::error::Error>;

const ROWS: u64 = 2;
const COLS: u32 = 4;

fn main() -> Result<(), Failure> {
    if cfg!(any(feature = "dx12", feature = "metal", feature = "vulkan")) { normalize() } else { refuse() }
}

/// Forward on a device that the application has opened, in its pass, over its buffers.
fn normalize() -> Result<(), Failure> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: required_features(&adapter),
        required_limits: required_limits(&adapter),
        ..wgpu::DeviceDescriptor::default()
    }))?;

    let buffer = |values: &[f32], usage| {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size_of_val(values) as u64,
            usage: wgpu::BufferUsages::COPY_DST | usage,
            mapped_at_creation: false,
        });
        queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    };
    let storage = wgpu::BufferUsages::STORAGE;
    let x = buffer(&[1.0, 2.0, 3.0, 4.0, 40_000.0, 40_001.0, 40_002.0, 40_003.0], storage);
    let gain = buffer(&[1.0, 1.0, 2.0, 2.0], storage);
    let bias = buffer(&[0.0, 0.0, 0.5, 0.5], storage);
    let y = buffer(&[f32::NAN; 8], storage | wgpu::BufferUsages::COPY_SRC);
    let download = buffer(&[0.0; 8], wgpu::BufferUsages::MAP_READ);

    let kernels = Kernels::new(&device, &queue);
    let norm =
        LayerNorm::new(&kernels, &LayerNormDescriptor { eps: 1e-12, ..LayerNormDescriptor::layer(COLS) })?;
    let forward = norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        ..ForwardBuffers::new(ROWS, &x, &y)
    })?;
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    forward.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    encoder.copy_buffer_to_buffer(&y, 0, &download, 0, y.size());
    queue.submit([encoder.finish()]);
    let (sender, receiver) = std::sync::mpsc::channel();
    download.map_async(wgpu::MapMode::Read, .., move |mapped| {
        let _ = sender.send(mapped);
    });
    device.poll(wgpu::PollType::wait_indefinitely())?;
    receiver.recv()??;
    let y: Vec<f32> = bytemuck::pod_collect_to_vec(&download.get_mapped_range(..)?);

    println!("on {} [{}]: y {y:?}", adapter.get_info().name, adapter.get_info().backend);
    // Both rows are one up from value to value, so both give the same.
    for row in y.chunks(COLS as usize) {
        for (y, expected) in row.iter().zip([-1.341_640_8_f32, -0.447_213_6, 1.394_427_2, 3.183_281_6]) {
            // Four units in the last place of the largest.
            assert!((y - expected).abs() < 1e-6, "{y} is not {expected}");
        }
    }
    Ok(())
}

/// The library's error, where wgpu panics.
fn refuse() -> Result<(), Failure> {
    assert_eq!(pollster::block_on(adapters()).len(), 0, "adapters without a back end");
    for choice in [AdapterChoice::Auto, AdapterChoice::Named("any".to_owned())] {
        let error = Context::new_blocking(&choice).expect_err("there is no back end");
        assert!(error.is_unsupported() && matches!(error, Error::Unsupported { .. }), "{error:?}");
        println!("{error}");
    }
    Ok(())
}
