//! Wrong calls: each gives the error that is documented for it, reaches no GPU and leaves the device in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BackwardInputs, BufferRows, BufferStatistics, BufferVector,
    Context, Dtype, Error, ForwardBuffers, ForwardInputs, Gradient, Kernels, LayerNorm, LayerNormDescriptor,
    Problem, Rows, RowsMut, adapters, describe_adapter, required_limits,
};

const ROWS: u64 = 2;
const COLS: u32 = 4;
/// Bytes of `ROWS` dense rows.
const BYTES: u64 = 32;

// The ends that some sentences have in common.
const READ_AND_WRITTEN: &str = "need to lie apart or, in place, in exactly the same rows: one is written while the \
                                other is read, and their bytes overlap";
const WRITTEN_TWICE: &str = "need to lie apart or, in place, in exactly the same rows: both are written, and their \
                             bytes overlap";
const ACCUMULATED: &str = "need to lie apart or, in place, in exactly the same rows: dx accumulates into its buffer, \
                           which then cannot be an input as well";

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
    let at = |buffer, offset| BufferRows::at_element(buffer, offset);
    let strided = |buffer, stride| BufferRows::at_element(buffer, 0).with_stride(stride);
    let vector = |buffer, offset| Some(BufferVector::at_element(buffer, offset));
    let apart = |buffer, mean, rstd| {
        let [mean, rstd] = [mean, rstd].map(|offset| BufferVector::at_element(buffer, offset));
        BufferStatistics::apart(mean, rstd)
    };
    let binding =
        |buffer, offset, size| wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };

    let mut failures = Vec::new();
    let mut expect = |name: &str, expected: &str, got: String| {
        let expected = [
            ("{READ_AND_WRITTEN}", READ_AND_WRITTEN),
            ("{WRITTEN_TWICE}", WRITTEN_TWICE),
            ("{ACCUMULATED}", ACCUMULATED),
        ]
        .into_iter()
        .fold(expected.to_owned(), |text, (name, end)| text.replace(name, end));
        if got != expected {
            failures.push(format!("{name}: {got}\n    instead of {expected}"));
        }
    };

    let good = LayerNormDescriptor { cols: COLS, ..LayerNormDescriptor::default() };
    for (name, expected, descriptor) in [
        (
            "no columns",
            "invalid: cols is 0, needs to be 1 to 16777216",
            LayerNormDescriptor { cols: 0, ..good },
        ),
        (
            "too many",
            "invalid: cols is 16777217, needs to be 1 to 16777216",
            LayerNormDescriptor { cols: Problem::MAX_COLS + 1, ..good },
        ),
        (
            "eps below 0",
            "invalid: eps is -1, needs to be a finite number of at least 0",
            LayerNormDescriptor { eps: -1.0, ..good },
        ),
        (
            "eps NaN",
            "invalid: eps is NaN, needs to be a finite number of at least 0",
            LayerNormDescriptor { eps: f32::NAN, ..good },
        ),
        (
            "eps infinite",
            "invalid: eps is inf, needs to be a finite number of at least 0",
            LayerNormDescriptor { eps: f32::INFINITY, ..good },
        ),
        (
            "f16 parameters of f32 rows",
            "invalid: parameter_dtype is f16, needs to be f32",
            LayerNormDescriptor { parameter_dtype: Some(Dtype::F16), ..good },
        ),
        (
            "bf16 parameters of f16 rows",
            "invalid: parameter_dtype is bf16, needs to be f16 or f32",
            LayerNormDescriptor { dtype: Dtype::F16, parameter_dtype: Some(Dtype::Bf16), ..good },
        ),
    ] {
        expect(name, expected, said(LayerNorm::new(kernels, &descriptor)));
    }

    let plain = norm(kernels, Affine::None, Dtype::F32);
    let with_gain = norm(kernels, Affine::Gain, Dtype::F32);
    let full = norm(kernels, Affine::GainBias, Dtype::F32);
    let (gain_at, bias_at) = (vector(&gain, 0), vector(&bias, 0));
    let forward = ForwardBuffers::new(ROWS, &x, &y);
    let added = ForwardBuffers { residual: Some((&residual).into()), sum: Some((&sum).into()), ..forward };
    for (name, expected, norm, buffers) in [
        (
            "no gain",
            "invalid: buffer gain is missing: `affine` has a gain",
            &full,
            ForwardBuffers { bias: bias_at, ..forward },
        ),
        (
            "no bias",
            "invalid: buffer bias is missing: `affine` has a bias; many norms have a gain alone, `Affine::Gain`",
            &full,
            ForwardBuffers { gain: gain_at, ..forward },
        ),
        (
            "gain without use",
            "invalid: buffer gain was given but is not used: `affine` has no gain",
            &plain,
            ForwardBuffers { gain: gain_at, ..forward },
        ),
        (
            "bias without use",
            "invalid: buffer bias was given but is not used: `affine` has no bias",
            &with_gain,
            ForwardBuffers { gain: gain_at, bias: bias_at, ..forward },
        ),
        (
            "no output",
            "invalid: buffer y is missing: at least one of y and statistics must be given",
            &plain,
            ForwardBuffers { y: None, statistics: None, ..forward },
        ),
        (
            "gain without y",
            "invalid: buffer gain was given but is not used: y is left out, and statistics do not depend on it",
            &with_gain,
            ForwardBuffers {
                gain: gain_at,
                y: None,
                statistics: vector(&statistics, 0).map(Into::into),
                ..forward
            },
        ),
        (
            "sum alone",
            "invalid: buffer sum was given but is not used: no residual was given",
            &plain,
            ForwardBuffers { residual: None, ..added },
        ),
        (
            "stride below cols",
            "invalid: y.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { y: Some(strided(&y, 3)), ..forward },
        ),
        (
            "stride 0",
            "invalid: x.stride is 0, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { x: strided(&x, 0), ..forward },
        ),
        (
            "stride of the residual",
            "invalid: residual.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { residual: Some(strided(&residual, 3)), ..added },
        ),
        (
            "stride of the sum",
            "invalid: sum.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { sum: Some(strided(&sum, 3)), ..added },
        ),
        (
            "x short by its stride",
            "invalid: buffer x has 32 bytes, needs 36",
            &plain,
            ForwardBuffers { x: strided(&x, 5), ..forward },
        ),
        (
            "residual short",
            "invalid: buffer residual has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { residual: Some((&short).into()), ..added },
        ),
        (
            "sum short",
            "invalid: buffer sum has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { sum: Some((&short).into()), ..added },
        ),
        (
            "gain short",
            "invalid: buffer gain has 16 bytes, needs 20",
            &with_gain,
            ForwardBuffers { gain: vector(&gain, 1), ..forward },
        ),
        (
            "bias short",
            "invalid: buffer bias has 16 bytes, needs 32",
            &full,
            ForwardBuffers { gain: gain_at, bias: vector(&bias, 4), ..forward },
        ),
        (
            "x short",
            "invalid: buffer x has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { x: (&short).into(), ..forward },
        ),
        (
            "y short by its offset",
            "invalid: buffer y has 32 bytes, needs 36",
            &plain,
            ForwardBuffers { y: Some(at(&y, 1)), ..forward },
        ),
        (
            "statistics short",
            "invalid: buffer statistics has 16 bytes, needs 20",
            &plain,
            ForwardBuffers { statistics: vector(&statistics, 1).map(Into::into), ..forward },
        ),
        (
            "an offset beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { x: at(&x, u64::MAX), ..forward },
        ),
        (
            "a byte within an element",
            "invalid: the start of x is 6 bytes, needs to be a multiple of the 4 bytes of an element",
            &plain,
            ForwardBuffers { x: BufferRows::at_byte(&large, 6), ..forward },
        ),
        (
            "a slice from within an element on",
            "invalid: the start of gain is 2 bytes, needs to be a multiple of the 4 bytes of an element",
            &with_gain,
            ForwardBuffers { gain: Some(large.slice(2..).into()), ..forward },
        ),
        (
            "a slice that ends before its rows do",
            "invalid: buffer y has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { y: Some(large.slice(4..32).into()), ..forward },
        ),
        (
            "a binding that ends before its rows do",
            "invalid: buffer x has 16 bytes, needs 32",
            &plain,
            ForwardBuffers { x: binding(&large, 8, 16).into(), ..forward },
        ),
        (
            "a binding beyond its buffer",
            "invalid: buffer x has 1024 bytes, needs 1028",
            &plain,
            ForwardBuffers { x: binding(&large, 996, 64).into(), ..forward },
        ),
        (
            "a slice too short for statistics",
            "invalid: buffer statistics has 12 bytes, needs 16",
            &plain,
            ForwardBuffers { statistics: Some(large.slice(0..12).into()), ..forward },
        ),
        (
            "mean and rstd in two buffers",
            "invalid: the buffer of rstd is another than that of mean, needs to be the same, because they share a \
             binding: lay them apart within one buffer, or side by side",
            &plain,
            ForwardBuffers { statistics: Some(BufferStatistics::apart(&statistics, &large)), ..forward },
        ),
        (
            "rstd in mean",
            "invalid: mean and rstd overlap, need to lie apart or, in place, in exactly the same rows: they are two \
             tensors, and their bytes overlap",
            &plain,
            ForwardBuffers { statistics: Some(apart(&large, 0, 1)), ..forward },
        ),
        (
            "a short rstd",
            "invalid: buffer rstd has 16 bytes, needs 20",
            &plain,
            ForwardBuffers { statistics: Some(apart(&statistics, 0, 3)), ..forward },
        ),
        (
            "a slice too short for mean",
            "invalid: buffer mean has 4 bytes, needs 8",
            &plain,
            ForwardBuffers {
                statistics: Some(BufferStatistics::apart(large.slice(0..4), large.slice(8..16))),
                ..forward
            },
        ),
        (
            "mean in y, with rstd behind it",
            "invalid: y and statistics overlap, {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 4, 20)), ..forward },
        ),
        (
            "rstd in y, with mean before it",
            "invalid: y and statistics overlap, {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 0, 11)), ..forward },
        ),
        (
            "y between rstd and mean",
            "no error",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 12, 2)), ..forward },
        ),
        (
            "rows beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { rows: u64::MAX, ..forward },
        ),
        (
            "a stride beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { x: strided(&x, u64::MAX), ..forward },
        ),
        (
            "no STORAGE",
            "invalid: buffer y has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { y: Some((&copy_only).into()), ..forward },
        ),
        (
            "no STORAGE of x",
            "invalid: buffer x has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { x: (&copy_only).into(), ..forward },
        ),
        (
            "no STORAGE of gain",
            "invalid: buffer gain has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &with_gain,
            ForwardBuffers { gain: vector(&copy_only, 0), ..forward },
        ),
        (
            "no STORAGE of the statistics",
            "invalid: buffer statistics has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { statistics: vector(&copy_only, 0).map(Into::into), ..forward },
        ),
        (
            "y one row after x",
            "invalid: y and x overlap, {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: Some(at(&large, 4)), ..forward },
        ),
        (
            "y as x, in longer rows",
            "invalid: y and x overlap, {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: Some(strided(&large, 5)), ..forward },
        ),
        (
            "y one row after sum",
            "invalid: y and sum overlap, {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: Some(at(&large, 4)), ..added },
        ),
        (
            "y as sum",
            "invalid: y and sum overlap, {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: Some(at(&large, 0)), ..added },
        ),
        (
            "y one row after the residual",
            "invalid: y and residual overlap, {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { residual: Some(at(&large, 0)), y: Some(at(&large, 4)), ..added },
        ),
        (
            "sum one row before x",
            "invalid: sum and x overlap, {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { x: at(&large, 4), sum: Some(at(&large, 0)), ..added },
        ),
        (
            "statistics in x",
            "invalid: statistics and x overlap, {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { x: at(&large, 0), statistics: vector(&large, 7).map(Into::into), ..forward },
        ),
        (
            "bias in the statistics",
            "invalid: statistics and bias overlap, {READ_AND_WRITTEN}",
            &full,
            ForwardBuffers {
                gain: gain_at,
                bias: vector(&large, 3),
                statistics: vector(&large, 0).map(Into::into),
                ..forward
            },
        ),
        (
            "statistics in y",
            "invalid: y and statistics overlap, {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers {
                y: Some(at(&large, 0)),
                statistics: vector(&large, 4).map(Into::into),
                ..forward
            },
        ),
        (
            "gain in y",
            "invalid: y and gain overlap, {READ_AND_WRITTEN}",
            &with_gain,
            ForwardBuffers { y: Some(at(&large, 0)), gain: vector(&large, 7), ..forward },
        ),
    ] {
        expect(name, expected, said(norm.prepare_forward(&buffers)));
        expect(name, expected, said(norm.plan_forward(&buffers)));
    }

    // Three values of 16 bits: shaders read the fourth with them. bf16 needs no feature.
    let descriptor = LayerNormDescriptor { cols: 3, affine: Affine::None, ..good };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let norm = LayerNorm::new(kernels, &LayerNormDescriptor { dtype, ..descriptor }).unwrap();
        let buffers = ForwardBuffers::new(1, &three_halves, &half);
        expect("half a word", "invalid: buffer x has 6 bytes, needs 8", said(norm.prepare_forward(&buffers)));
        let buffers = ForwardBuffers::new(1, &half, &three_halves);
        expect(
            "half a word to write",
            "invalid: buffer y has 6 bytes, needs 8",
            said(norm.prepare_forward(&buffers)),
        );
    }

    let none = BackwardBuffers::new(ROWS, &x, &dy, &statistics);
    let backward = BackwardBuffers { dx: Some((&dx).into()), ..none };
    let all =
        BackwardBuffers { gain: gain_at, dgain: vector(&dgain, 0), dbias: vector(&dbias, 0), ..backward };
    for (name, expected, norm, buffers) in [
        (
            "no output",
            "invalid: buffer dx is missing: at least one of dx, dgain and dbias must be given",
            &plain,
            none,
        ),
        ("no gain", "invalid: buffer gain is missing: `affine` has a gain", &full, backward),
        (
            "gain without use",
            "invalid: buffer gain was given but is not used: `affine` has no gain",
            &plain,
            BackwardBuffers { gain: gain_at, ..backward },
        ),
        (
            "stride of dy",
            "invalid: dy.stride is 3, needs to be at least cols, 4",
            &full,
            BackwardBuffers { dy: strided(&dy, 3), ..all },
        ),
        (
            "stride of dx",
            "invalid: dx.stride is 3, needs to be at least cols, 4",
            &full,
            BackwardBuffers { dx: Some(strided(&dx, 3)), ..all },
        ),
        (
            "x short by its rows",
            "invalid: buffer x has 32 bytes, needs 48",
            &full,
            BackwardBuffers { rows: 3, ..all },
        ),
        (
            "dy short",
            "invalid: buffer dy has 28 bytes, needs 32",
            &full,
            BackwardBuffers { dy: (&short).into(), ..all },
        ),
        (
            "dx short by its stride",
            "invalid: buffer dx has 32 bytes, needs 36",
            &full,
            BackwardBuffers { dx: Some(strided(&dx, 5)), ..all },
        ),
        (
            "dgain short",
            "invalid: buffer dgain has 16 bytes, needs 20",
            &full,
            BackwardBuffers { dgain: vector(&dgain, 1), ..all },
        ),
        (
            "dbias beyond 64 bits",
            "invalid: buffer dbias has 16 bytes, needs 18446744073709551615",
            &full,
            BackwardBuffers { dbias: vector(&dbias, u64::MAX), ..all },
        ),
        (
            "statistics short",
            "invalid: buffer statistics has 16 bytes, needs 24",
            &full,
            BackwardBuffers { statistics: BufferVector::at_element(&statistics, 2).into(), ..all },
        ),
        (
            "no STORAGE of dy",
            "invalid: buffer dy has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &full,
            BackwardBuffers { dy: (&copy_only).into(), ..all },
        ),
        (
            "no STORAGE of dgain",
            "invalid: buffer dgain has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &full,
            BackwardBuffers { dgain: vector(&copy_only, 0), ..all },
        ),
        (
            "dx accumulates over x",
            "invalid: dx and x overlap, {ACCUMULATED}",
            &full,
            BackwardBuffers { dx: Some((&x).into()), dx_gradient: Gradient::Accumulate, ..all },
        ),
        (
            "dx in dy",
            "invalid: dx and dy overlap, {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { dy: at(&large, 0), dx: Some(at(&large, 7)), ..all },
        ),
        (
            "gain in dx",
            "invalid: dx and gain overlap, {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { gain: vector(&large, 7), dx: Some(at(&large, 0)), ..all },
        ),
        (
            "statistics in dx",
            "invalid: dx and statistics overlap, {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers {
                statistics: BufferVector::at_element(&large, 7).into(),
                dx: Some(at(&large, 0)),
                ..all
            },
        ),
        (
            "dgain in dx",
            "invalid: dx and dgain overlap, {WRITTEN_TWICE}",
            &full,
            BackwardBuffers { dx: Some(at(&large, 0)), dgain: vector(&large, 4), ..all },
        ),
        (
            "dgain as gain",
            "invalid: dgain and gain overlap, {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { dgain: vector(&gain, 0), ..all },
        ),
        (
            "dbias in x",
            "invalid: dbias and x overlap, {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { dbias: vector(&x, 4), ..all },
        ),
        (
            "dgain without gain",
            "invalid: buffer dgain was given but is not used: `affine` has no gain",
            &plain,
            BackwardBuffers { dgain: vector(&dgain, 0), ..backward },
        ),
        (
            "dbias without bias",
            "invalid: buffer dbias was given but is not used: `affine` has no bias",
            &with_gain,
            BackwardBuffers { gain: gain_at, dbias: vector(&dbias, 0), ..backward },
        ),
        (
            "dsum beside a dx that accumulates",
            "invalid: buffer dsum was given but is not used: dx accumulates: give the buffer that holds dsum as dx instead",
            &plain,
            BackwardBuffers { dsum: Some((&dy).into()), dx_gradient: Gradient::Accumulate, ..backward },
        ),
        (
            "dsum without dx",
            "invalid: buffer dsum was given but is not used: it is added into dx, which is not asked for",
            &with_gain,
            BackwardBuffers {
                gain: gain_at,
                dgain: vector(&dgain, 0),
                dx: None,
                dsum: Some((&dy).into()),
                ..backward
            },
        ),
        (
            "dx accumulates over dy",
            "invalid: dx and dy overlap, {ACCUMULATED}",
            &plain,
            BackwardBuffers { dx: Some((&dy).into()), dx_gradient: Gradient::Accumulate, ..none },
        ),
        (
            "dx one row after x",
            "invalid: dx and x overlap, {READ_AND_WRITTEN}",
            &plain,
            BackwardBuffers { x: at(&large, 0), dx: Some(at(&large, 4)), ..none },
        ),
        (
            "dgain and dbias share a value",
            "invalid: dgain and dbias overlap, {WRITTEN_TWICE}",
            &full,
            BackwardBuffers { gain: gain_at, dgain: vector(&large, 0), dbias: vector(&large, 3), ..none },
        ),
    ] {
        expect(name, expected, said(norm.prepare_backward(&buffers)));
        expect(name, expected, said(norm.plan_backward(&buffers)));
    }

    let inputs = ForwardInputs::<f32, f32>::new(1, Rows { data: &[1.0; 4], stride: 4 });
    let problem = Problem { cols: COLS, affine: Affine::None, ..Problem::default() };
    let halves = Problem { dtype: Dtype::Bf16, ..problem };
    expect(
        "f32 as bf16",
        "invalid: type of x is f32, needs to be bf16",
        said(context.forward_blocking(&halves, &inputs)),
    );
    let halves = Problem { parameter_dtype: Dtype::Bf16, ..halves };
    expect(
        "both as bf16",
        "invalid: type of x is f32, needs to be bf16",
        said(context.forward_blocking(&halves, &inputs)),
    );
    expect("gain as bf16", "invalid: type of gain and bias is f32, needs to be bf16", {
        let parameter_dtype = Dtype::Bf16;
        said(context.forward_blocking(&Problem { dtype: Dtype::F32, parameter_dtype, ..problem }, &inputs))
    });
    let gain = Some(&[1.0; 4][..]);
    let wide = Rows { data: &[1.0; 4][..], stride: 5 };
    for (name, expected, inputs) in [
        ("x short", "invalid: buffer x has 4 elements, needs 8", ForwardInputs { rows: 2, ..inputs }),
        (
            "x short by its stride",
            "invalid: buffer x has 4 elements, needs 9",
            ForwardInputs { rows: 2, x: wide, ..inputs },
        ),
        ("residual short", "invalid: buffer residual has 3 elements, needs 4", {
            ForwardInputs { residual: Some(Rows { data: &[1.0; 3], stride: 4 }), ..inputs }
        }),
        (
            "stride below cols",
            "invalid: x.stride is 3, needs to be at least cols, 4",
            ForwardInputs { x: Rows { stride: 3, ..inputs.x }, ..inputs },
        ),
        (
            "rows that no buffer holds",
            "invalid: buffer x has 4 elements, needs 4398046511104",
            ForwardInputs { rows: 1 << 40, ..inputs },
        ),
        (
            "rows beyond 64 bits",
            "invalid: buffer x has 4 elements, needs 18446744073709551615",
            ForwardInputs { rows: usize::MAX, x: Rows { stride: 0, ..inputs.x }, ..inputs },
        ),
        (
            "gain without use",
            "invalid: buffer gain was given but is not used: `affine` has no gain",
            ForwardInputs { gain, ..inputs },
        ),
    ] {
        expect(name, expected, said(context.forward_blocking(&problem, &inputs)));
    }
    let problem = Problem { affine: Affine::Gain, ..problem };
    let inputs = BackwardInputs { gain, ..BackwardInputs::new(1, inputs.x, inputs.x) };
    for (name, expected, inputs) in [
        ("x short", "invalid: buffer x has 4 elements, needs 8", BackwardInputs { rows: 2, ..inputs }),
        ("dy short", "invalid: buffer dy has 3 elements, needs 4", {
            BackwardInputs { dy: Rows { data: &[1.0; 3], stride: 4 }, ..inputs }
        }),
        (
            "gain short",
            "invalid: buffer gain has 3 elements, needs 4",
            BackwardInputs { gain: Some(&[1.0; 3][..]), ..inputs },
        ),
        (
            "no gain",
            "invalid: buffer gain is missing: `affine` has a gain",
            BackwardInputs { gain: None, ..inputs },
        ),
        (
            "rows beyond 64 bits",
            "invalid: buffer x has 4 elements, needs 18446744073709551615",
            BackwardInputs { rows: usize::MAX, ..inputs },
        ),
    ] {
        expect(name, expected, said(context.backward_blocking(&problem, &inputs)));
    }
    let nobody = AdapterChoice::Named("no such adapter".to_owned());
    let present: Vec<String> =
        pollster::block_on(adapters()).iter().map(|adapter| describe_adapter(&adapter.get_info())).collect();
    let expected =
        format!("unsupported: no adapter matches no such adapter; present: {}", present.join(", "));
    expect("no such adapter", &expected, said(Context::new_blocking(&nobody)));

    // What only wgpu can know, it reports; that is returned, and does not reach the device's handler.
    let destroyed = bytes(BYTES);
    destroyed.destroy();
    let buffers = ForwardBuffers::new(ROWS, &destroyed, &y);
    // What follows is wgpu's.
    let refused = said(plain.prepare_forward(&buffers));
    let (ours, wgpus) = refused.split_at_checked(36).unwrap_or((&refused, ""));
    expect("a destroyed buffer", "failed: creating bind groups failed:", ours.to_owned());
    assert!(wgpus.contains("has been destroyed"), "{refused}");

    assert!(failures.is_empty(), "{}:\n{}", context.description(), failures.join("\n"));
    assert_device_is_right(&context);
    assert_eq!(uncaptured.load(Ordering::SeqCst), 0, "errors that reached the device's handler");
    // That the handler would have counted one: no buffer can be mapped for both.
    drop(buffer(4, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE));
    assert_eq!(uncaptured.load(Ordering::SeqCst), 1, "the handler counts nothing");
}

