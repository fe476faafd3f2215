//! What the two benches share: shapes, data, checks and timing.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use std::cell::OnceCell;
use std::time::{Duration, Instant};
use wgpu::util::DeviceExt as _;
use wgpu_layernorm::bench::{CopyCall, CopyForm, CopyKernel};
use wgpu_layernorm::plan::Kernel;
use wgpu_layernorm::{
    AdapterChoice, Context, Element, LayerNorm, LayerNormDescriptor, Normalization, Prepared,
};

/// From rows narrower than a subgroup to few rows wider than any register budget. On an adapter with a large
/// cache the smaller tensors may never leave it; the copy beside them then runs from there too.
pub(crate) const SHAPES_F32: [Shape; 6] = [
    Shape { rows: 65_536, cols: 64 },
    Shape { rows: 8192, cols: 256 },
    SHAPE_OF_FORMS,
    Shape { rows: 2048, cols: 4096 },
    Shape { rows: 256, cols: 16_384 },
    Shape { rows: 8, cols: 131_072 },
];
/// As many bytes as [`SHAPE_OF_FORMS`] in f32.
pub(crate) const SHAPE_16_BIT: Shape = Shape { rows: 8192, cols: 1024 };
/// The shape at which options are compared with each other, and with the CPU.
pub(crate) const SHAPE_OF_FORMS: Shape = Shape { rows: 4096, cols: 1024 };

/// The error that a result may have, in units of its type's rounding, relative to the largest value in its
/// row. Wide enough for every kernel: what is timed must compute the right thing, how exactly is for the
/// tests.
const TOLERANCE_UNITS: f64 = 16.0;

/// Work that one submit holds at least: starting it and waiting for it takes up to a tenth of a millisecond,
/// which then is a hundredth of what is timed. Not much longer either, since some systems kill what keeps a
/// GPU busy for seconds.
const LEAST_SUBMIT: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) cols: u32,
}

impl Shape {
    /// Values of a tensor.
    pub(crate) const fn len(self) -> usize {
        self.rows * self.cols as usize
    }

    /// What follows the kernel's name in a bench's id; `form` is empty or an option after a slash.
    pub(crate) fn parameter<T: Element>(self, form: &str) -> String {
        format!("{}/{}x{}{form}", T::DTYPE, self.rows, self.cols)
    }
}

/// A tensor that a call writes, and what it has to hold then.
pub(crate) struct Output {
    pub(crate) name: &'static str,
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) expected: Vec<f64>,
}

/// A criterion group on an adapter.
pub(crate) struct Bench<'a> {
    context: Context,
    group: BenchmarkGroup<'a, WallTime>,
}

