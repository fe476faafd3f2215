//! Steps of training of a stack of blocks, as an engine with a pool runs them: 16-bit rows with float32
//! gains, a residual stream, two micro-batches of different lengths whose gradients add up, and every tensor
//! in one buffer.
//!
//!     cargo run --release --example training
//!
//! Block i halves what the norm before it gave (any shader could stand there) and adds it to the stream:
//!
//! ```text
//! sum_i = sum_(i-1) + y_(i-1) / 2        y_i = rms_norm(sum_i) * gain_i
//! ```
//!
//! All norms share their pipelines and scratch through `Kernels`. Everything is compiled and prepared before
//! the first step; a step records, with the rows that it has.

use half::f16;
use wgpu_layernorm::plan::{Backward, Forward, Pooled, Tensor};
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, BufferRows, BufferVector, Context, Dtype, Error, ForwardBuffers,
    Gradient, Kernels, LayerNorm, LayerNormDescriptor, Prepared, Rows, RowsMut, WarmOptions, wgpu,
};

const BLOCKS: usize = 4;
const COLS: usize = 256;
/// The most rows of a micro-batch.
const CAPACITY: usize = 64;
/// Rows of the micro-batches of a step.
const MICRO_BATCHES: [usize; 2] = [41, 27];

const HALVE: &str = "
struct Places { origin: u32, to: u32, words: u32, unused: u32 }
@group(0) @binding(0) var<uniform> places: Places;
@group(0) @binding(1) var<storage, read_write> pool: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < places.words) {
        pool[places.to + id.x] = pack2x16float(0.5 * unpack2x16float(pool[places.origin + id.x]));
    }
}";

fn main() -> Result<(), Error> {
    train()
}

pub(crate) fn train() -> Result<(), Error> {
    let context = Context::new_blocking(&AdapterChoice::Auto)?;
    println!("on {}", context.description());
    let (device, queue) = (context.device(), context.queue());
    // One for the device, whatever else runs on it.
    let kernels = Kernels::new(device, queue);
    let stack = Stack::new(&kernels)?;
    println!("{} pipelines, {} bytes of scratch", kernels.pipelines(), kernels.scratch_bytes());

    let before = kernels.pipelines();
    for (number, rows) in MICRO_BATCHES.into_iter().enumerate() {
        queue.write_buffer(&stack.pool, place::sum(0), bytemuck::cast_slice(&input(number, rows)));
        queue.write_buffer(&stack.pool, place::DY, bytemuck::cast_slice(&upstream(number, rows)));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            // The first micro-batch overwrites the gradients of the gains, the others add to them.
            stack.record(&mut pass, rows as u64, number == 0)?;
        }
        queue.submit([encoder.finish()]);
    }
    assert_eq!(kernels.pipelines(), before, "a step compiles nothing");

    let pool = pollster::block_on(context.run(&[], &[&stack.pool]))?.remove(0);
    let expected = expected(&stack.norms[0])?;
    for (block, expected) in (1..=BLOCKS).zip(expected) {
        let begin = usize::try_from(place::dgain(block)).unwrap_or_default();
        let dgain: Vec<f32> = bytemuck::pod_collect_to_vec(&pool[begin..begin + 4 * COLS]);
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let off = dgain.iter().zip(&expected).map(|(got, expected)| (f64::from(*got) - expected).abs());
        let off = off.fold(0.0, f64::max) / largest;
        println!("gradient of gain {block}: {:.3?} ..., {off:.1e} off", &dgain[..3]);
        assert!(off < 1e-2, "the gradient of gain {block} is {off} off");
    }
    Ok(())
}

/// Bytes before each tensor of the pool. All are multiples of 256, so that browsers take them too.
mod place {
    use super::{BLOCKS, CAPACITY, COLS};

    pub(super) const ROWS: u64 = (CAPACITY * COLS * 2) as u64;
    pub(super) const Y: u64 = sum(BLOCKS + 1);
    pub(super) const DY: u64 = Y + ROWS;
    pub(super) const DSUM: u64 = DY + ROWS;
    pub(super) const BYTES: u64 = dgain(BLOCKS + 1);

    /// The stream after a block; before that, what the block adds to it. 0 is the input.
    pub(super) const fn sum(block: usize) -> u64 {
        block as u64 * ROWS
    }

    pub(super) const fn statistics(block: usize) -> u64 {
        DSUM + ROWS + (block * CAPACITY * 8) as u64
    }

