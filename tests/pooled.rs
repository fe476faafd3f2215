//! Everything in one buffer, as in an allocator's pool: the results are those of tensors in buffers of their
//! own.

mod support;

use half::{bf16, f16};
use std::sync::{Mutex, PoisonError};
use support::{run_bytes, values};
use wgpu_layernorm::plan::{Kernel, RowSplit};
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    BackwardBuffers, BufferRows, BufferStatistics, BufferVector, Context, Dtype, Error, ForwardBuffers,
    Gradient, LayerNorm, LayerNormDescriptor, Normalization, adapter_info_of_device, adapters,
};

/// Where a tensor lies: elements of its own type.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    dtype: Dtype,
    offset: u64,
    stride: u64,
    rows: u64,
    cols: u64,
}

impl Place {
    fn bytes(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let size = u64::from(self.dtype.size());
        let Self { offset, stride, cols, .. } = *self;
        (0..self.rows).map(move |row| {
            let begin = (offset + row * stride) * size;
            usize::try_from(begin).unwrap()..usize::try_from(begin + cols * size).unwrap()
        })
    }
}

/// A pool that grows tensor by tensor, with something between them that is nobody's.
struct Pool {
    image: Vec<u8>,
    is_odd: bool,
    places: Vec<Place>,
}

impl Pool {
    fn add(&mut self, name: &'static str, dtype: Dtype, rows: u64, cols: u64) {
        let size = u64::from(dtype.size());
        // On 16 bytes and no more, so that windows of neighbors overlap; or on single elements, halves of a
        // word.
        let begin = (self.image.len() as u64 + 20).next_multiple_of(16) + if self.is_odd { size } else { 0 };
        let gap = if self.is_odd { 3 } else { 8 };
        let is_rows = matches!(name, "x" | "residual" | "y" | "sum" | "dy" | "dx");
        let stride = if is_rows { cols + gap } else { cols };
        let place = Place { name, dtype, offset: begin / size, stride, rows, cols };
        let end = usize::try_from(begin + (rows - 1) * stride * size + cols * size).unwrap();
        self.image.resize(end, 0xa5);
        let seed = u32::try_from(self.places.len()).unwrap();
        let mut all = values(seed, usize::try_from(rows * cols).unwrap()).into_iter();
        for bytes in place.bytes() {
            let values = all.by_ref().take(usize::try_from(cols).unwrap());
            let row: Vec<u8> = match dtype {
                Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
                Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
                Dtype::Bf16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
                dtype => panic!("no values of {dtype}"),
            };
            self.image[bytes].copy_from_slice(&row);
        }
        self.places.push(place);
    }

    fn place(&self, name: &str) -> Place {
        *self.places.iter().find(|place| place.name == name).unwrap()
    }
}

/// One buffer for all tensors, or a buffer for each: all with the same bytes at the same places.
struct Buffers<'p> {
    pool: &'p Pool,
    buffers: Vec<wgpu::Buffer>,
}

impl<'p> Buffers<'p> {
    fn new(context: &Context, pool: &'p Pool, count: usize, scratch_bytes: u64) -> Self {
        let mut image = pool.image.clone();
        image.resize(image.len().next_multiple_of(4) + usize::try_from(scratch_bytes).unwrap(), 0x5a);
        let buffers = (0..count).map(|_| support::buffer_of_bytes(context, &image)).collect();
        Self { pool, buffers }
    }

    fn buffer(&self, name: &str) -> &wgpu::Buffer {
        // mean and rstd share a binding.
        let name = if name == "rstd" { "mean" } else { name };
        let number = self.pool.places.iter().position(|place| place.name == name).unwrap();
        &self.buffers[number % self.buffers.len()]
    }