#[test]
fn an_error_says_which_of_many_normalizations_it_is_about() {
    let context = context();
    let descriptor = LayerNormDescriptor { label: Some("block 7, norm 2"), ..LayerNormDescriptor::rms(COLS) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let x = storage(context.device(), &[0.0; 4]);
    let error = norm.prepare_forward(&ForwardBuffers::new(1, &x, &x)).unwrap_err();
    assert_eq!(error.to_string(), "block 7, norm 2: buffer gain is missing: `affine` has a gain");
    assert!(error.is_invalid() && !error.is_unsupported());
    assert!(matches!(error.unlabeled(), Error::MissingBuffer { buffer: "gain", .. }));
    let gain = Some(BufferVector::from(&x));
    // RMS norm has a gain alone.
    norm.plan_forward(&ForwardBuffers {
        gain,
        ..ForwardBuffers::new(1, &x, &storage(context.device(), &[0.0; 4]))
    })
    .unwrap();
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
    assert_eq!(
        said::<()>(Err(error)),
        "unsupported: storage buffers per shader stage is 4 on this device, needs at least 5"
    );
    let prepared = norm.prepare_forward(&fits).unwrap();
    let y = pollster::block_on(context.run(&[&prepared], &[&y])).unwrap();
    assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&y[0]), [3.0, 4.0, 5.0, 6.0]);

    let problem = Problem { cols: COLS, ..Problem::default() };
    let x = Rows { data: &[1.0, 2.0, 3.0, 4.0][..], stride: 4 };
    let (gain, bias) = (Some(&[0.0; 4][..]), Some(&[3.0_f32, 4.0, 5.0, 6.0][..]));
    let inputs = ForwardInputs { gain, bias, ..ForwardInputs::new(1, x) };
    assert!(context.forward_blocking(&problem, &inputs).unwrap_err().is_unsupported());
    let result = context.forward_without_statistics_blocking(&problem, &inputs).unwrap();
    assert_eq!((&result.y[..], &result.statistics[..]), (&[3.0, 4.0, 5.0, 6.0][..], &[][..]));
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
    assert_eq!(
        said(wide),
        "unsupported: storage buffer binding size in bytes is 1048576 on this device, needs at least 1048608 for one row"
    );

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
    assert_eq!(
        said(wide),
        format!("unsupported: {scratch} is 1048576 on this device, needs at least 1048608")
    );
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
    let inputs = ForwardInputs::<f32, f32>::new(1 << 9, x);
    let refused = said(context.forward_blocking(&problem, &inputs));
    assert_eq!(
        refused,
        "unsupported: buffer size in bytes for x is 1048576 on this device, needs at least 2097152"
    );
}

