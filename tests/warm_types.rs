//! Warming where tensors of a call have several types: each of them decides how wide accesses are.

use wgpu_layernorm::plan::{Backward, Forward};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BufferRows, BufferStatistics, Context, Dtype, ForwardBuffers,
    Gradient, Kernels, LayerNorm, LayerNormDescriptor, Prepared, WarmOptions, wgpu,
};

const ROWS: u64 = 2;
const COLS: u32 = 32;
/// A multiple of 8 bytes, and of no more.
const PLACE: u64 = 8;

fn buffers<const N: usize>(device: &wgpu::Device) -> [wgpu::Buffer; N] {
    [(); N].map(|()| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: PLACE + ROWS * u64::from(COLS) * 4,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    })
}

fn rows(buffer: &wgpu::Buffer) -> BufferRows<'_> {
    BufferRows::at_byte(buffer, PLACE)
}

/// Prepares a call after warming for it, which has to have compiled all.
fn check(
    context: &Context,
    descriptor: &LayerNormDescriptor<'_>,
    options: WarmOptions<'_>,
    call: impl Fn(&LayerNorm) -> Prepared,
) {
    let kernels = Kernels::new(context.device(), context.queue());
    let norm = LayerNorm::new(&kernels, descriptor).unwrap();
    norm.warm(&WarmOptions { alignment: PLACE, ..options }).unwrap();
    let warm = kernels.pipelines();
    call(&norm);
    assert_eq!(kernels.pipelines(), warm, "pipelines after a call of {descriptor:?}");
}

#[test]
fn the_widest_type_of_a_call_decides_what_is_warmed() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let [x, residual, y, sum, statistics] = &buffers(context.device());
    let narrow = LayerNormDescriptor {
        cols: COLS,
        dtype: Dtype::Bf16,
        affine: Affine::None,
        ..LayerNormDescriptor::default()
    };
    let wide_y = LayerNormDescriptor { y_dtype: Some(Dtype::F32), ..narrow };
    let wide_residual = LayerNormDescriptor { residual_dtype: Some(Dtype::F32), ..narrow };

    let forward = &[Forward::default()];
    let alone = WarmOptions { forward, ..WarmOptions::default() };
    for descriptor in [&narrow, &wide_y, &wide_residual] {
        check(&context, descriptor, alone, |norm| {
            norm.prepare_forward(&ForwardBuffers::new(ROWS, rows(x), rows(y))).unwrap()
        });
    }
    let forward = &[Forward { residual: true, ..Forward::default() }];
    let with_residual = WarmOptions { forward, ..WarmOptions::default() };
    check(&context, &wide_residual, with_residual, |norm| {
        let (residual, sum) = (Some(rows(residual)), Some(rows(sum)));
        norm.prepare_forward(&ForwardBuffers { residual, sum, ..ForwardBuffers::new(ROWS, rows(x), rows(y)) })
            .unwrap()
    });
    // Without y, its type does not matter.
    let forward = &[Forward { statistics: true, without_y: true, ..Forward::default() }];
    check(&context, &wide_y, WarmOptions { forward, ..WarmOptions::default() }, |norm| {
        norm.prepare_forward(&ForwardBuffers::statistics(ROWS, rows(x), statistics)).unwrap()
    });
    let backward = &[Backward { dx: Some(Gradient::Overwrite), ..Backward::default() }];
    check(&context, &wide_y, WarmOptions { backward, ..WarmOptions::default() }, |norm| {
        let statistics = BufferStatistics::from(statistics);
        norm.prepare_backward(&BackwardBuffers {
            dx: Some(rows(sum)),
            ..BackwardBuffers::new(ROWS, rows(x), rows(y), statistics)
        })
        .unwrap()
    });
}

#[test]
fn an_alignment_holds_elements_of_all_types_of_a_call() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let descriptor = LayerNormDescriptor {
        cols: COLS,
        dtype: Dtype::Bf16,
        y_dtype: Some(Dtype::F32),
        affine: Affine::None,
        ..LayerNormDescriptor::default()
    };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let forward = &[Forward::default()];
    let options = WarmOptions { forward, alignment: 2, ..WarmOptions::default() };
    let error = norm.warm(&options).unwrap_err();
    assert_eq!(error.to_string(), "alignment is 2, needs to be a power of two from 4 on");
}
