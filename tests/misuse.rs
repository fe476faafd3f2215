//! Wrong calls: each gives the error that is documented for it, reaches no GPU and leaves the device in order.
#![cfg(feature = "gpu")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BackwardInputs, BufferRows, BufferVector, Context, Dtype, Error,
    ForwardBuffers, ForwardInputs, Gradient, Kernels, LayerNorm, LayerNormDescriptor, Problem, Rows, RowsMut,
    adapters, describe_adapter, required_limits,
};

const ROWS: u64 = 2;
const COLS: u32 = 4;
/// Bytes of `ROWS` dense rows.
const BYTES: u64 = 32;

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

/// Variant and name of the buffer or field; for a buffer that is too small, also what it needs. The message has to say
/// what there is and what is needed.
fn brief<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else { return "no error".to_owned() };
    let failed = matches!(error, Error::Device { .. });
    assert_eq!(error.is_invalid(), !error.is_unsupported() && !failed, "{error}");
    let text = error.to_string();
    let says =
        |part: &dyn std::fmt::Display| assert!(text.contains(&part.to_string()), "{part} is not in {text:?}");
    match &error {
        Error::Invalid { what, has, needs } | Error::Unsupported { what, has, needs } => {
            [what, has, needs].iter().for_each(|part| says(part));
        }
        Error::BufferTooSmall { buffer, has, needs, .. } => {
            says(buffer);
            [has, needs].iter().for_each(|part| says(part));
        }
        Error::BufferUsage { buffer, has, needs } => {
            says(buffer);
            [has, needs].iter().for_each(|part| says(part));
        }
        Error::MissingBuffer { buffer, why } | Error::UnusedBuffer { buffer, why } => {
            [buffer, why].iter().for_each(|part| says(part));
        }
        Error::Overlap { written, other, why } => [written, other, why].iter().for_each(|part| says(part)),
        Error::NoAdapter { requested, present } => {
            [requested].into_iter().chain(present).for_each(|part| says(part));
        }
        _ => {}
    }
    match error {
        Error::Invalid { what, .. } => format!("Invalid {what}"),
        Error::MissingBuffer { buffer, .. } => format!("MissingBuffer {buffer}"),
        Error::UnusedBuffer { buffer, .. } => format!("UnusedBuffer {buffer}"),
        Error::BufferTooSmall { buffer, needs, unit, .. } => format!("TooSmall {buffer} {needs} {unit}"),
        Error::BufferUsage { buffer, .. } => format!("BufferUsage {buffer}"),
        Error::Overlap { written, other, .. } => format!("Overlap {written} {other}"),
        Error::Unsupported { what, .. } => format!("Unsupported {what}"),
        Error::NoAdapter { requested, .. } => format!("NoAdapter {requested}"),
        Error::Device { doing, .. } => format!("Device {doing}"),
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

fn norm(kernels: &Kernels, affine: Affine, dtype: Dtype) -> LayerNorm {
    let descriptor = LayerNormDescriptor { cols: COLS, affine, dtype, ..LayerNormDescriptor::default() };
    LayerNorm::new(kernels, &descriptor).unwrap()
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
    let (device, kernels) = (context.device(), context.kernels());
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
        ("eps infinite", "Invalid eps", LayerNormDescriptor { eps: f32::INFINITY, ..good }),
        ("eps below the smallest", "Invalid eps", LayerNormDescriptor { eps: 1e-29, ..good }),
        (
            "f16 parameters of f32 rows",
            "Invalid parameter_dtype",
            LayerNormDescriptor { parameter_dtype: Some(Dtype::F16), ..good },
        ),
        (
            "bf16 parameters of f16 rows",
            "Invalid parameter_dtype",
            LayerNormDescriptor { dtype: Dtype::F16, parameter_dtype: Some(Dtype::Bf16), ..good },
        ),
    ] {
        expect(name, expected, brief(LayerNorm::new(kernels, &descriptor)));
    }

    let plain = norm(kernels, Affine::None, Dtype::F32);
    let with_gain = norm(kernels, Affine::Gain, Dtype::F32);
    let full = norm(kernels, Affine::GainBias, Dtype::F32);
    let (gain_at, bias_at) = (vector(&gain, 0), vector(&bias, 0));
    let forward = ForwardBuffers::new(ROWS, &x, &y);
    let added = ForwardBuffers { residual: Some((&residual).into()), sum: Some((&sum).into()), ..forward };
    for (name, expected, norm, buffers) in [
        ("no gain", "MissingBuffer gain", &full, ForwardBuffers { bias: bias_at, ..forward }),
        ("no bias", "MissingBuffer bias", &full, ForwardBuffers { gain: gain_at, ..forward }),
        ("gain without use", "UnusedBuffer gain", &plain, ForwardBuffers { gain: gain_at, ..forward }),
        (
            "bias without use",
            "UnusedBuffer bias",
            &with_gain,
            ForwardBuffers { gain: gain_at, bias: bias_at, ..forward },
        ),
        ("residual alone", "MissingBuffer sum", &plain, ForwardBuffers { sum: None, ..added }),
        ("sum alone", "UnusedBuffer sum", &plain, ForwardBuffers { residual: None, ..added }),
        ("stride below cols", "Invalid y.stride", &plain, ForwardBuffers { y: strided(&y, 3), ..forward }),
        ("stride 0", "Invalid x.stride", &plain, ForwardBuffers { x: strided(&x, 0), ..forward }),
        (
            "stride of the residual",
            "Invalid residual.stride",
            &plain,
            ForwardBuffers { residual: Some(strided(&residual, 3)), ..added },
        ),
        (
            "stride of the sum",
            "Invalid sum.stride",
            &plain,
            ForwardBuffers { sum: Some(strided(&sum, 3)), ..added },
        ),
        (
            "x short by its stride",
            "TooSmall x 36 bytes",
            &plain,
            ForwardBuffers { x: strided(&x, 5), ..forward },
        ),
        (
            "residual short",
            "TooSmall residual 32 bytes",
            &plain,
            ForwardBuffers { residual: Some((&short).into()), ..added },
        ),
        (
            "sum short",
            "TooSmall sum 32 bytes",
            &plain,
            ForwardBuffers { sum: Some((&short).into()), ..added },
        ),
        (
            "gain short",
            "TooSmall gain 20 bytes",
            &with_gain,
            ForwardBuffers { gain: vector(&gain, 1), ..forward },
        ),
        (
            "bias short",
            "TooSmall bias 32 bytes",
            &full,
            ForwardBuffers { gain: gain_at, bias: vector(&bias, 4), ..forward },
        ),
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
        (
            "a stride beyond 64 bits",
            "TooSmall x 18446744073709551615 bytes",
            &plain,
            ForwardBuffers { x: strided(&x, u64::MAX), ..forward },
        ),
        ("no STORAGE", "BufferUsage y", &plain, ForwardBuffers { y: (&copy_only).into(), ..forward }),
        ("no STORAGE of x", "BufferUsage x", &plain, ForwardBuffers { x: (&copy_only).into(), ..forward }),
        (
            "no STORAGE of gain",
            "BufferUsage gain",
            &with_gain,
            ForwardBuffers { gain: vector(&copy_only, 0), ..forward },
        ),
        (
            "no STORAGE of the statistics",
            "BufferUsage statistics",
            &plain,
            ForwardBuffers { statistics: vector(&copy_only, 0), ..forward },
        ),
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
            "y as sum",
            "Overlap y sum",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: at(&large, 0), ..added },
        ),
        (
            "y one row after the residual",
            "Overlap y residual",
            &plain,
            ForwardBuffers { residual: Some(at(&large, 0)), y: at(&large, 4), ..added },
        ),
        (
            "sum one row before x",
            "Overlap sum x",
            &plain,
            ForwardBuffers { x: at(&large, 4), sum: Some(at(&large, 0)), ..added },
        ),
        (
            "statistics after x",
            "Overlap statistics x",
            &plain,
            ForwardBuffers { x: at(&large, 0), statistics: vector(&large, 128), ..forward },
        ),
        (
            "bias after the statistics",
            "Overlap statistics bias",
            &full,
            ForwardBuffers {
                gain: gain_at,
                bias: vector(&large, 128),
                statistics: vector(&large, 0),
                ..forward
            },
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
        let norm = LayerNorm::new(kernels, &LayerNormDescriptor { dtype, ..descriptor }).unwrap();
        let buffers = ForwardBuffers::new(1, &three_halves, &half);
        expect("half a word", "TooSmall x 8 bytes", brief(norm.prepare_forward(&buffers)));
        let buffers = ForwardBuffers::new(1, &half, &three_halves);
        expect("half a word to write", "TooSmall y 8 bytes", brief(norm.prepare_forward(&buffers)));
    }

    let none = BackwardBuffers::new(ROWS, &x, &dy, &statistics);
    let backward = BackwardBuffers { dx: Some((&dx).into()), ..none };
    let all =
        BackwardBuffers { gain: gain_at, dgain: vector(&dgain, 0), dbias: vector(&dbias, 0), ..backward };
    for (name, expected, norm, buffers) in [
        ("no output", "MissingBuffer dx", &plain, none),
        ("no gain", "MissingBuffer gain", &full, backward),
        ("gain without use", "UnusedBuffer gain", &plain, BackwardBuffers { gain: gain_at, ..backward }),
        ("stride of dy", "Invalid dy.stride", &full, BackwardBuffers { dy: strided(&dy, 3), ..all }),
        ("stride of dx", "Invalid dx.stride", &full, BackwardBuffers { dx: Some(strided(&dx, 3)), ..all }),
        ("x short by its rows", "TooSmall x 48 bytes", &full, BackwardBuffers { rows: 3, ..all }),
        ("dy short", "TooSmall dy 32 bytes", &full, BackwardBuffers { dy: (&short).into(), ..all }),
        (
            "dx short by its stride",
            "TooSmall dx 36 bytes",
            &full,
            BackwardBuffers { dx: Some(strided(&dx, 5)), ..all },
        ),
        (
            "dgain short",
            "TooSmall dgain 20 bytes",
            &full,
            BackwardBuffers { dgain: vector(&dgain, 1), ..all },
        ),
        (
            "dbias beyond 64 bits",
            "TooSmall dbias 18446744073709551615 bytes",
            &full,
            BackwardBuffers { dbias: vector(&dbias, u64::MAX), ..all },
        ),
        (
            "statistics short",
            "TooSmall statistics 24 bytes",
            &full,
            BackwardBuffers { statistics: BufferVector { buffer: &statistics, offset: 2 }, ..all },
        ),
        ("no STORAGE of dy", "BufferUsage dy", &full, BackwardBuffers { dy: (&copy_only).into(), ..all }),
        (
            "no STORAGE of dgain",
            "BufferUsage dgain",
            &full,
            BackwardBuffers { dgain: vector(&copy_only, 0), ..all },
        ),
        (
            "dx accumulates over x",
            "Overlap dx x",
            &full,
            BackwardBuffers { dx: Some((&x).into()), dx_gradient: Gradient::Accumulate, ..all },
        ),
        (
            "dx and dy apart in one buffer",
            "Overlap dx dy",
            &full,
            BackwardBuffers { dy: at(&large, 0), dx: Some(at(&large, 128)), ..all },
        ),
        (
            "gain after dx",
            "Overlap dx gain",
            &full,
            BackwardBuffers { gain: vector(&large, 128), dx: Some(at(&large, 0)), ..all },
        ),
        (
            "statistics after dx",
            "Overlap dx statistics",
            &full,
            BackwardBuffers {
                statistics: BufferVector { buffer: &large, offset: 128 },
                dx: Some(at(&large, 0)),
                ..all
            },
        ),
        (
            "dgain in dx",
            "Overlap dx dgain",
            &full,
            BackwardBuffers { dx: Some(at(&large, 0)), dgain: vector(&large, 4), ..all },
        ),
        ("dgain as gain", "Overlap dgain gain", &full, BackwardBuffers { dgain: vector(&gain, 0), ..all }),
        ("dbias in x", "Overlap dbias x", &full, BackwardBuffers { dbias: vector(&x, 4), ..all }),
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
    expect("gain as bf16", "Invalid type of gain and bias", {
        let parameter_dtype = Dtype::Bf16;
        brief(context.forward_blocking(&Problem { dtype: Dtype::F32, parameter_dtype, ..problem }, &inputs))
    });
    let gain = Some(&[1.0; 4][..]);
    let wide = Rows { data: &[1.0; 4][..], stride: 5 };
    for (name, expected, inputs) in [
        ("x short", "TooSmall x 8 elements", ForwardInputs { rows: 2, ..inputs }),
        ("x short by its stride", "TooSmall x 9 elements", ForwardInputs { rows: 2, x: wide, ..inputs }),
        ("residual short", "TooSmall residual 4 elements", {
            ForwardInputs { residual: Some(Rows { data: &[1.0; 3], stride: 4 }), ..inputs }
        }),
        (
            "stride below cols",
            "Invalid x.stride",
            ForwardInputs { x: Rows { stride: 3, ..inputs.x }, ..inputs },
        ),
        (
            "rows that no buffer holds",
            "TooSmall x 4398046511104 elements",
            ForwardInputs { rows: 1 << 40, ..inputs },
        ),
        (
            "rows beyond 64 bits",
            "TooSmall x 18446744073709551615 elements",
            ForwardInputs { rows: usize::MAX, x: Rows { stride: 0, ..inputs.x }, ..inputs },
        ),
        ("gain without use", "UnusedBuffer gain", ForwardInputs { gain, ..inputs }),
    ] {
        expect(name, expected, brief(context.forward_blocking(&problem, &inputs)));
    }
    let problem = Problem { affine: Affine::Gain, ..problem };
    let inputs = BackwardInputs { rows: 1, x: inputs.x, dy: inputs.x, gain };
    for (name, expected, inputs) in [
        ("x short", "TooSmall x 8 elements", BackwardInputs { rows: 2, ..inputs }),
        ("dy short", "TooSmall dy 4 elements", {
            BackwardInputs { dy: Rows { data: &[1.0; 3], stride: 4 }, ..inputs }
        }),
        ("gain short", "TooSmall gain 4 elements", BackwardInputs { gain: Some(&[1.0; 3][..]), ..inputs }),
        ("no gain", "MissingBuffer gain", BackwardInputs { gain: None, ..inputs }),
        (
            "rows beyond 64 bits",
            "TooSmall x 18446744073709551615 elements",
            BackwardInputs { rows: usize::MAX, ..inputs },
        ),
    ] {
        expect(name, expected, brief(context.backward_blocking(&problem, &inputs)));
    }
    let nobody = AdapterChoice::Named("no such adapter".to_owned());
    expect("no such adapter", "NoAdapter no such adapter", brief(Context::new_blocking(&nobody)));

    // What only wgpu can know, it reports; that is returned, and does not reach the device's handler.
    let destroyed = bytes(BYTES);
    destroyed.destroy();
    let buffers = ForwardBuffers::new(ROWS, &destroyed, &y);
    expect("a destroyed buffer", "Device creating bind groups", brief(plain.prepare_forward(&buffers)));

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
    let context = context_with(|limits| limits.max_storage_buffers_per_shader_stage = 4);
    let device = context.device();
    let rows = |row: [f32; 4]| storage(device, &row);
    let (x, y) = (rows([1.0, 2.0, 3.0, 4.0]), rows([0.0; 4]));
    let (gain, bias, statistics) = (rows([0.0; 4]), rows([3.0, 4.0, 5.0, 6.0]), rows([0.0; 4]));
    let norm = norm(context.kernels(), Affine::GainBias, Dtype::F32);
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

/// A binding of 1 MiB holds 2^18 values.
#[test]
fn a_device_with_small_bindings_refuses_only_what_does_not_fit() {
    let context = context_with(|limits| limits.max_storage_buffer_binding_size = 1 << 20);
    let device = context.device();
    let norm = |cols| {
        LayerNorm::new(
            context.kernels(),
            &LayerNormDescriptor { cols, affine: Affine::Gain, ..LayerNormDescriptor::default() },
        )
        .unwrap()
    };
    let buffer = storage(device, &vec![0.0; 4 << 18]);
    let [y, dx, gain, dgain] = [(); 4].map(|()| storage(device, &vec![0.0; (4 << 18) + 8]));
    let statistics = storage(device, &[0.0; 8]);

    let forward = ForwardBuffers { gain: Some((&gain).into()), ..ForwardBuffers::new(4, &buffer, &y) };
    assert_eq!(norm(1 << 18).prepare_forward(&forward).unwrap().dispatch_count(), 4);
    let wide = norm((1 << 18) + 8).prepare_forward(&ForwardBuffers { rows: 1, ..forward });
    assert_eq!(brief(wide), "Unsupported storage buffer binding size in bytes");

    let backward = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        ..BackwardBuffers::new(4, &buffer, &buffer, &statistics)
    };
    // A dispatch for each row, and one for dgain.
    assert_eq!(norm(1 << 18).prepare_backward(&backward).unwrap().dispatch_count(), 5);
    let wide = norm((1 << 18) + 8).prepare_backward(&BackwardBuffers { rows: 1, ..backward });
    let scratch = "bytes of a storage binding, for the partial sums of dgain and dbias,";
    assert_eq!(brief(wide), format!("Unsupported {scratch}"));
}

