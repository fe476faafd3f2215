//! Descriptors, rows of the host, and adapters.

use crate::{COLS, WrongCalls, said};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardInputs, Context, Dtype, ForwardInputs, LayerNorm, LayerNormDescriptor,
    Problem, Rows, adapters, describe_adapter,
};

#[test]
fn a_wrong_descriptor_is_an_error() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
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
        calls.expect(name, expected, said(LayerNorm::new(context.kernels(), &descriptor)));
    }

    calls.conclude();
}

#[test]
fn wrong_rows_of_the_host_are_an_error() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
    let inputs = ForwardInputs::<f32, f32>::new(1, Rows { data: &[1.0; 4], stride: 4 });
    let problem = Problem { cols: COLS, affine: Affine::None, ..Problem::default() };
    let halves = Problem { dtype: Dtype::Bf16, ..problem };
    calls.expect(
        "f32 as bf16",
        "invalid: type of x is f32, needs to be bf16",
        said(context.forward_blocking(&halves, &inputs)),
    );
    let halves = Problem { parameter_dtype: Dtype::Bf16, ..halves };
    calls.expect(
        "both as bf16",
        "invalid: type of x is f32, needs to be bf16",
        said(context.forward_blocking(&halves, &inputs)),
    );
    calls.expect("gain as bf16", "invalid: type of gain and bias is f32, needs to be bf16", {
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
        calls.expect(name, expected, said(context.forward_blocking(&problem, &inputs)));
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
        calls.expect(name, expected, said(context.backward_blocking(&problem, &inputs)));
    }
    calls.conclude();
}

#[test]
fn an_adapter_that_is_not_there_is_an_error() {
    let mut calls = WrongCalls::new();
    let nobody = AdapterChoice::Named("no such adapter".to_owned());
    let present: Vec<String> =
        pollster::block_on(adapters()).iter().map(|adapter| describe_adapter(&adapter.get_info())).collect();
    let expected =
        format!("unsupported: no adapter matches no such adapter; present: {}", present.join(", "));
    calls.expect("no such adapter", &expected, said(Context::new_blocking(&nobody)));
    calls.conclude();
}
