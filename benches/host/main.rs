//! What the host pays: planning and assembling, creating pipelines, preparing a call, recording one, waiting
//! for one.
//!
//!     cargo bench --bench host
//!     cargo bench --bench host -- record
//!
//! Recording is timed beside the same wgpu calls written by hand, from an empty encoder to a finished one,
//! which is where wgpu checks what was recorded; nothing is submitted. `latency` is the time from an empty
//! encoder to the end of the work on the device, of one row and of the copies of its bytes.
//!
//! `places` is what a pool costs that hands out other places each time: preparing a call over buffers that
//! were seen before, beside the bind group and the written uniform that it comes to.
//!
//! Pipelines are created by new `Kernels` each time: `first` with what the driver keeps by itself, in memory
//! and on disk, `from_cache` from a `wgpu::PipelineCache` that has them, where the device has one. Mesa keeps
//! nothing by itself with
//!
//!     MESA_SHADER_CACHE_DISABLE=true cargo bench --bench host -- prepare

mod by_hand;

use by_hand::{ByHand, UNIFORM_BYTES, bind};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wgpu_layernorm::bench::{CopyForm, CopyKernel};
use wgpu_layernorm::plan::{Backward, Caps, Forward, Plan};
use wgpu_layernorm::shader::{self, Dialect};
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, BufferRows, Context, Dtype, ForwardBuffers, Gradient, Kernels,
    KernelsDescriptor, LayerNorm, LayerNormDescriptor, Problem, adapters, required_features, required_limits,
};

const ROWS: u64 = 64;
const COLS: u32 = 1024;
/// Recordings in a pass, of which each is one element of the throughput.
const RECORDINGS: u64 = 1000;

fn context() -> Context {
    Context::new_blocking(&AdapterChoice::Auto).unwrap_or_else(|error| panic!("{error}"))
}

fn layer_norm(context: &Context) -> LayerNorm {
    layer_norm_from(context, COLS, None)
}

/// Of kernels of its own, which have compiled nothing.
fn layer_norm_from(context: &Context, cols: u32, pipeline_cache: Option<&wgpu::PipelineCache>) -> LayerNorm {
    let descriptor = KernelsDescriptor { pipeline_cache, ..KernelsDescriptor::default() };
    let kernels = Kernels::with(context.device(), context.queue(), &descriptor);
    let descriptor = LayerNormDescriptor { cols, ..LayerNormDescriptor::default() };
    LayerNorm::new(&kernels, &descriptor).expect("the descriptor is valid")
}

/// Buffers that are large enough for every tensor.
struct Buffers {
    row_count: u64,
    rows: [wgpu::Buffer; 3],
    vectors: [wgpu::Buffer; 4],
    statistics: wgpu::Buffer,
}

impl Buffers {
    fn new(context: &Context, row_count: u64, cols: u32) -> Self {
        let buffer = |bytes: u64| {
            context.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        Self {
            row_count,
            rows: [(); 3].map(|()| buffer(row_count * u64::from(cols) * 4)),
            vectors: [(); 4].map(|()| buffer(u64::from(cols) * 4)),
            statistics: buffer(row_count * 8),
        }
    }

    fn forward(&self) -> ForwardBuffers<'_> {
        let ([x, y, _], [gain, bias, ..]) = (&self.rows, &self.vectors);
        let required = ForwardBuffers::new(self.row_count, x, y);
        ForwardBuffers { gain: Some(gain.into()), bias: Some(bias.into()), ..required }
    }

    fn backward(&self) -> BackwardBuffers<'_> {
        let ([x, dy, dx], [gain, _, dgain, dbias]) = (&self.rows, &self.vectors);
        BackwardBuffers {
            gain: Some(gain.into()),
            dx: Some(dx.into()),
            dgain: Some(dgain.into()),
            dbias: Some(dbias.into()),
            ..BackwardBuffers::new(self.row_count, x, dy, &self.statistics)
        }
    }
}

/// From a problem to a kernel's text: each the whole way, on a GPU with all that kernels gain from.
fn assemble(criterion: &mut Criterion) {
    let caps = Caps {
        subgroup: Some(wgpu_layernorm::plan::SubgroupSizes { min: 32, max: 32 }),
        shader_f16: true,
        ..Caps::webgpu_default()
    };
    let backward = Backward {
        dx: Some(Gradient::Overwrite),
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Overwrite),
        ..Backward::default()
    };
    let mut group = criterion.benchmark_group("assemble");
    for (cols, dtype) in [(1024, Dtype::F32), (1023, Dtype::F16), (131_072, Dtype::Bf16)] {
        let problem = Problem { cols, dtype, parameter_dtype: dtype, ..Problem::default() };
        let text = |plan: Plan| shader::assemble(&plan, Dialect::Naga).expect("a plan has a text");
        group.bench_function(format!("forward/{dtype}/{cols}"), |bencher| {
            bencher.iter(|| {
                text(
                    Plan::forward(black_box(&problem), Forward::default(), 8, &caps)
                        .expect("there is a plan"),
                )
            });
        });
        group.bench_function(format!("backward/{dtype}/{cols}"), |bencher| {
            bencher.iter(|| {
                text(Plan::backward(black_box(&problem), backward, 8, &caps).expect("there is a plan"))
            });
        });
    }
}