#[test]
fn a_device_with_small_buffers_refuses_larger_host_rows() {
    let context = context_with(|limits| {
        limits.max_buffer_size = 1 << 20;
        limits.max_storage_buffer_binding_size = 1 << 20;
    });
    let problem = Problem { cols: 1 << 10, affine: Affine::None, ..Problem::default() };
    let data = vec![0.0_f32; 1 << 19];
    let x = Rows { data: &data[..], stride: 1 << 10 };
    let inputs = ForwardInputs::<f32, f32> { rows: 1 << 9, x, residual: None, gain: None, bias: None };
    let refused = brief(context.forward_blocking(&problem, &inputs));
    assert_eq!(refused, "Unsupported buffer size in bytes for x");
}

/// A buffer ends on a whole word, with zeros that are not the caller's.
#[test]
fn a_parameter_that_ends_within_a_word_is_too_short() {
    let context = context();
    let problem = Problem { cols: 4, dtype: Dtype::F16, parameter_dtype: Dtype::F16, ..Problem::default() };
    let data = [half::f16::ONE; 4];
    let x = Rows { data: &data[..], stride: 4 };
    let inputs = ForwardInputs { rows: 1, x, residual: None, gain: Some(&data[..]), bias: Some(&data[..]) };
    let short = Some(&data[..3]);
    let refused = |inputs| brief(context.forward_blocking(&problem, &inputs));
    assert_eq!(refused(ForwardInputs { gain: short, ..inputs }), "TooSmall gain 4 elements");
    assert_eq!(refused(ForwardInputs { bias: short, ..inputs }), "TooSmall bias 4 elements");
    let inputs = BackwardInputs { rows: 1, x, dy: x, gain: short };
    assert_eq!(brief(context.backward_blocking(&problem, &inputs)), "TooSmall gain 4 elements");
}

