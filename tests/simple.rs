//! The calls of one line.

use half::{bf16, f16};
use wgpu_layernorm::reference::{self, ForwardOutputs};
use wgpu_layernorm::{
    AdapterChoice, Affine, Context, Dtype, Element, ForwardInputs, Normalization, Problem, Rows, RowsMut,
    layer_norm, rms_norm,
};

const COLS: u32 = 37;
const ROWS: usize = 5;

fn check<T: Element>(
    normalization: Normalization,
    call: fn(&[T], u32) -> Result<Vec<T>, wgpu_layernorm::Error>,
) {
    let stride = COLS as usize;
    // L2 has no eps by itself: rows of a small norm show it.
    let size = if normalization == Normalization::L2 { 1e-7 } else { 1.0 };
    let value = |i: usize| T::from_f64(((i * 37 % 101) as f64 / 16.0 - 2.0) * size);
    let x: Vec<T> = (0..ROWS * stride).map(value).collect();
    let problem = Problem {
        cols: COLS,
        dtype: T::DTYPE,
        parameter_dtype: T::DTYPE,
        normalization,
        affine: Affine::None,
        eps: normalization.usual_eps(),
        ..Problem::default()
    };
    let mut expected = vec![0.0_f64; x.len()];
    let inputs = ForwardInputs::<T, T>::new(ROWS, Rows { data: &x, stride });
    let outputs = ForwardOutputs::new(RowsMut { data: &mut expected, stride });
    reference::forward(&problem, &inputs, outputs).unwrap();
    let y = call(&x, COLS).unwrap();
    assert_eq!(y.len(), x.len());
    for (y, expected) in y.iter().zip(&expected) {
        // 4 units of the row's largest value, all of which are below 4 here, and one in the last place of the
        // storage.
        let most = 16.0 * Dtype::F32.unit_roundoff() + 2.0 * T::DTYPE.unit_roundoff() * expected.abs();
        let error = (y.to_f64() - expected).abs();
        assert!(error <= most, "{normalization} {}: {} is not {expected}", T::DTYPE, y.to_f64());
    }
}

#[test]
fn a_line_gives_the_reference() {
    check::<f32>(Normalization::Layer, layer_norm);
    check::<f16>(Normalization::Layer, layer_norm);
    check::<bf16>(Normalization::Rms, rms_norm);
    check::<f32>(Normalization::Rms, rms_norm);
    check::<f32>(Normalization::L2, |x, cols| {
        let context = Context::new_blocking(&AdapterChoice::Auto)?;
        context.normalize_blocking(Normalization::L2, x, cols)
    });
    assert_eq!(layer_norm::<f32>(&[], 4), Ok(Vec::new()), "no rows");
}

#[test]
fn a_wrong_line_is_an_error() {
    let says = |x: &[f32], cols| layer_norm(x, cols).unwrap_err().to_string();
    assert_eq!(
        says(&[1.0; 7], 4),
        "the number of values in x is 7, needs to be whole rows: a multiple of cols, 4"
    );
    assert_eq!(says(&[1.0; 4], 0), "cols is 0, needs to be 1 to 16777216");
}