    fn rows(&self, name: &str) -> BufferRows<'_> {
        let Place { offset, stride, .. } = self.pool.place(name);
        BufferRows::at_element(self.buffer(name), offset).with_stride(stride)
    }

    fn vector(&self, name: &str) -> BufferVector<'_> {
        BufferVector::at_element(self.buffer(name), self.pool.place(name).offset)
    }

    /// Side by side, or apart with what lies between in the pool.
    fn statistics(&self) -> BufferStatistics<'_> {
        match self.pool.is_odd {
            true => BufferStatistics::apart(self.vector("mean"), self.vector("rstd")),
            false => self.vector("statistics").into(),
        }
    }

    /// From the end of the pool on.
    fn scratch(&self) -> wgpu::BufferSlice<'_> {
        self.buffers[0].slice((self.pool.image.len() as u64).next_multiple_of(4)..)
    }

    fn forward(&self, rows: u64, residual: bool) -> ForwardBuffers<'_> {
        ForwardBuffers {
            residual: residual.then(|| self.rows("residual")),
            sum: residual.then(|| self.rows("sum")),
            gain: Some(self.vector("gain")),
            bias: Some(self.vector("bias")),
            statistics: Some(self.statistics()),
            ..ForwardBuffers::new(rows, self.rows("x"), self.rows("y"))
        }
    }

    fn backward(&self, rows: u64, gradient: Gradient) -> BackwardBuffers<'_> {
        BackwardBuffers {
            gain: Some(self.vector("gain")),
            dx: Some(self.rows("dx")),
            dgain: Some(self.vector("dgain")),
            dbias: Some(self.vector("dbias")),
            dx_gradient: gradient,
            parameter_gradient: gradient,
            ..BackwardBuffers::new(rows, self.rows("x"), self.rows("dy"), self.statistics())
        }
    }
}

const ROWS: u64 = 21;

/// All devices of a GL adapter share one GL context, and wgpu panics where a thread waits for it for a
/// second.
static TURN: Mutex<()> = Mutex::new(());

fn pool(dtype: Dtype, parameter_dtype: Dtype, cols: u64, is_odd: bool) -> Pool {
    let mut pool = Pool { image: Vec::new(), is_odd, places: Vec::new() };
    if is_odd {
        pool.add("rstd", Dtype::F32, ROWS, 1);
    }
    for name in ["x", "residual", "y", "sum"] {
        pool.add(name, dtype, ROWS, cols);
    }
    pool.add("gain", parameter_dtype, 1, cols);
    pool.add("bias", parameter_dtype, 1, cols);
    match is_odd {
        true => pool.add("mean", Dtype::F32, ROWS, 1),
        false => pool.add("statistics", Dtype::F32, ROWS, 2),
    }
    for name in ["dy", "dx"] {
        pool.add(name, dtype, ROWS, cols);
    }
    pool.add("dgain", parameter_dtype, 1, cols);
    pool.add("dbias", parameter_dtype, 1, cols);
    pool
}