#[test]
fn a_lost_device_is_an_error() {
    let context = context();
    let problem = Problem { cols: 4, affine: Affine::Gain, ..Problem::default() };
    let data = [1.0_f32, 2.0, 3.0, 4.0];
    let x = Rows { data: &data[..], stride: 4 };
    let gain = Some(&data[..]);
    let forward = ForwardInputs { rows: 1, x, residual: None, gain, bias: None };
    let backward = BackwardInputs { rows: 1, x, dy: x, gain };
    let [x, y] = [(); 2].map(|()| storage(context.device(), &data));
    // The one has compiled before, the other has not.
    context.forward_blocking(&problem, &forward).unwrap();
    let norm = norm(context.kernels(), Affine::None, Dtype::F32);
    context.device().destroy();
    let is_lost = |error: Error| assert!(matches!(error, Error::Device { .. }), "{error:?}");
    is_lost(context.forward_blocking(&problem, &forward).unwrap_err());
    is_lost(context.backward_blocking(&problem, &backward).unwrap_err());
    let prepared = norm.prepare_forward(&ForwardBuffers::new(1, &x, &y));
    prepared.map_or_else(is_lost, |prepared| {
        is_lost(pollster::block_on(context.run(&[&prepared], &[&y])).unwrap_err());
    });
}

#[test]
fn no_rows_do_nothing_but_zero_the_parameter_gradients() {
    let context = context();
    let device = context.device();
    let seven = |values| storage(device, &vec![7.0; values]);
    let [x, y, dy, dx, gain, bias, statistics] = [(); 7].map(|()| seven(4));
    let norm = norm(context.kernels(), Affine::GainBias, Dtype::F32);
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
    // Two outputs in one buffer, at an offset whose byte is beyond 64 bits.
    let nowhere = BufferRows { buffer: &y, offset: u64::MAX, stride: None };
    norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        residual: Some((&x).into()),
        sum: Some(nowhere),
        ..ForwardBuffers::new(0, &x, nowhere)
    })
    .unwrap();
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
