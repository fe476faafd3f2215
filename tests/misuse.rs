//! Wrong calls: each gives the error that is documented for it, reaches no GPU and leaves the device in order.
#![cfg(feature = "gpu")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BufferRows, BufferVector, Context, Dtype, Error, ForwardBuffers,
    ForwardInputs, Gradient, LayerNorm, LayerNormDescriptor, Problem, Rows, RowsMut, adapters,
    required_limits,
};

const ROWS: u64 = 2;
const COLS: u32 = 4;
/// Bytes of `ROWS` dense rows.
const BYTES: u64 = 32;

fn context() -> Context {
    Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter")
}

/// Variant and name of the buffer or field; for a buffer that is too small, also the bytes that it needs.
fn brief<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else { return "no error".to_owned() };
    assert_eq!(error.is_invalid(), !error.is_unsupported(), "{error}");
    match error {
        Error::Invalid { what, .. } => format!("Invalid {what}"),
        Error::MissingBuffer { buffer, .. } => format!("MissingBuffer {buffer}"),
        Error::UnusedBuffer { buffer, .. } => format!("UnusedBuffer {buffer}"),
        Error::BufferTooSmall { buffer, needs, unit, .. } => format!("TooSmall {buffer} {needs} {unit}"),
        Error::BufferUsage { buffer, .. } => format!("BufferUsage {buffer}"),
        Error::Overlap { written, other, .. } => format!("Overlap {written} {other}"),
        Error::Unsupported { what, .. } => format!("Unsupported {what}"),
        Error::NoAdapter { requested, .. } => format!("NoAdapter {requested}"),
        other => format!("{other:?}"),
    }
}

fn storage(device: &wgpu::Device, values: &[f32]) -> wgpu::Buffer {
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(values),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    })
}

fn norm(device: &wgpu::Device, affine: Affine, dtype: Dtype) -> LayerNorm {
    let descriptor = LayerNormDescriptor { cols: COLS, affine, dtype, ..LayerNormDescriptor::default() };
    LayerNorm::new(device, &descriptor).unwrap()
}

fn assert_device_is_right(context: &Context) {
    let problem = Problem { cols: COLS, ..Problem::default() };
    let (x, gain, bias) = ([1.0_f32, 2.0, 3.0, 5.0, -7.0, 0.0, 4.0, 9.0], [1.5_f32; 4], [0.25_f32; 4]);
    let inputs = ForwardInputs {
        rows: 2,
        x: Rows { data: &x[..], stride: 4 },
        residual: None,
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
    };
    let y = context.forward_blocking(&problem, &inputs).unwrap().y;
    let mut expected = [0.0_f64; 8];
    let outputs =
        ForwardOutputs { y: RowsMut { data: &mut expected, stride: 4 }, sum: None, statistics: None };
    reference::forward(&problem, &inputs, outputs).unwrap();
    assert!(
        y.iter().zip(expected).all(|(y, expected)| (f64::from(*y) - expected).abs() < 1e-6),
        "{y:?} instead of {expected:?}"
    );
}