/// Forward, with and without residual, then backward, in buffers apart and in one: the same bits, and nothing
/// else changes.
fn check(context: &Context, dtype: Dtype, parameter_dtype: Dtype, cols: u32, is_odd: bool, split: RowSplit) {
    let is_gl = adapter_info_of_device(context.device()).backend == wgpu::Backend::Gl;
    let _turn = is_gl.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    let what = format!(
        "{}: {dtype} with {parameter_dtype}, {cols} columns, odd: {is_odd}, {split:?}",
        context.description()
    );
    let pool = pool(dtype, parameter_dtype, cols.into(), is_odd);
    let descriptor = LayerNormDescriptor {
        cols,
        dtype,
        parameter_dtype: Some(parameter_dtype),
        row_split: split,
        ..LayerNormDescriptor::default()
    };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    for residual in [false, true] {
        let gradient = if residual { Gradient::Accumulate } else { Gradient::Overwrite };
        let apart = Buffers::new(context, &pool, pool.places.len(), 0);
        let bytes = norm.forward_scratch_bytes(&apart.forward(ROWS, residual)).unwrap();
        let bytes = bytes.max(norm.backward_scratch_bytes(&apart.backward(ROWS, gradient)).unwrap());
        let together = Buffers::new(context, &pool, 1, bytes);
        let forward =
            ForwardBuffers { scratch: Some(together.scratch()), ..together.forward(ROWS, residual) };
        let backward =
            BackwardBuffers { scratch: Some(together.scratch()), ..together.backward(ROWS, gradient) };
        let plans = |plans: Vec<wgpu_layernorm::plan::Plan>| {
            plans.into_iter().map(|plan| plan.with_pooled(Default::default())).collect::<Vec<_>>()
        };
        let apart_plans = norm.plan_backward(&apart.backward(ROWS, gradient)).unwrap();
        assert_eq!(plans(norm.plan_backward(&backward).unwrap()), apart_plans, "{what}: the kernels differ");

        let calls = [
            norm.prepare_forward(&apart.forward(ROWS, residual)),
            norm.prepare_backward(&apart.backward(ROWS, gradient)),
        ];
        let calls = calls.map(|call| call.unwrap_or_else(|error| panic!("{what}: {error}")));
        let written = ["y", "sum", "statistics", "mean", "rstd", "dx", "dgain", "dbias"].into_iter();
        let is_there = |name: &str| pool.places.iter().any(|place| place.name == name);
        let written = written.filter(|name| is_there(name) && (residual || *name != "sum"));
        let buffers: Vec<_> = written.clone().map(|name| apart.buffer(name)).collect();
        let expected = run_bytes(context, &[&calls[0], &calls[1]], &buffers);
        let calls = [norm.prepare_forward(&forward), norm.prepare_backward(&backward)];
        let calls = calls.map(|call| call.unwrap_or_else(|error| panic!("{what}: {error}")));
        let got = run_bytes(context, &[&calls[0], &calls[1]], &[&together.buffers[0]]).remove(0);

        let mut image = pool.image.clone();
        for (name, expected) in written.zip(expected) {
            for bytes in pool.place(name).bytes() {
                assert!(got[bytes.clone()] == expected[bytes.clone()], "{what}: {name}, {gradient:?}");
                assert!(
                    expected[bytes.clone()] != pool.image[bytes.clone()],
                    "{what}: {name} is not written"
                );
                image[bytes.clone()].copy_from_slice(&expected[bytes]);
            }
        }
        assert!(got[..image.len()] == image, "{what}: bytes that are nobody's have changed");
    }
}

fn contexts() -> Vec<Context> {
    pollster::block_on(adapters())
        .iter()
        .map(|adapter| pollster::block_on(Context::open(adapter)).unwrap())
        .collect()
}

#[test]
fn one_buffer_holds_everything_in_every_storage() {
    for context in contexts() {
        for (dtype, parameter_dtype) in [
            (Dtype::F32, Dtype::F32),
            (Dtype::F16, Dtype::F16),
            (Dtype::F16, Dtype::F32),
            (Dtype::Bf16, Dtype::Bf16),
            (Dtype::Bf16, Dtype::F32),
        ] {
            // llvmpipe's GL takes long to compile; on it a storage with halves of words is as good as
            // another.
            let is_gl = adapter_info_of_device(context.device()).backend == wgpu::Backend::Gl;
            if is_gl && (dtype, parameter_dtype) != (Dtype::Bf16, Dtype::F32) {
                continue;
            }
            check(&context, dtype, parameter_dtype, 24, false, RowSplit::Never);
            check(&context, dtype, parameter_dtype, 23, true, RowSplit::Never);
        }
    }
}

#[test]
fn one_buffer_holds_everything_where_rows_are_streamed_or_split() {
    // The other way round than in the test above, so that GL, which takes turns, is not all that is left.
    for context in contexts().into_iter().rev() {
        check(&context, Dtype::Bf16, Dtype::Bf16, 1025, true, RowSplit::Never);
        check(&context, Dtype::F32, Dtype::F32, 600, false, RowSplit::Wide);
    }
}

fn norm(context: &Context, normalization: Normalization) -> LayerNorm {
    let affine = wgpu_layernorm::Affine::None;
    let descriptor = LayerNormDescriptor { cols: 8, affine, normalization, ..LayerNormDescriptor::default() };
    LayerNorm::new(context.kernels(), &descriptor).unwrap()
}