/// A device with a pipeline cache if the adapter has them.
fn context_with_cache() -> Context {
    pollster::block_on(async {
        let adapters = adapters().await;
        let adapter = adapters.first().expect("an adapter");
        let descriptor = wgpu::DeviceDescriptor {
            required_features: required_features(adapter)
                | (adapter.features() & wgpu::Features::PIPELINE_CACHE),
            required_limits: required_limits(adapter),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("a device");
        Context::from_device(device, queue)
    })
}

/// A pipeline cache with what `fill` compiles through one, as an application would load it at its next start.
fn filled_cache(context: &Context, fill: impl Fn(&LayerNorm)) -> Option<wgpu::PipelineCache> {
    if !context.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
        eprintln!("from_cache is not measured: {} has no pipeline cache", context.description());
        return None;
    }
    let cache = |data: Option<&[u8]>| {
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: false };
        #[allow(unsafe_code, reason = "wgpu has no other way to create a pipeline cache")]
        // SAFETY: the data, if there is any, is what `get_data` of a cache of the same device has returned.
        unsafe {
            context.device().create_pipeline_cache(&descriptor)
        }
    };
    let first = cache(None);
    fill(&layer_norm_from(context, COLS, Some(&first)));
    let data = first.get_data();
    match &data {
        Some(data) => eprintln!("the pipeline cache has {} bytes", data.len()),
        None => eprintln!("the pipeline cache has no data: from_cache starts from an empty one"),
    }
    Some(cache(data.as_deref()))
}

/// The first call with a problem compiles, the others find the pipelines there.
fn prepare(criterion: &mut Criterion) {
    let context = context_with_cache();
    let buffers = Buffers::new(&context, ROWS, COLS);
    let (forward, backward) = (buffers.forward(), buffers.backward());
    let mut group = criterion.benchmark_group("prepare");
    group.sample_size(20);
    group.bench_function("forward/first", |bencher| {
        let call = |norm: LayerNorm| norm.prepare_forward(&forward).expect("the call is valid");
        bencher.iter_batched(|| layer_norm(&context), call, BatchSize::PerIteration);
    });
    group.bench_function("backward/first", |bencher| {
        let call = |norm: LayerNorm| norm.prepare_backward(&backward).expect("the call is valid");
        bencher.iter_batched(|| layer_norm(&context), call, BatchSize::PerIteration);
    });
    let cache = filled_cache(&context, |norm| {
        norm.prepare_forward(&forward).expect("the call is valid");
        norm.prepare_backward(&backward).expect("the call is valid");
    });
    if let Some(cache) = &cache {
        group.bench_function("forward/from_cache", |bencher| {
            let call = |norm: LayerNorm| norm.prepare_forward(&forward).expect("the call is valid");
            bencher.iter_batched(
                || layer_norm_from(&context, COLS, Some(cache)),
                call,
                BatchSize::PerIteration,
            );
        });
        group.bench_function("backward/from_cache", |bencher| {
            let call = |norm: LayerNorm| norm.prepare_backward(&backward).expect("the call is valid");
            bencher.iter_batched(
                || layer_norm_from(&context, COLS, Some(cache)),
                call,
                BatchSize::PerIteration,
            );
        });
    }
    let norm = layer_norm(&context);
    group.bench_function("forward/again", |bencher| {
        bencher.iter(|| norm.prepare_forward(&forward).expect("the call is valid"));
    });
    group.bench_function("backward/again", |bencher| {
        bencher.iter(|| norm.prepare_backward(&backward).expect("the call is valid"));
    });
}

/// Preparing a call over buffers that were seen before, at places that were not, beside the bind group and
/// the write of the uniform that it comes to.
fn places(criterion: &mut Criterion) {
    const PLACES: u64 = 4096;
    let context = context();
    let (device, queue) = (context.device(), context.queue());
    // Each place begins 256 bytes, or 64 values, after the one before.
    let buffers = Buffers::new(&context, ROWS + PLACES * 64 / u64::from(COLS), COLS);
    let norm = layer_norm(&context);
    let at = |place: u64| {
        let ([x, y, _], [gain, bias, ..]) = (&buffers.rows, &buffers.vectors);
        let rows = |buffer| BufferRows::at_element(buffer, place * 64);
        ForwardBuffers {
            gain: Some(gain.into()),
            bias: Some(bias.into()),
            ..ForwardBuffers::new(ROWS, rows(x), rows(y))
        }
    };
    let plans = norm.plan_forward(&at(0)).expect("there is a plan");
    let ([x, y, _], [gain, bias, ..]) = (&buffers.rows, &buffers.vectors);
    let by_hand = ByHand::new(&context, &plans[0], &[x, gain, bias, y]);
    let mut group = criterion.benchmark_group("places");
    // What is written by the queue is kept until something is submitted.
    let timed = |iterations: u64, work: &dyn Fn(u64)| {
        let mut time = std::time::Duration::ZERO;
        for first in (0..iterations).step_by(64) {
            let start = std::time::Instant::now();
            (first..iterations.min(first + 64)).for_each(|i| work(i % PLACES));
            time += start.elapsed();
            queue.submit([]);
            device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
        }
        time
    };
    group.bench_function("forward/prepared", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|place| drop(norm.prepare_forward(&at(place)).expect("the call is valid")))
        });
    });
    group.bench_function("forward/by_hand", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|place| {
                let slot = place % 256 * 256;
                queue.write_buffer(&by_hand.uniform, slot, &[7; UNIFORM_BYTES]);
                drop(bind(device, &by_hand.layout, &by_hand.uniform, &[x, gain, bias, y]));
            })
        });
    });
}

