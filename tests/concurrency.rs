//! One device and one normalization for many threads: what they compute is what a single thread does.

use std::sync::Barrier;
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardInputs, Context, ForwardBuffers, Kernels, LayerNorm, LayerNormDescriptor,
    Prepared, Problem, Rows,
};

const COLS: u32 = 96;
const THREADS: usize = 4;
const ROUNDS: usize = 6;

const fn is_send_and_sync<T: Send + Sync>() {}
const _: () = is_send_and_sync::<Kernels>();
const _: () = is_send_and_sync::<LayerNorm>();
const _: () = is_send_and_sync::<Prepared>();
const _: () = is_send_and_sync::<Context>();

fn values(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 61 + seed * 17) % 127) as f32 / 8.0 - 5.0).collect()
}

/// Bits of y and statistics: over buffers of the thread's own, with a pipeline that all threads share.
fn forward(context: &Context, norm: &LayerNorm, seed: usize) -> Vec<Vec<u8>> {
    let rows = 3 + 20 * seed;
    let cols = COLS as usize;
    let buffer = |values: &[f32]| {
        context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    };
    let (x, y) = (buffer(&values(seed, rows * cols)), buffer(&vec![0.0; rows * cols]));
    let (gain, statistics) = (buffer(&values(seed + 1, cols)), buffer(&vec![0.0; rows * 2]));
    // Odd seeds want no statistics, which is another pipeline.
    let wants_statistics = seed.is_multiple_of(2);
    let prepared = norm
        .prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            statistics: wants_statistics.then_some((&statistics).into()),
            ..ForwardBuffers::new(rows as u64, &x, &y)
        })
        .unwrap();
    pollster::block_on(context.run(&[&prepared], &[&y, &statistics])).unwrap()
}

/// Bits of dx, dgain and dbias: through the cache of normalizations that all threads share.
fn backward(context: &Context, seed: usize) -> Vec<Vec<u32>> {
    let (rows, cols) = (40, 8 + 25 * seed);
    let problem = Problem { cols: u32::try_from(cols).unwrap(), ..Problem::default() };
    let (x, dy, gain) = (values(seed, rows * cols), values(seed + 2, rows * cols), values(seed + 3, cols));
    let dense = |data| Rows { data, stride: cols };
    let inputs =
        BackwardInputs { gain: Some(&gain[..]), ..BackwardInputs::new(rows, dense(&x[..]), dense(&dy[..])) };
    let result = context.backward_blocking(&problem, &inputs).unwrap();
    [result.dx, result.dgain.unwrap(), result.dbias.unwrap()]
        .map(|values| values.into_iter().map(f32::to_bits).collect())
        .into()
}

#[test]
fn threads_that_share_a_device_get_the_results_of_one() {
    let fresh = || {
        let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
        let descriptor =
            LayerNormDescriptor { cols: COLS, affine: Affine::Gain, ..LayerNormDescriptor::default() };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        (context, norm)
    };
    let (context, norm) = fresh();
    let alone: Vec<_> =
        (0..=THREADS).map(|seed| (forward(&context, &norm, seed), backward(&context, seed))).collect();
    assert!(alone.iter().all(|(forward, _)| forward[0].iter().any(|byte| *byte != 0)), "y was written");

    // On a device that has compiled nothing yet, so that the threads compile at the same time too.
    let (context, norm) = fresh();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (context, norm, start, alone) = (&context, &norm, &start, &alone);
            scope.spawn(move || {
                // Once only: a thread that fails must not keep the others waiting.
                start.wait();
                for round in 0..ROUNDS {
                    // The problems in another order for each thread, and between them one that all have.
                    for seed in [(thread + round) % THREADS, THREADS] {
                        let got = (forward(context, norm, seed), backward(context, seed));
                        assert!(got == alone[seed], "thread {thread}, round {round}, problem {seed}");
                    }
                }
            });
        }
    });
}
