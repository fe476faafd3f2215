//! What a call leaves out changes no bit of the rest.

mod support;

use support::{buffer, buffer_of_bytes, context, run, values};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{BufferVector, Context, Dtype, ForwardBuffers, LayerNorm, LayerNormDescriptor};

/// A call over buffers of its own, in one type.
struct Tensors {
    rows: usize,
    x: wgpu::Buffer,
    residual: wgpu::Buffer,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    y: wgpu::Buffer,
    sum: wgpu::Buffer,
    statistics: wgpu::Buffer,
}

impl Tensors {
    fn new(context: &Context, dtype: Dtype, rows: usize, cols: usize) -> Self {
        let of = |seed, count| {
            let values = values(seed, count);
            match dtype {
                Dtype::F32 => buffer(context, &values),
                Dtype::F16 => {
                    let values: Vec<half::f16> = values.into_iter().map(half::f16::from_f32).collect();
                    buffer_of_bytes(context, bytemuck::cast_slice(&values))
                }
                Dtype::Bf16 => {
                    let values: Vec<half::bf16> = values.into_iter().map(half::bf16::from_f32).collect();
                    buffer_of_bytes(context, bytemuck::cast_slice(&values))
                }
                dtype => panic!("no values of {dtype}"),
            }
        };
        Self {
            rows,
            x: of(1, rows * cols),
            residual: of(2, rows * cols),
            gain: of(3, cols),
            bias: of(4, cols),
            y: of(5, rows * cols),
            sum: of(6, rows * cols),
            statistics: buffer(context, &values(7, 2 * rows)),
        }
    }

    fn all(&self) -> ForwardBuffers<'_> {
        ForwardBuffers {
            residual: Some((&self.residual).into()),
            gain: Some((&self.gain).into()),
            bias: Some((&self.bias).into()),
            sum: Some((&self.sum).into()),
            statistics: Some((&self.statistics).into()),
            ..ForwardBuffers::new(self.rows as u64, &self.x, &self.y)
        }
    }
}

/// Cached and streamed rows, and split ones, on a software adapter's ladder; rows of pairs and of single
/// elements.
const SHAPES: [(usize, usize, RowSplit); 5] = [
    (7, 96, RowSplit::Never),
    (7, 37, RowSplit::Never),
    (3, 20_000, RowSplit::Never),
    (3, 9000, RowSplit::Wide),
    (3, 9001, RowSplit::Wide),
];

fn each_shape(check: impl Fn(&Context, &LayerNorm, &dyn Fn() -> Tensors, &str)) {
    let context = context();
    for ((rows, cols, row_split), dtype) in
        SHAPES.into_iter().flat_map(|shape| Dtype::ALL.map(|dtype| (shape, dtype)))
    {
        let descriptor = LayerNormDescriptor {
            dtype,
            row_split,
            ..LayerNormDescriptor::layer(u32::try_from(cols).unwrap())
        };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let tensors = || Tensors::new(&context, dtype, rows, cols);
        check(&context, &norm, &tensors, &format!("{rows} rows of {cols} {dtype}, {row_split:?}"));
    }
}

#[test]
fn y_and_statistics_are_the_same_without_the_sum() {
    each_shape(|context, norm, tensors, which| {
        let (with, without) = (tensors(), tensors());
        let with_sum = norm.prepare_forward(&with.all()).unwrap();
        let without_sum = norm.prepare_forward(&ForwardBuffers { sum: None, ..without.all() }).unwrap();
        let expected = run(context, &[&with_sum], &[&with.y, &with.statistics]);
        let got = run(context, &[&without_sum], &[&without.y, &without.statistics]);
        assert!(got == expected, "{which}");
    });
}

#[test]
fn statistics_are_the_same_without_y() {
    each_shape(|context, norm, tensors, which| {
        let (with, without) = (tensors(), tensors());
        let with_y = norm.prepare_forward(&with.all()).unwrap();
        let statistics = BufferVector::from(&without.statistics);
        let alone = ForwardBuffers {
            residual: Some((&without.residual).into()),
            sum: Some((&without.sum).into()),
            ..ForwardBuffers::statistics(without.rows as u64, &without.x, statistics)
        };
        let without_y = norm.prepare_forward(&alone).unwrap();
        let expected = run(context, &[&with_y], &[&with.sum, &with.statistics]);
        let got = run(context, &[&without_y], &[&without.sum, &without.statistics]);
        assert!(got == expected, "{which}");
    });
}
