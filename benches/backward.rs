//! Backward with parameter gradients (both dispatches), beside a plain copy that reads x and dy and writes
//! dx, and on the CPU.
//!
//!     cargo bench --bench backward
//!     cargo bench --bench backward -- 4096x1024

mod support;

use half::{bf16, f16};
use support::{Bench, SHAPE_16_BIT, SHAPE_OF_FORMS, SHAPES_F32, Shape, values};
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Affine, BackwardBuffers, Element, Normalization, Problem, Real, Rows, RowsMut, Statistics,
};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Layer,
    Rms,
    /// Without parameter gradients, so that what they cost can be read from the difference.
    DxOnly,
}

fn main() {
    support::run("backward", |bench| {
        for shape in SHAPES_F32 {
            backward::<f32>(bench, shape, Form::Layer);
        }
        backward::<f32>(bench, SHAPE_OF_FORMS, Form::Rms);
        backward::<f32>(bench, SHAPE_OF_FORMS, Form::DxOnly);
        backward::<f16>(bench, SHAPE_16_BIT, Form::Layer);
        backward::<bf16>(bench, SHAPE_16_BIT, Form::Layer);
        on_the_cpu(bench, SHAPE_OF_FORMS);
    });
}

fn backward<T: Element>(bench: &mut Bench<'_>, shape: Shape, form: Form) {
    let (normalization, suffix) = match form {
        Form::Layer => (Normalization::Layer, ""),
        Form::Rms => (Normalization::Rms, "/rms"),
        Form::DxOnly => (Normalization::Layer, "/dx_only"),
    };
    let (rows, cols) = (shape.rows, shape.cols as usize);
    let (x, dy): (Vec<T>, Vec<T>) = (values(shape.len(), 1), values(shape.len(), 2));
    let gain: Vec<T> = values(cols, 3);
    let with_parameters = form != Form::DxOnly;

    let norm = bench.norm::<T>(shape.cols, normalization);
    let inputs = BackwardInputs {
        gain: Some(&gain),
        ..BackwardInputs::new(rows, Rows { data: &x, stride: cols }, Rows { data: &dy, stride: cols })
    };
    let (mut dx, mut dgain, mut dbias) = (vec![0.0; shape.len()], vec![0.0; cols], vec![0.0; cols]);
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx, stride: cols }),
        dgain: Some(&mut dgain),
        dbias: Some(&mut dbias),
        ..BackwardOutputs::default()
    };
    reference::backward(norm.problem(), &inputs, outputs).expect("the call is valid");
    let statistics = statistics(norm.problem(), &inputs);

    let (x, dy) = (bench.input(&x), bench.input(&dy));
    let (gain, statistics) = (bench.input(&gain), bench.input(&statistics));
    let dx = bench.output::<T>("dx", dx);
    let (dgain, dbias) = (bench.output::<T>("dgain", dgain), bench.output::<T>("dbias", dbias));
    let buffers = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx.buffer).into()),
        dgain: with_parameters.then_some((&dgain.buffer).into()),
        dbias: with_parameters.then_some((&dbias.buffer).into()),
        ..BackwardBuffers::new(rows as u64, &x, &dy, &statistics)
    };
    let kernel = norm.plan_backward(&buffers).expect("there is a plan")[0].kernel;
    let call = norm.prepare_backward(&buffers).expect("the call can be prepared");
    let outputs = if with_parameters { 3 } else { 1 };
    bench.check::<T>(&call, shape.cols, &[&dx, &dgain, &dbias][..outputs]);
    bench.kernel_and_copy(kernel, &shape.parameter::<T>(suffix), &call, (&[&x, &dy], &[&dx.buffer]));
}

/// What forward would have left for backward.
fn statistics<T: Element>(problem: &Problem, inputs: &BackwardInputs<'_, T, T>) -> Vec<Statistics> {
    let mut y = vec![0.0_f32; inputs.x.data.len()];
    let mut statistics = vec![[0.0; 2]; inputs.rows];
    let without_affine = Problem { affine: Affine::None, ..*problem };
    let inputs = ForwardInputs { gain: None::<&[T]>, ..ForwardInputs::new(inputs.rows, inputs.x) };
    let outputs = ForwardOutputs {
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride: inputs.x.stride })
    };
    reference::forward(&without_affine, &inputs, outputs).expect("the call is valid");
    let rounded =
        |[mean, rstd]: [f64; 2]| Statistics { mean: f32::from_f64(mean), rstd: f32::from_f64(rstd) };
    statistics.into_iter().map(rounded).collect()
}

fn on_the_cpu(bench: &mut Bench<'_>, shape: Shape) {
    let cols = shape.cols as usize;
    let problem = Problem { cols: shape.cols, ..Problem::default() };
    let (x, dy): (Vec<f32>, Vec<f32>) = (values(shape.len(), 1), values(shape.len(), 2));
    let gain: Vec<f32> = values(cols, 3);
    let (mut dx, mut dgain, mut dbias) =
        (vec![0.0_f32; shape.len()], vec![0.0_f32; cols], vec![0.0_f32; cols]);
    let inputs = BackwardInputs {
        gain: Some(&gain),
        ..BackwardInputs::new(shape.rows, Rows { data: &x, stride: cols }, Rows { data: &dy, stride: cols })
    };
    let bytes = (size_of_val(&*x) + size_of_val(&*dy) + size_of_val(&*dx)) as u64;
    bench.reference(&shape.parameter::<f32>(""), bytes, || {
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut dx, stride: cols }),
            dgain: Some(&mut dgain),
            dbias: Some(&mut dbias),
            ..BackwardOutputs::default()
        };
        reference::backward(&problem, &inputs, outputs).expect("the call is valid");
    });
}
