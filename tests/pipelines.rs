//! Pipelines belong to the device: calls with equal texts share one, whichever normalization asks for it.

use std::sync::Barrier;
use wgpu_layernorm::plan::{AdapterKind, Backward, Forward, Pooled, Tensor};
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, BufferRows, BufferVector, Context, ForwardBuffers, Gradient, Kernels,
    KernelsDescriptor, LayerNorm, LayerNormDescriptor, Prepared, WarmOptions, wgpu,
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
fn a_hundred_normalizations_of_one_shape_compile_what_one_does() {
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
fn wide_rows_of_several_widths_share_their_pipelines() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let software = KernelsDescriptor { ladder: Some(AdapterKind::Software), ..KernelsDescriptor::default() };
    let kernels = Kernels::with(context.device(), context.queue(), &software);
    // Beyond what registers hold, and near enough to have as many threads and rows a block.
    let counts = [20_480, 21_504, 22_528].map(|cols| {
        let norm = norm(&kernels, cols, 1e-5);
        let gradient = Some(Gradient::Overwrite);
        let backward = Backward { dx: gradient, dgain: gradient, dbias: gradient, ..Backward::default() };
        let options =
            WarmOptions { forward: &[Forward::default()], backward: &[backward], ..WarmOptions::default() };
        norm.warm(&options).unwrap();
        kernels.pipelines()
    });
    assert_eq!(counts, [counts[0]; 3]);
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

/// A step of training over one buffer: forward with a residual, and backward with all gradients.
fn pooled_step(norm: &LayerNorm, pool: &wgpu::Buffer, own_scratch: bool) -> [Prepared; 2] {
    let row_bytes = ROWS * u64::from(COLS);
    let rows = |place: u64| BufferRows::at_element(pool, place * row_bytes);
    let vector = |place: u64| BufferVector::at_element(pool, place * row_bytes);
    let scratch = own_scratch.then(|| pool.slice(14 * row_bytes * 4..));
    let forward = norm.prepare_forward(&ForwardBuffers {
        residual: Some(rows(1)),
        sum: Some(rows(1)),
        gain: Some(vector(3)),
        bias: Some(vector(4)),
        statistics: Some(vector(5).into()),
        scratch,
        ..ForwardBuffers::new(ROWS, rows(0), rows(2))
    });
    let backward = norm.prepare_backward(&BackwardBuffers {
        gain: Some(vector(3)),
        dx: Some(rows(6)),
        dgain: Some(vector(7)),
        dbias: Some(vector(8)),
        scratch,
        ..BackwardBuffers::new(ROWS, rows(1), rows(9), vector(5))
    });
    [forward.unwrap(), backward.unwrap()]
}

#[test]
fn a_step_after_warming_compiles_nothing() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let pool = context.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 1 << 20,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let (forward, backward) = (
        Forward { residual: true, statistics: true, residual_in: Some(Tensor::Sum), ..Forward::default() },
        Backward {
            dx: Some(Gradient::Overwrite),
            dgain: Some(Gradient::Overwrite),
            dbias: Some(Gradient::Overwrite),
            ..Backward::default()
        },
    );
    let options = WarmOptions {
        forward: &[forward],
        backward: &[backward],
        rows: ROWS,
        submit: true,
        ..WarmOptions::default()
    };
    for pooled_scratch in [false, true] {
        let kernels = Kernels::new(context.device(), context.queue());
        let norm = norm(&kernels, COLS, 1e-5);
        // Kernels for buffers apart are other ones, but for the sums over rows where scratch is the device's.
        norm.warm(&options).unwrap();
        assert_eq!(kernels.pipelines(), 3);
        norm.warm(&WarmOptions { pooled: Pooled::Everything, pooled_scratch, ..options }).unwrap();
        let (warm, scratch) = (kernels.pipelines(), kernels.scratch_bytes());
        assert_eq!(warm, if pooled_scratch { 6 } else { 5 });
        assert!(scratch > 0, "scratch is reserved");

        let calls = pooled_step(&norm, &pool, pooled_scratch);
        pollster::block_on(context.run(&[&calls[0], &calls[1]], &[&pool])).unwrap();
        assert_eq!(
            kernels.pipelines(),
            warm,
            "pipelines after a step, scratch in the pool: {pooled_scratch}"
        );
        assert_eq!(kernels.scratch_bytes(), scratch);
    }
    // What was not asked for is not there.
    let norm = norm(context.kernels(), COLS, 1e-5);
    norm.warm(&WarmOptions { forward: &[forward], pooled: Pooled::Rows, ..WarmOptions::default() }).unwrap();
    let warm = context.kernels().pipelines();
    pooled_step(&norm, &pool, false);
    assert_eq!(context.kernels().pipelines(), warm + 3);
}

#[test]
fn an_alignment_is_that_of_the_places_to_come() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let buffers = Buffers::new(context.device());
    let kernels = Kernels::new(context.device(), context.queue());
    let norm = norm(&kernels, 32, 1e-5);
    let forward = Forward { statistics: true, ..Forward::default() };
    for (alignment, elements) in [(16, 4), (8, 2), (4, 1)] {
        norm.warm(&WarmOptions { forward: &[forward], alignment, ..WarmOptions::default() }).unwrap();
        let warm = kernels.pipelines();
        let x = BufferRows::at_element(&buffers.rows[0], elements);
        norm.prepare_forward(&ForwardBuffers { x, ..buffers.forward() }).unwrap();
        assert_eq!(kernels.pipelines(), warm, "rows at multiples of {alignment} bytes");
    }
    assert_eq!(kernels.pipelines(), 3, "each alignment is another kernel");
    let error = norm.warm(&WarmOptions { alignment: 2, ..WarmOptions::default() }).unwrap_err();
    assert_eq!(error.to_string(), "alignment is 2, needs to be a power of two from 4 on");
}
