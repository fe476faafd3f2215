//! Forward without statistics, beside a plain copy of x to y, and on the CPU.
//!
//!     cargo bench --bench forward
//!     cargo bench --bench forward -- 4096x1024

mod support;

use half::{bf16, f16};
use support::{Bench, SHAPE_16_BIT, SHAPE_OF_FORMS, SHAPES_F32, Shape, values};
use wgpu_layernorm::reference::{self, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{Element, ForwardBuffers, Normalization, Problem, Rows, RowsMut};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Layer,
    Rms,
    Residual,
}

fn main() {
    support::run("forward", |bench| {
        for shape in SHAPES_F32 {
            forward::<f32>(bench, shape, Form::Layer);
        }
        forward::<f32>(bench, SHAPE_OF_FORMS, Form::Rms);
        forward::<f32>(bench, SHAPE_OF_FORMS, Form::Residual);
        forward::<f16>(bench, SHAPE_16_BIT, Form::Layer);
        forward::<bf16>(bench, SHAPE_16_BIT, Form::Layer);
        on_the_cpu(bench, SHAPE_OF_FORMS);
    });
}

fn forward<T: Element>(bench: &mut Bench<'_>, shape: Shape, form: Form) {
    let (normalization, suffix) = match form {
        Form::Layer => (Normalization::Layer, ""),
        Form::Rms => (Normalization::Rms, "/rms"),
        Form::Residual => (Normalization::Layer, "/residual"),
    };
    let (rows, cols) = (shape.rows, shape.cols as usize);
    let (x, residual): (Vec<T>, Vec<T>) = (values(shape.len(), 1), values(shape.len(), 2));
    let (gain, bias): (Vec<T>, Vec<T>) = (values(cols, 3), values(cols, 4));
    let with_residual = form == Form::Residual;

    let norm = bench.norm::<T>(shape.cols, normalization);
    let inputs = ForwardInputs {
        residual: with_residual.then_some(Rows { data: &residual, stride: cols }),
        gain: Some(&gain),
        bias: Some(&bias),
        ..ForwardInputs::new(rows, Rows { data: &x, stride: cols })
    };
    let mut y = vec![0.0; shape.len()];
    let mut sum = x.clone();
    let outputs = ForwardOutputs {
        sum: with_residual.then_some(RowsMut { data: &mut sum, stride: cols }),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride: cols })
    };
    reference::forward(norm.problem(), &inputs, outputs).expect("the call is valid");

    let (x, residual) = (bench.input(&x), bench.input(&residual));
    let (gain, bias) = (bench.input(&gain), bench.input(&bias));
    let y = bench.output::<T>("y", y);
    let sum = bench.output::<T>("sum", sum.into_iter().map(T::to_f64).collect());
    let buffers = ForwardBuffers {
        residual: with_residual.then_some((&residual).into()),
        sum: with_residual.then_some((&sum.buffer).into()),
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        ..ForwardBuffers::new(rows as u64, &x, &y.buffer)
    };
    let kernel = norm.plan_forward(&buffers).expect("there is a plan")[0].kernel;
    let call = norm.prepare_forward(&buffers).expect("the call can be prepared");
    // Without a residual only the first of each is used.
    let tensors = if with_residual { 2 } else { 1 };
    bench.check::<T>(&call, shape.cols, &[&y, &sum][..tensors]);
    bench.kernel_and_copy(
        kernel,
        &shape.parameter::<T>(suffix),
        &call,
        (&[&x, &residual][..tensors], &[&y.buffer, &sum.buffer][..tensors]),
    );
}

fn on_the_cpu(bench: &mut Bench<'_>, shape: Shape) {
    let cols = shape.cols as usize;
    let problem = Problem { cols: shape.cols, ..Problem::default() };
    let x: Vec<f32> = values(shape.len(), 1);
    let (gain, bias): (Vec<f32>, Vec<f32>) = (values(cols, 3), values(cols, 4));
    let mut y = vec![0.0_f32; shape.len()];
    let inputs = ForwardInputs {
        gain: Some(&gain),
        bias: Some(&bias),
        ..ForwardInputs::new(shape.rows, Rows { data: &x, stride: cols })
    };
    let bytes = (size_of_val(&*x) + size_of_val(&*y)) as u64;
    bench.reference(&shape.parameter::<f32>(""), bytes, || {
        let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride: cols });
        reference::forward(&problem, &inputs, outputs).expect("the call is valid");
    });
}