#[test]
fn a_wrong_call_gives_its_error_and_leaves_the_device_in_order() {
    let context = context();
    let device = context.device();
    let uncaptured = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&uncaptured);
    device.on_uncaptured_error(Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }));

    let buffer = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let bytes = |size| buffer(size, wgpu::BufferUsages::STORAGE);
    let [x, y, residual, sum, dy, dx] = [(); 6].map(|()| bytes(BYTES));
    let [gain, bias, dgain, dbias, statistics] = [(); 5].map(|()| bytes(16));
    let (short, large) = (bytes(BYTES - 4), bytes(1024));
    let (half, three_halves) = (bytes(8), bytes(6));
    let copy_only = buffer(BYTES, wgpu::BufferUsages::COPY_DST);
    let at = |buffer, offset| BufferRows { buffer, offset, stride: None };
    let strided = |buffer, stride| BufferRows { buffer, offset: 0, stride: Some(stride) };
    let vector = |buffer, offset| Some(BufferVector { buffer, offset });

    let mut failures = Vec::new();
    let mut expect = |name: &str, expected: &str, got: String| {
        if got != expected {
            failures.push(format!("{name}: {got} instead of {expected}"));
        }
    };

    let good = LayerNormDescriptor { cols: COLS, ..LayerNormDescriptor::default() };
    for (name, expected, descriptor) in [
        ("no columns", "Invalid cols", LayerNormDescriptor { cols: 0, ..good }),
        ("too many", "Invalid cols", LayerNormDescriptor { cols: Problem::MAX_COLS + 1, ..good }),
        ("eps 0", "Invalid eps", LayerNormDescriptor { eps: 0.0, ..good }),
        ("eps NaN", "Invalid eps", LayerNormDescriptor { eps: f32::NAN, ..good }),
        (
            "f16 parameters of f32 rows",
            "Invalid parameter_dtype",
            LayerNormDescriptor { parameter_dtype: Some(Dtype::F16), ..good },
        ),
    ] {
        expect(name, expected, brief(LayerNorm::new(device, &descriptor)));
    }

    let plain = norm(device, Affine::None, Dtype::F32);
    let with_gain = norm(device, Affine::Gain, Dtype::F32);
    let full = norm(device, Affine::GainBias, Dtype::F32);
    let (gain_at, bias_at) = (vector(&gain, 0), vector(&bias, 0));
    let forward = ForwardBuffers::new(ROWS, &x, &y);
    let added = ForwardBuffers { residual: Some((&residual).into()), sum: Some((&sum).into()), ..forward };
    for (name, expected, norm, buffers) in [
        ("no gain", "MissingBuffer gain", &full, ForwardBuffers { bias: bias_at, ..forward }),
        ("no bias", "MissingBuffer bias", &full, ForwardBuffers { gain: gain_at, ..forward }),
        ("gain without use", "UnusedBuffer gain", &plain, ForwardBuffers { gain: gain_at, ..forward }),
        ("residual alone", "MissingBuffer sum", &plain, ForwardBuffers { sum: None, ..added }),
        ("sum alone", "UnusedBuffer sum", &plain, ForwardBuffers { residual: None, ..added }),
        ("stride below cols", "Invalid y.stride", &plain, ForwardBuffers { y: strided(&y, 3), ..forward }),
        ("x short", "TooSmall x 32 bytes", &plain, ForwardBuffers { x: (&short).into(), ..forward }),
        ("y short by its offset", "TooSmall y 36 bytes", &plain, ForwardBuffers { y: at(&y, 1), ..forward }),
        (
            "statistics short",
            "TooSmall statistics 20 bytes",
            &plain,
            ForwardBuffers { statistics: vector(&statistics, 1), ..forward },
        ),
        (
            "an offset beyond 64 bits",
            "TooSmall x 18446744073709551615 bytes",
            &plain,
            ForwardBuffers { x: at(&x, u64::MAX), ..forward },
        ),
        (
            "rows beyond 64 bits",
            "TooSmall x 18446744073709551615 bytes",
            &plain,
            ForwardBuffers { rows: u64::MAX, ..forward },
        ),
        ("no STORAGE", "BufferUsage y", &plain, ForwardBuffers { y: (&copy_only).into(), ..forward }),
        (
            "y one row after x",
            "Overlap y x",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: at(&large, 4), ..forward },
        ),
        (
            "y as x, in longer rows",
            "Overlap y x",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: strided(&large, 5), ..forward },
        ),
        (
            "x and y apart in one buffer",
            "Overlap y x",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: at(&large, 128), ..forward },
        ),
        (
            "y one row after sum",
            "Overlap y sum",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: at(&large, 4), ..added },
        ),
        (
            "statistics in y",
            "Overlap y statistics",
            &plain,
            ForwardBuffers { y: at(&large, 0), statistics: vector(&large, 4), ..forward },
        ),
        (
            "gain after y",
            "Overlap y gain",
            &with_gain,
            ForwardBuffers { y: at(&large, 0), gain: vector(&large, 128), ..forward },
        ),
    ] {
        expect(name, expected, brief(norm.prepare_forward(&buffers)));
        expect(name, expected, brief(norm.plan_forward(&buffers)));
    }

    // Three values of 16 bits: shaders read the fourth with them. bf16 needs no feature.
    let descriptor = LayerNormDescriptor { cols: 3, affine: Affine::None, ..good };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let norm = LayerNorm::new(device, &LayerNormDescriptor { dtype, ..descriptor }).unwrap();
        let buffers = ForwardBuffers::new(1, &three_halves, &half);
        expect("half a word", "TooSmall x 8 bytes", brief(norm.prepare_forward(&buffers)));
    }

    let none = BackwardBuffers::new(ROWS, &x, &dy, &statistics);
    let backward = BackwardBuffers { dx: Some((&dx).into()), ..none };
    for (name, expected, norm, buffers) in [
        ("no output", "MissingBuffer dx", &plain, none),
        ("no gain", "MissingBuffer gain", &full, backward),
        (
            "dgain without gain",
            "UnusedBuffer dgain",
            &plain,
            BackwardBuffers { dgain: vector(&dgain, 0), ..backward },
        ),
        (
            "dbias without bias",
            "UnusedBuffer dbias",
            &with_gain,
            BackwardBuffers { gain: gain_at, dbias: vector(&dbias, 0), ..backward },
        ),
        (
            "dx accumulates over dy",
            "Overlap dx dy",
            &plain,
            BackwardBuffers { dx: Some((&dy).into()), dx_gradient: Gradient::Accumulate, ..none },
        ),
        (
            "dx one row after x",
            "Overlap dx x",
            &plain,
            BackwardBuffers { x: at(&large, 0), dx: Some(at(&large, 4)), ..none },
        ),
        (
            "dgain and dbias share a value",
            "Overlap dgain dbias",
            &full,
            BackwardBuffers { gain: gain_at, dgain: vector(&large, 0), dbias: vector(&large, 3), ..none },
        ),
    ] {
        expect(name, expected, brief(norm.prepare_backward(&buffers)));
        expect(name, expected, brief(norm.plan_backward(&buffers)));
    }

    let inputs = ForwardInputs::<f32, f32> {
        rows: 1,
        x: Rows { data: &[1.0; 4], stride: 4 },
        residual: None,
        gain: None,
        bias: None,
    };
    let problem = Problem { cols: COLS, affine: Affine::None, ..Problem::default() };
    let halves = Problem { dtype: Dtype::Bf16, ..problem };
    expect("f32 as bf16", "Invalid type of x", brief(context.forward_blocking(&halves, &inputs)));
    let halves = Problem { parameter_dtype: Dtype::Bf16, ..halves };
    expect("both as bf16", "Invalid type of x", brief(context.forward_blocking(&halves, &inputs)));
    let nobody = AdapterChoice::Named("no such adapter".to_owned());
    expect("no such adapter", "NoAdapter no such adapter", brief(Context::new_blocking(&nobody)));

    assert!(failures.is_empty(), "{}:\n{}", context.description(), failures.join("\n"));
    assert_device_is_right(&context);
    assert_eq!(uncaptured.load(Ordering::SeqCst), 0, "errors that reached the device's handler");
    // That the handler would have counted one: no buffer can be mapped for both.
    drop(buffer(4, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE));
    assert_eq!(uncaptured.load(Ordering::SeqCst), 1, "the handler counts nothing");
}