/// A buffer ends on a whole word, with zeros that are not the caller's.
#[test]
fn a_parameter_that_ends_within_a_word_is_too_short() {
    let context = context();
    let problem = Problem { cols: 4, dtype: Dtype::F16, parameter_dtype: Dtype::F16, ..Problem::default() };
    let data = [half::f16::ONE; 4];
    let x = Rows { data: &data[..], stride: 4 };
    let inputs = ForwardInputs { gain: Some(&data[..]), bias: Some(&data[..]), ..ForwardInputs::new(1, x) };
    let short = Some(&data[..3]);
    let refused = |inputs| said(context.forward_blocking(&problem, &inputs));
    assert_eq!(
        refused(ForwardInputs { gain: short, ..inputs }),
        "invalid: buffer gain has 3 elements, needs 4"
    );
    assert_eq!(
        refused(ForwardInputs { bias: short, ..inputs }),
        "invalid: buffer bias has 3 elements, needs 4"
    );
    let inputs = BackwardInputs { gain: short, ..BackwardInputs::new(1, x, x) };
    assert_eq!(
        said(context.backward_blocking(&problem, &inputs)),
        "invalid: buffer gain has 3 elements, needs 4"
    );
}

#[test]
fn a_lost_device_is_an_error() {
    let context = context();
    let problem = Problem { cols: 4, affine: Affine::Gain, ..Problem::default() };
    let data = [1.0_f32, 2.0, 3.0, 4.0];
    let x = Rows { data: &data[..], stride: 4 };
    let gain = Some(&data[..]);
    let forward = ForwardInputs { gain, ..ForwardInputs::new(1, x) };
    let backward = BackwardInputs { gain, ..BackwardInputs::new(1, x, x) };
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
    let nowhere = BufferRows::at_element(&y, u64::MAX);
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

/// Every description contains it: the first adapter is not what somebody meant.
#[test]
fn an_adapter_without_a_name_is_not_the_first() {
    for name in ["", " "] {
        let refused = said(Context::new_blocking(&AdapterChoice::Named(name.to_owned())));
        assert_eq!(refused, "invalid: the adapter's name is empty, needs to be a part of its description");
    }
}