    pub(super) const fn gain(block: usize) -> u64 {
        statistics(BLOCKS + 1) + (block * COLS * 4) as u64
    }

    pub(super) const fn dgain(block: usize) -> u64 {
        gain(BLOCKS + 1) + (block * COLS * 4) as u64
    }
}

/// The blocks' calls, in order.
struct Stack {
    pool: wgpu::Buffer,
    norms: Vec<LayerNorm>,
    halve: wgpu::ComputePipeline,
    /// From y to the block's place in the stream.
    halve_y: Vec<wgpu::BindGroup>,
    /// From the gradient of the stream to dy.
    halve_dsum: wgpu::BindGroup,
    forward: Vec<Prepared>,
    /// With gradients of gains that are overwritten, and that are added to.
    backward: [Vec<Prepared>; 2],
}

impl Stack {
    fn new(kernels: &Kernels) -> Result<Self, Error> {
        let (device, queue) = (kernels.device(), kernels.queue());
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("pool"),
            size: place::BYTES,
            usage,
            mapped_at_creation: false,
        };
        let pool = device.create_buffer(&descriptor);
        let norms = (1..=BLOCKS).map(|block| {
            let label = format!("block {block}");
            let descriptor = LayerNormDescriptor {
                label: Some(&label),
                dtype: Dtype::F16,
                parameter_dtype: Some(Dtype::F32),
                ..LayerNormDescriptor::rms(256)
            };
            LayerNorm::new(kernels, &descriptor)
        });
        let norms = norms.collect::<Result<Vec<_>, Error>>()?;

        // One compiles for all. The stream's gradient is overwritten by the last block and added to by the
        // others, that of a gain by the first micro-batch and by the others.
        let gradients = [Gradient::Overwrite, Gradient::Accumulate];
        let backward = gradients.map(|dx| {
            gradients.map(|dgain| Backward { dx: Some(dx), dgain: Some(dgain), ..Backward::default() })
        });
        norms[0].warm(&WarmOptions {
            forward: &[Forward {
                residual: true,
                statistics: true,
                residual_in: Some(Tensor::Sum),
                ..Forward::default()
            }],
            backward: backward.as_flattened(),
            pooled: Pooled::Everything,
            rows: CAPACITY as u64,
            submit: true,
            ..WarmOptions::default()
        })?;

        // Places in the pool count bytes, as wgpu does.
        let rows = |bytes: u64| BufferRows::at_byte(&pool, bytes);
        let vector = |bytes: u64| BufferVector::at_byte(&pool, bytes);
        let capacity = CAPACITY as u64;
        let mut forward = Vec::new();
        let mut backward = [Vec::new(), Vec::new()];
        for (block, norm) in (1..=BLOCKS).zip(&norms) {
            let gain: Vec<f32> = gain(block);
            queue.write_buffer(&pool, place::gain(block), bytemuck::cast_slice(&gain));
            forward.push(norm.prepare_forward(&ForwardBuffers {
                // The sum replaces what the block adds.
                residual: Some(rows(place::sum(block))),
                sum: Some(rows(place::sum(block))),
                gain: Some(vector(place::gain(block))),
                statistics: Some(vector(place::statistics(block)).into()),
                ..ForwardBuffers::new(capacity, rows(place::sum(block - 1)), rows(place::Y))
            })?);
            for (calls, parameter_gradient) in backward.iter_mut().zip(gradients) {
                calls.push(norm.prepare_backward(&BackwardBuffers {
                    gain: Some(vector(place::gain(block))),
                    dx: Some(rows(place::DSUM)),
                    dgain: Some(vector(place::dgain(block))),
                    // The stream's gradient comes from the last block, and each adds its norm's.
                    dx_gradient: if block == BLOCKS { Gradient::Overwrite } else { Gradient::Accumulate },
                    parameter_gradient,
                    ..BackwardBuffers::new(
                        capacity,
                        rows(place::sum(block)),
                        rows(place::DY),
                        vector(place::statistics(block)),
                    )
                })?);
            }
        }
        let halve = halve_pipeline(device);
        let bind = |from, to| halve_bind_group(device, queue, &halve, &pool, from, to);
        // What stands in for the norm before the first is the input itself.
        let halve_y = (1..=BLOCKS)
            .map(|block| bind(if block == 1 { place::sum(0) } else { place::Y }, place::sum(block)))
            .collect();
        let halve_dsum = bind(place::DSUM, place::DY);
        Ok(Self { halve_y, halve_dsum, halve, pool, norms, forward, backward })
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>, rows: u64, is_first: bool) -> Result<(), Error> {
        let halve = |pass: &mut wgpu::ComputePass<'_>, bind_group| {
            pass.set_pipeline(&self.halve);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(u32::try_from(CAPACITY * COLS / 2 / 64).unwrap_or(u32::MAX), 1, 1);
        };
        for (bind_group, forward) in self.halve_y.iter().zip(&self.forward) {
            halve(pass, bind_group);
            forward.record_rows(pass, rows)?;
        }
        let backward = &self.backward[if is_first { 0 } else { 1 }];
        for (i, backward) in backward.iter().enumerate().rev() {
            backward.record_rows(pass, rows)?;
            if i > 0 {
                halve(pass, &self.halve_dsum);
            }
        }
        Ok(())
    }
}