/// x, y, gain and bias fit in four bindings; the statistics would be the fifth.
#[test]
fn a_device_with_few_bindings_refuses_only_what_does_not_fit() {
    let description = context().description();
    let adapter = pollster::block_on(adapters())
        .into_iter()
        .find(|adapter| wgpu_layernorm::describe_adapter(&adapter.get_info()) == description)
        .unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            ..required_limits(&adapter)
        },
        ..wgpu::DeviceDescriptor::default()
    }))
    .unwrap();
    let context = Context::from_device(device, queue);
    let device = context.device();
    let rows = |row: [f32; 4]| storage(device, &row);
    let (x, y) = (rows([1.0, 2.0, 3.0, 4.0]), rows([0.0; 4]));
    let (gain, bias, statistics) = (rows([0.0; 4]), rows([3.0, 4.0, 5.0, 6.0]), rows([0.0; 4]));
    let norm = norm(device, Affine::GainBias, Dtype::F32);
    let fits = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        ..ForwardBuffers::new(1, &x, &y)
    };
    let error = norm
        .prepare_forward(&ForwardBuffers { statistics: Some((&statistics).into()), ..fits })
        .expect_err("five bindings");
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(brief::<()>(Err(error)), "Unsupported storage buffers per shader stage");
    let prepared = norm.prepare_forward(&fits).unwrap();
    let y = pollster::block_on(context.run(&[&prepared], &[&y])).unwrap();
    assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&y[0]), [3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn no_rows_do_nothing_but_zero_the_parameter_gradients() {
    let context = context();
    let device = context.device();
    let seven = |values| storage(device, &vec![7.0; values]);
    let [x, y, dy, dx, gain, bias, statistics] = [(); 7].map(|()| seven(4));
    let norm = norm(device, Affine::GainBias, Dtype::F32);
    let floats = |bytes: &[Vec<u8>]| -> Vec<Vec<f32>> {
        bytes.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect()
    };

    let forward = norm
        .prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(0, &x, &y)
        })
        .unwrap();
    assert_eq!(forward.dispatch_count(), 0);
    let kept = pollster::block_on(context.run(&[&forward], &[&y, &statistics])).unwrap();
    assert_eq!(floats(&kept), [[7.0; 4]; 2]);

    for (parameter_gradient, expected) in [(Gradient::Overwrite, 0.0), (Gradient::Accumulate, 7.0)] {
        let (dgain, dbias) = (seven(4), seven(4));
        let backward = norm
            .prepare_backward(&BackwardBuffers {
                gain: Some((&gain).into()),
                dx: Some((&dx).into()),
                dgain: Some((&dgain).into()),
                dbias: Some((&dbias).into()),
                parameter_gradient,
                ..BackwardBuffers::new(0, &x, &dy, &statistics)
            })
            .unwrap();
        let got = pollster::block_on(context.run(&[&backward], &[&dx, &dgain, &dbias])).unwrap();
        let expected = [[7.0; 4], [expected; 4], [expected; 4]];
        assert_eq!(floats(&got), expected, "{parameter_gradient:?}");
    }
}