/// Runs the benches of one group on the adapter that `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` choose, else on
/// the best.
pub(crate) fn run(group: &str, benches: impl FnOnce(&mut Bench<'_>)) {
    let context = Context::new_blocking(&AdapterChoice::Auto).unwrap_or_else(|error| panic!("{error}"));
    eprintln!("{group} on {}", context.description());
    let mut criterion = Criterion::default()
        .sample_size(12)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        // So few samples are not worth the default of 100,000, which take as long as the measurement.
        .nresamples(10_000)
        .configure_from_args();
    let mut bench = Bench { context, group: criterion.benchmark_group(group) };
    // Every submit holds the same number of calls, so samples of different lengths would tell no more than
    // equal ones.
    bench.group.sampling_mode(SamplingMode::Flat);
    benches(&mut bench);
    drop(bench);
    criterion.final_summary();
}

impl Bench<'_> {
    /// Layer norm or RMS norm with gain and bias of the rows' own type.
    pub(crate) fn norm<T: Element>(&self, cols: u32, normalization: Normalization) -> LayerNorm {
        let descriptor =
            LayerNormDescriptor { cols, dtype: T::DTYPE, normalization, ..LayerNormDescriptor::default() };
        LayerNorm::new(self.context.kernels(), &descriptor).expect("the descriptor is valid")
    }

    /// A buffer with these values.
    pub(crate) fn input<V: bytemuck::NoUninit>(&self, values: &[V]) -> wgpu::Buffer {
        self.context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    }

    /// A buffer of zeros for as many values as are expected.
    pub(crate) fn output<T: Element>(&self, name: &'static str, expected: Vec<f64>) -> Output {
        let buffer = self.context.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(name),
            size: size_of::<T>() as u64 * expected.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Output { name, buffer, expected }
    }

    /// Runs a call once and panics unless its outputs are what is expected, so that no wrong kernel is timed.
    pub(crate) fn check<T: Element>(&self, call: &Prepared, cols: u32, outputs: &[&Output]) {
        let buffers: Vec<_> = outputs.iter().map(|output| &output.buffer).collect();
        let downloads = pollster::block_on(self.context.run(&[call], &buffers)).expect("the call runs");
        for (output, bytes) in outputs.iter().zip(downloads) {
            let values: Vec<T> = bytemuck::pod_collect_to_vec(&bytes);
            let rows = values.chunks(cols as usize).zip(output.expected.chunks(cols as usize));
            for (row, (values, expected)) in rows.enumerate() {
                let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                let tolerance = TOLERANCE_UNITS * T::DTYPE.unit_roundoff() * largest;
                let is_close = |(value, expected): (&T, &f64)| (value.to_f64() - expected).abs() <= tolerance;
                if let Some(col) = values.iter().zip(expected).position(|pair| !is_close(pair)) {
                    panic!(
                        "not timed, since it is wrong: {} of {} rows of {cols} {}, row {row}, column {col}, is {} \
                         but should be {}, give or take {tolerance}",
                        output.name,
                        output.expected.len() / cols as usize,
                        T::DTYPE,
                        values[col].to_f64(),
                        expected[col],
                    );
                }
            }
        }
    }

    /// Times a call and, right after it, since the speed of a machine drifts, a plain copy from the tensors
    /// that the call reads to those that it writes. Those tensors are the bytes of the throughput: the least
    /// that any kernel would have to move. gain, bias, their gradients, statistics and scratch are not among
    /// them.
    pub(crate) fn kernel_and_copy(
        &mut self,
        kernel: Kernel,
        parameter: &str,
        call: &Prepared,
        (inputs, outputs): (&[&wgpu::Buffer], &[&wgpu::Buffer]),
    ) {
        let bytes = inputs.iter().chain(outputs).map(|buffer| buffer.size()).sum();
        self.gpu(kernel.name(), parameter, bytes, |pass| call.record(pass));
        let copy = fastest_copy(&self.context, inputs, outputs);
        self.gpu("copy", parameter, bytes, |pass| copy.record(pass));
    }

    fn gpu(&mut self, name: &str, parameter: &str, bytes: u64, record: impl Fn(&mut wgpu::ComputePass<'_>)) {
        let context = &self.context;
        let submit = |calls| time_of_submit(context, calls, &record);
        let calls_per_submit = OnceCell::new();
        self.group.throughput(Throughput::BytesDecimal(bytes));
        self.group.bench_function(BenchmarkId::new(name, parameter), |bencher| {
            bencher.iter_custom(|iterations| {
                let calls = *calls_per_submit.get_or_init(|| enough_calls(submit));
                // Whole submits, maybe of more calls than were asked for: scaled down to those.
                let submits = iterations.div_ceil(calls);
                let elapsed: Duration = (0..submits).map(|_| submit(calls)).sum();
                elapsed.mul_f64(iterations as f64 / (submits * calls) as f64)
            });
        });
    }

    /// Times the CPU reference. Its throughput counts the same tensors as that of the kernels.
    pub(crate) fn reference(&mut self, parameter: &str, bytes: u64, mut work: impl FnMut()) {
        self.group.throughput(Throughput::BytesDecimal(bytes));
        self.group
            .bench_function(BenchmarkId::new("reference", parameter), |bencher| bencher.iter(&mut work));
    }
}

/// The form of copy that takes the least time for these buffers.
fn fastest_copy(context: &Context, inputs: &[&wgpu::Buffer], outputs: &[&wgpu::Buffer]) -> CopyCall {
    let device = context.device();
    let bytes = inputs[0].size();
    let copies = CopyForm::ALL.map(|form| {
        let is_whole = form.is_whole(bytes, &device.limits());
        let kernel = CopyKernel::new(device, form, inputs.len(), outputs.len(), is_whole)
            .expect("the device has the workgroups");
        kernel.call(device, bytes, inputs, outputs).expect("the shapes of the benches are whole words")
    });
    let time = |copy: &CopyCall| {
        let submit = |calls| time_of_submit(context, calls, |pass| copy.record(pass));
        let calls = enough_calls(submit);
        (0..3).map(|_| submit(calls)).min().map(|time| time / u32::try_from(calls).unwrap_or(u32::MAX))
    };
    copies.into_iter().min_by_key(|copy| time(copy)).expect("there are forms")
}

/// The wall-clock time of one submit, from the hand-over to the end of its work. Recording comes before it:
/// it can go on beside the GPU's work, and in a pipeline of one's own does.
fn time_of_submit(context: &Context, calls: u64, record: impl Fn(&mut wgpu::ComputePass<'_>)) -> Duration {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..calls {
            record(&mut pass);
        }
    }
    let commands = encoder.finish();
    let start = Instant::now();
    context.queue().submit([commands]);
    context.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
    start.elapsed()
}

/// The smallest power of two of calls that keep a submit busy for [`LEAST_SUBMIT`].
fn enough_calls(submit: impl Fn(u64) -> Duration) -> u64 {
    let mut calls = 1;
    // The fastest of three, lest a hiccup, or what only the first submit pays for, pass for work.
    while (0..3).map(|_| submit(calls)).min() < Some(LEAST_SUBMIT) {
        calls *= 2;
    }
    calls
}

/// Values between -1 and 1, the same in every run: Knuth's linear congruential generator (TAOCP 3.3.4, MMIX).
pub(crate) fn values<T: Element>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 32) as f64 / f64::from(1_u32 << 31) - 1.0)
    };
    (0..count).map(|_| next()).collect()
}
