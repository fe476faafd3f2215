//! Wrong calls: each gives the error that is documented for it, reaches no GPU and leaves the device in
//! order.

mod backward;
mod devices;
mod forward;
mod host;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Affine, BufferRows, BufferStatistics, BufferVector, Context, Dtype, Error, ForwardInputs,
    Kernels, LayerNorm, LayerNormDescriptor, Problem, Rows, RowsMut, adapters, describe_adapter,
    required_limits,
};

const ROWS: u64 = 2;
const COLS: u32 = 4;
/// Bytes of `ROWS` dense rows.
const BYTES: u64 = 32;

// The ends that some sentences have in common.
const ENDS: [(&str, &str); 4] = [
    ("{READ_AND_WRITTEN}", "one is written while the other is read, and they need to lie apart"),
    (
        "{NOT_IN_PLACE}",
        "one is written while the other is read, and they need to lie apart or, in place, in exactly the same rows",
    ),
    ("{WRITTEN_TWICE}", "both are written, and need to lie apart"),
    ("{ACCUMULATED}", "dx accumulates into its buffer, which then cannot be an input as well"),
];

fn context() -> Context {
    Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter")
}

/// Another device of the same adapter, with other limits than all it has.
fn context_with(change: impl FnOnce(&mut wgpu::Limits)) -> Context {
    let description = context().description();
    let adapter = pollster::block_on(adapters())
        .into_iter()
        .find(|adapter| describe_adapter(&adapter.get_info()) == description)
        .unwrap();
    let mut required_limits = required_limits(&adapter);
    change(&mut required_limits);
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Context::from_device(device, queue)
}

/// The whole of what a call has said, behind the kind of its error.
fn said<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else { return "no error".to_owned() };
    let kind = match (error.is_invalid(), error.is_unsupported()) {
        (true, false) => "invalid",
        (false, true) => "unsupported",
        (false, false) => "failed",
        (true, true) => "invalid and unsupported",
    };
    format!("{kind}: {error}")
}

fn storage(device: &wgpu::Device, values: &[f32]) -> wgpu::Buffer {
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(values),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    })
}

fn norm(kernels: &Kernels, affine: Affine, dtype: Dtype) -> LayerNorm {
    let descriptor = LayerNormDescriptor { cols: COLS, affine, dtype, ..LayerNormDescriptor::default() };
    LayerNorm::new(kernels, &descriptor).unwrap()
}

fn assert_device_is_right(context: &Context) {
    let problem = Problem { cols: COLS, ..Problem::default() };
    let (x, gain, bias) = ([1.0_f32, 2.0, 3.0, 5.0, -7.0, 0.0, 4.0, 9.0], [1.5_f32; 4], [0.25_f32; 4]);
    let inputs = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
        ..ForwardInputs::new(2, Rows { data: &x[..], stride: 4 })
    };
    let y = context.forward_blocking(&problem, &inputs).unwrap().y;
    let mut expected = [0.0_f64; 8];
    let outputs = ForwardOutputs::new(RowsMut { data: &mut expected, stride: 4 });
    reference::forward(&problem, &inputs, outputs).unwrap();
    assert!(
        y.iter().zip(expected).all(|(y, expected)| (f64::from(*y) - expected).abs() < 1e-6),
        "{y:?} instead of {expected:?}"
    );
}

/// Calls that are wrong, on a device that counts what reaches its handler of errors.
struct WrongCalls {
    context: Context,
    uncaptured: Arc<AtomicUsize>,
    failures: Vec<String>,
}

impl WrongCalls {
    fn new() -> Self {
        let (context, uncaptured) = (context(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&uncaptured);
        context.device().on_uncaptured_error(Arc::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        Self { context, uncaptured, failures: Vec::new() }
    }

    fn expect(&mut self, name: &str, expected: &str, got: String) {
        let expected = ENDS.iter().fold(expected.to_owned(), |text, (name, end)| text.replace(name, end));
        if got != expected {
            self.failures.push(format!("{name}: {got}\n    instead of {expected}"));
        }
    }

    /// That each gave its error, and that the device is as it was.
    fn conclude(self) {
        let Self { context, uncaptured, failures } = self;
        assert!(failures.is_empty(), "{}:\n{}", context.description(), failures.join("\n"));
        assert_device_is_right(&context);
        assert_eq!(uncaptured.load(Ordering::SeqCst), 0, "errors that reached the device's handler");
        // That the handler would have counted one: no buffer can be mapped for both.
        let both = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
        drop(with_usage(context.device(), 4, both));
        assert_eq!(uncaptured.load(Ordering::SeqCst), 1, "the handler counts nothing");
    }
}

/// Buffers of the right sizes, and of some wrong ones.
struct Buffers {
    x: wgpu::Buffer,
    y: wgpu::Buffer,
    residual: wgpu::Buffer,
    sum: wgpu::Buffer,
    dy: wgpu::Buffer,
    dx: wgpu::Buffer,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    dgain: wgpu::Buffer,
    dbias: wgpu::Buffer,
    statistics: wgpu::Buffer,
    short: wgpu::Buffer,
    large: wgpu::Buffer,
    copy_only: wgpu::Buffer,
}

impl Buffers {
    fn new(device: &wgpu::Device) -> Self {
        let [x, y, residual, sum, dy, dx] = [(); 6].map(|()| of_bytes(device, BYTES));
        let [gain, bias, dgain, dbias, statistics] = [(); 5].map(|()| of_bytes(device, 16));
        let (short, large) = (of_bytes(device, BYTES - 4), of_bytes(device, 1024));
        let copy_only = with_usage(device, BYTES, wgpu::BufferUsages::COPY_DST);
        Self { x, y, residual, sum, dy, dx, gain, bias, dgain, dbias, statistics, short, large, copy_only }
    }
}

fn with_usage(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

fn of_bytes(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    with_usage(device, size, wgpu::BufferUsages::STORAGE)
}

fn at(buffer: &wgpu::Buffer, offset: u64) -> BufferRows<'_> {
    BufferRows::at_element(buffer, offset)
}

fn strided(buffer: &wgpu::Buffer, stride: u64) -> BufferRows<'_> {
    BufferRows::at_element(buffer, 0).with_stride(stride)
}

fn vector(buffer: &wgpu::Buffer, offset: u64) -> Option<BufferVector<'_>> {
    Some(BufferVector::at_element(buffer, offset))
}

fn apart(buffer: &wgpu::Buffer, mean: u64, rstd: u64) -> BufferStatistics<'_> {
    let [mean, rstd] = [mean, rstd].map(|offset| BufferVector::at_element(buffer, offset));
    BufferStatistics::apart(mean, rstd)
}