fn record(criterion: &mut Criterion) {
    let context = context();
    let buffers = Buffers::new(&context, ROWS, COLS);
    let norm = layer_norm(&context);
    let prepared = norm.prepare_forward(&buffers.forward()).expect("the call is valid");
    let plans = norm.plan_forward(&buffers.forward()).expect("there is a plan");
    let ([x, y, dx], [gain, bias, dgain, dbias]) = (&buffers.rows, &buffers.vectors);
    let by_hand = ByHand::new(&context, &plans[0], &[x, gain, bias, y]);

    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(RECORDINGS));
    let finished = |record: &dyn Fn(&mut wgpu::ComputePass<'_>)| {
        let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for _ in 0..RECORDINGS {
                record(&mut pass);
            }
        }
        encoder.finish()
    };

    assert_eq!(prepared.dispatch_count(), 1);
    group.bench_function("forward/prepared", |bencher| {
        bencher.iter_with_large_drop(|| finished(&|pass| prepared.record(pass)));
    });
    group.bench_function("forward/rows", |bencher| {
        let next = std::cell::Cell::new(0);
        bencher.iter_with_large_drop(|| {
            finished(&|pass| {
                // 0 rows are no dispatch.
                next.set(next.get() % (ROWS - 1) + 1);
                prepared.record_rows(pass, next.get()).expect("no more rows than were prepared for");
            })
        });
    });
    group.bench_function("forward/by_hand", |bencher| {
        bencher.iter_with_large_drop(|| finished(&|pass| by_hand.record(pass)));
    });

    let prepared = norm.prepare_backward(&buffers.backward()).expect("the call is valid");
    let plans = norm.plan_backward(&buffers.backward()).expect("there is a plan");
    let partials = &Buffers::new(&context, ROWS, COLS).rows[0];
    let by_hand = [
        ByHand::new(&context, &plans[0], &[x, y, gain, &buffers.statistics, dx, partials]),
        ByHand::new(&context, &plans[1], &[partials, dgain, dbias]),
    ];
    assert_eq!(prepared.dispatch_count(), by_hand.len());
    group.bench_function("backward/prepared", |bencher| {
        bencher.iter_with_large_drop(|| finished(&|pass| prepared.record(pass)));
    });
    group.bench_function("backward/by_hand", |bencher| {
        bencher.iter_with_large_drop(|| {
            finished(&|pass| by_hand.iter().for_each(|dispatch| dispatch.record(pass)))
        });
    });
}

/// A call alone and waited for.
fn latency(criterion: &mut Criterion) {
    const COLS: u32 = 4096;
    let context = context();
    let device = context.device();
    let buffers = Buffers::new(&context, 1, COLS);
    let norm = layer_norm_from(&context, COLS, None);
    let prepared = norm.prepare_forward(&buffers.forward()).expect("the call is valid");

    let mut group = criterion.benchmark_group("latency");
    let finished = |record: &dyn Fn(&mut wgpu::ComputePass<'_>)| {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        context.queue().submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
    };
    group.bench_function("forward/1x4096", |bencher| {
        bencher.iter(|| finished(&|pass| prepared.record(pass)));
    });
    let [x, y, _] = &buffers.rows;
    for form in CopyForm::ALL {
        let is_whole = form.is_whole(x.size(), &device.limits());
        let kernel = match CopyKernel::new(device, form, 1, 1, is_whole) {
            Ok(kernel) => kernel,
            // A device with small workgroups has fewer forms.
            Err(error) if error.is_unsupported() => continue,
            Err(error) => panic!("{error}"),
        };
        let copy = kernel.call(device, x.size(), &[x], &[y]).expect("the call is valid");
        group.bench_function(format!("copy/{}/1x4096", form.name()), |bencher| {
            bencher.iter(|| finished(&|pass| copy.record(pass)));
        });
    }
}

criterion_group!(benches, assemble, prepare, places, record, latency);
criterion_main!(benches);
