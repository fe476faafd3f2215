//! Pipelines belong to the device: calls with equal texts share one, whichever normalisation asks for it.
#![cfg(feature = "gpu")]

use std::sync::Barrier;
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, Context, ForwardBuffers, Gradient, Kernels, LayerNorm,
    LayerNormDescriptor, wgpu,
};

const ROWS: u64 = 4;
const COLS: u32 = 96;

struct Buffers {
    rows: [wgpu::Buffer; 4],
    vectors: [wgpu::Buffer; 4],
    statistics: wgpu::Buffer,
}

impl Buffers {
    fn new(device: &wgpu::Device) -> Self {
        let buffer = |size| {
            let usage = wgpu::BufferUsages::STORAGE;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            rows: [(); 4].map(|()| buffer(ROWS * u64::from(COLS) * 4)),
            vectors: [(); 4].map(|()| buffer(u64::from(COLS) * 4)),
            statistics: buffer(ROWS * 8),
        }
    }

    fn forward(&self) -> ForwardBuffers<'_> {
        let ([x, y, ..], [gain, bias, ..]) = (&self.rows, &self.vectors);
        ForwardBuffers {
            gain: Some(gain.into()),
            bias: Some(bias.into()),
            statistics: Some((&self.statistics).into()),
            ..ForwardBuffers::new(ROWS, x, y)
        }
    }

    fn backward(&self, parameter_gradient: Gradient) -> BackwardBuffers<'_> {
        let ([x, _, dy, dx], [gain, _, dgain, dbias]) = (&self.rows, &self.vectors);
        BackwardBuffers {
            gain: Some(gain.into()),
            dx: Some(dx.into()),
            dgain: Some(dgain.into()),
            dbias: Some(dbias.into()),
            parameter_gradient,
            ..BackwardBuffers::new(ROWS, x, dy, &self.statistics)
        }
    }
}

fn norm(kernels: &Kernels, cols: u32, eps: f32) -> LayerNorm {
    LayerNorm::new(kernels, &LayerNormDescriptor { cols, eps, ..LayerNormDescriptor::default() }).unwrap()
}

#[test]
fn a_hundred_normalisations_of_one_shape_compile_what_one_does() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let buffers = Buffers::new(context.device());
    let kernels = Kernels::new(context.device(), context.queue());
    let step = |norm: &LayerNorm| {
        norm.prepare_forward(&buffers.forward()).unwrap();
        norm.prepare_backward(&buffers.backward(Gradient::Overwrite)).unwrap();
    };
    assert_eq!(kernels.pipelines(), 0, "nothing is compiled before it is needed");
    step(&norm(&kernels, COLS, 1e-5));
    // Forward, backward, and the sums over rows.
    assert_eq!(kernels.pipelines(), 3);
    for layer in 0..100 {
        // eps is a number in the uniform.
        step(&norm(&kernels, COLS, 1e-6 * (1 + layer) as f32));
    }
    assert_eq!(kernels.clone().pipelines(), 3, "of a hundred more");

    // Of the two kernels of backward only the last one differs.
    let accumulate = buffers.backward(Gradient::Accumulate);
    norm(&kernels, COLS, 1e-5).prepare_backward(&accumulate).unwrap();
    assert_eq!(kernels.pipelines(), 4, "with gradients that accumulate");
    norm(&kernels, COLS / 2, 1e-5).prepare_forward(&buffers.forward()).unwrap();
    assert_eq!(kernels.pipelines(), 5, "with another width");
}

#[test]
fn threads_that_need_one_pipeline_compile_it_once() {
    const THREADS: usize = 8;
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let buffers = Buffers::new(context.device());
    let kernels = Kernels::new(context.device(), context.queue());
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let norm = norm(&kernels, COLS, 1e-5);
                start.wait();
                norm.prepare_forward(&buffers.forward()).unwrap();
            });
        }
    });
    assert_eq!(kernels.pipelines(), 1);
}