/// A row of 8 each for x, y and residual: the sum over the residual, y over x, all in one pool.
#[test]
fn inputs_in_place_lie_in_one_pool() {
    let context = support::context();
    let norm = norm(&context, Normalization::Layer);
    let pool = support::buffer(&context, &values(1, 64));
    let at = |offset| BufferRows::at_element(&pool, offset);
    let buffers =
        ForwardBuffers { residual: Some(at(16)), sum: Some(at(16)), ..ForwardBuffers::new(2, at(0), at(0)) };
    let prepared = norm.prepare_forward(&buffers).unwrap();
    // Nothing is bound twice, so the text is the one of buffers apart.
    assert!(norm.plan_forward(&buffers).unwrap().iter().all(|plan| plan.pooled == Default::default()));
    let got = support::run(&context, &[&prepared], &[&pool]).remove(0);

    let of = |seed| support::buffer(&context, &values(seed, 64));
    let (x, residual, y, sum) = (of(1), of(1), of(2), of(2));
    let apart = ForwardBuffers {
        residual: Some(BufferRows::at_element(&residual, 16)),
        sum: Some((&sum).into()),
        ..ForwardBuffers::new(2, &x, &y)
    };
    let prepared = norm.prepare_forward(&apart).unwrap();
    let expected = support::run(&context, &[&prepared], &[&y, &sum]);
    assert!(got[..16] == expected[0][..16] && got[16..32] == expected[1][..16]);
}

/// Columns of a fused projection side by side: what is read and what is written lie in the same rows, but not
/// in the same bytes.
#[test]
fn columns_of_the_same_rows_are_apart() {
    let context = support::context();
    let norm = norm(&context, Normalization::Rms);
    let fused = support::buffer(&context, &values(1, 4 * 24));
    let at = |offset| BufferRows::at_element(&fused, offset).with_stride(24);
    let prepared = norm.prepare_forward(&ForwardBuffers::new(4, at(8), at(16))).unwrap();
    let got = support::run(&context, &[&prepared], &[&fused]).remove(0);
    let y = support::buffer(&context, &values(2, 4 * 24));
    let x = support::buffer(&context, &values(1, 4 * 24));
    let x = BufferRows::at_element(&x, 8).with_stride(24);
    let prepared = norm.prepare_forward(&ForwardBuffers::new(4, x, &y)).unwrap();
    let expected = support::run(&context, &[&prepared], &[&y]).remove(0);
    for row in 0..4 {
        assert!(got[row * 24 + 16..][..8] == expected[row * 8..][..8], "row {row}");
    }
    for (offset, other) in [(9, 16), (15, 8), (8, 0), (1, 8), (22, 16)] {
        let error = norm.prepare_forward(&ForwardBuffers::new(3, at(offset), at(other)));
        let apart = offset.abs_diff(other) == 8;
        assert_eq!(error.is_ok(), apart, "y at {other}, x at {offset}: {error:?}");
    }
}

#[test]
fn scratch_in_a_tensor_is_refused() {
    let context = support::context();
    let descriptor = LayerNormDescriptor { cols: 8, ..LayerNormDescriptor::default() };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let pool = support::buffer(&context, &values(1, 4096));
    let rows = |offset| BufferRows::at_element(&pool, offset);
    let vector = |offset| BufferVector::at_element(&pool, offset);
    let buffers = BackwardBuffers {
        gain: Some(vector(100)),
        dgain: Some(vector(200)),
        ..BackwardBuffers::new(2, rows(0), rows(16), vector(300))
    };
    let plans = norm.plan_backward(&buffers).unwrap();
    assert_eq!(plans.last().map(|plan| plan.kernel), Some(Kernel::BackwardReduceParameters));
    let bytes = norm.backward_scratch_bytes(&buffers).unwrap();
    let scratch = |begin: u64| Some(pool.slice(begin..begin + bytes));
    norm.prepare_backward(&BackwardBuffers { scratch: scratch(4 * 320), ..buffers }).unwrap();
    let error = norm.prepare_backward(&BackwardBuffers { scratch: scratch(0), ..buffers }).unwrap_err();
    let expected =
        Error::Overlap { written: "scratch", other: "x", why: "scratch is written, and needs to lie apart" };
    assert_eq!(error, expected);
}