fn halve_pipeline(device: &wgpu::Device) -> wgpu::ComputePipeline {
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("halve"),
        layout: None,
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("halve"),
            source: wgpu::ShaderSource::Wgsl(HALVE.into()),
        }),
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn halve_bind_group(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    pipeline: &wgpu::ComputePipeline,
    pool: &wgpu::Buffer,
    from: u64,
    to: u64,
) -> wgpu::BindGroup {
    let words = [from / 4, to / 4, place::ROWS / 4, 0].map(|word| u32::try_from(word).unwrap_or(u32::MAX));
    let places = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("places"),
        size: 16,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&places, 0, bytemuck::cast_slice(&words));
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("halve"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: places.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: pool.as_entire_binding() },
        ],
    })
}

fn input(number: usize, rows: usize) -> Vec<f16> {
    (0..rows * COLS).map(|i| f16::from_f32(((i * 37 + number * 11) % 101) as f32 / 25.0 - 2.0)).collect()
}

/// The gradient of the last norm's y.
fn upstream(number: usize, rows: usize) -> Vec<f16> {
    (0..rows * COLS).map(|i| f16::from_f32(((i * 13 + number * 7) % 23) as f32 / 16.0 - 0.5)).collect()
}

fn rows_of(data: &[f16]) -> Rows<'_, f16> {
    Rows { data, stride: COLS }
}

fn gain(block: usize) -> Vec<f32> {
    (0..COLS).map(|i| 0.75 + ((i + block) % 8) as f32 / 16.0).collect()
}

/// The gradients of the gains by the reference, in float64, with rows stored in 16 bits where the GPU stores
/// them.
fn expected(norm: &LayerNorm) -> Result<Vec<Vec<f64>>, Error> {
    let problem = norm.problem();
    let mut dgains = vec![vec![0.0; COLS]; BLOCKS];
    for (number, rows) in MICRO_BATCHES.into_iter().enumerate() {
        let halved = |values: &[f16]| -> Vec<f16> {
            values.iter().map(|value| f16::from_f32(0.5 * value.to_f32())).collect()
        };
        let mut sums = vec![input(number, rows)];
        let mut y = sums[0].clone();
        for block in 1..=BLOCKS {
            let residual = halved(&y);
            let mut sum = vec![f16::ZERO; rows * COLS];
            let gain = gain(block);
            let inputs = ForwardInputs {
                residual: Some(rows_of(&residual)),
                gain: Some(&gain[..]),
                ..ForwardInputs::new(rows, rows_of(&sums[block - 1]))
            };
            let outputs = ForwardOutputs {
                sum: Some(RowsMut { data: &mut sum, stride: COLS }),
                ..ForwardOutputs::new(RowsMut { data: &mut y, stride: COLS })
            };
            reference::forward(problem, &inputs, outputs)?;
            sums.push(sum);
        }
        let mut dy = upstream(number, rows);
        let mut dsum = vec![f16::ZERO; rows * COLS];
        for block in (1..=BLOCKS).rev() {
            let gain = gain(block);
            let inputs = BackwardInputs {
                gain: Some(&gain[..]),
                ..BackwardInputs::new(rows, rows_of(&sums[block]), rows_of(&dy))
            };
            let outputs = BackwardOutputs {
                dx: Some(RowsMut { data: &mut dsum, stride: COLS }),
                dgain: Some(&mut dgains[block - 1]),
                dx_gradient: Gradient::Accumulate,
                parameter_gradient: Gradient::Accumulate,
                ..BackwardOutputs::default()
            };
            reference::backward(problem, &inputs, outputs)?;
            dy = halved(&dsum);
        }
    }
    Ok(dgains)
}
