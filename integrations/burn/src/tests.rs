//! Tests of what burn's own interface does not reach: bfloat16 backward, and devices with small limits.

#[path = "../tests/common/mod.rs"]
mod common;

use crate::backend::{Inputs, Maybe, NormOps, Outputs};
use crate::caps::tests::with_caps;
use crate::norm::{Kind, Norm, Wanted};
use burn::backend::TensorMetadata;
use burn::tensor::bf16;
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use common::{Inputs as Values, Results, UNIT};
use wgpu_layernorm::plan::Caps;
use wgpu_layernorm::{Normalization, Problem};

const LAYER: Norm = Norm { kind: Kind::Rows(Normalization::Layer), eps: 1e-5 };
const ALL: Wanted = Wanted { x: true, gain: true, bias: true };

fn tensor(values: &[f32], shape: &[usize], dtype: DType) -> CubeTensor {
    let device = CubeDevice::default();
    let client = device.client();
    let bytes = match dtype {
        DType::BF16 => {
            values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect::<Vec<u8>>()
        }
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let handle = client.create_from_slice(&bytes);
    CubeTensor::new_contiguous(client, device, Shape::from(shape.to_vec()), handle, dtype)
}

fn host(tensor: &CubeTensor) -> Vec<f64> {
    let bytes = tensor.client.read_one(tensor.handle.clone()).expect("the launch ran");
    let count = tensor.shape().num_elements();
    let values: Vec<f64> = match tensor.dtype {
        DType::BF16 => bytes.chunks_exact(2).map(|it| bf16::from_le_bytes([it[0], it[1]]).to_f64()).collect(),
        _ => {
            bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]).into()).collect()
        }
    };
    values[..count].to_vec()
}

/// Forward and backward of rows, held against float64: values to within `roundoff` of the largest of the row,
/// sums over rows to within `of_sums`.
fn check(rows: usize, cols: usize, dtype: DType, roundoff: f64, of_sums: f64) {
    let round = |values: Vec<f32>| match dtype {
        DType::BF16 => values.into_iter().map(|value| bf16::from_f32(value).to_f32()).collect(),
        _ => values,
    };
    let inputs = Values::new(&[rows, cols], cols, 0.0, true, true);
    let inputs = Values { x: round(inputs.x.clone()), dy: round(inputs.dy.clone()), ..inputs };
    let of_rows = |values: &[f32]| tensor(values, &[rows, cols], dtype);
    let of_cols = |values: &Option<Vec<f32>>| {
        values.as_deref().map(|values| tensor(values, &[cols], DType::F32)).into()
    };
    let beside_x =
        Inputs { residual: Maybe::Nothing, gain: of_cols(&inputs.gain), bias: of_cols(&inputs.bias) };
    let Outputs { y, statistics, .. } = CubeBackend::norm_forward(of_rows(&inputs.x), beside_x, LAYER, true);
    let gradients = CubeBackend::norm_backward(
        of_rows(&inputs.x),
        of_rows(&inputs.dy),
        statistics.into_option().unwrap(),
        of_cols(&inputs.gain),
        LAYER,
        ALL,
    );
    let of = |gradient: Maybe<CubeBackend>| host(&gradient.into_option().unwrap());
    let (dx, dgain, dbias) = (of(gradients.x), of(gradients.gain), of(gradients.bias));
    let got = Results { y: host(&y), dx, dgain, dbias, ..Results::default() };
    let expected = common::expected(&Problem::layer(u32::try_from(cols).unwrap()), &inputs);
    let [y, dx, dgain, dbias] = got.units(&expected, cols).map(|units| units * UNIT);
    assert!(
        y.max(dx) <= roundoff && dgain.max(dbias) <= of_sums,
        "{rows}x{cols} {dtype:?}: y {y:.1e}, dx {dx:.1e}, dgain {dgain:.1e}, dbias {dbias:.1e}"
    );
}

/// Half of the last place of a bfloat16.
const OF_BF16: f64 = 1.0 / 256.0;

#[test]
fn bf16_has_gradients() {
    for (rows, cols) in [(5, 7), (16, 96), (3, 4096)] {
        check(rows, cols, DType::BF16, OF_BF16, 4.0 * UNIT);
    }
}

/// Limits that WebGPU would not allow, to have several dispatches of few rows. Each rounds the sums that the
/// earlier ones have left.
#[test]
fn rows_beyond_a_dispatch_take_several() {
    for (rows, cols) in [(100, 24), (1000, 96), (2000, 7)] {
        check(rows, cols, DType::F32, 4.0 * UNIT, 4.0 * UNIT);
        let few_workgroups = |caps: Caps| Caps { max_workgroups: 2, ..caps };
        with_caps(few_workgroups, || check(rows, cols, DType::F32, 4.0 * UNIT, 16.0 * UNIT));
        let small_bindings = |caps: Caps| Caps { max_binding_bytes: 4096, ..caps };
        with_caps(small_bindings, || {
            check(rows, cols, DType::F32, 4.0 * UNIT, 16.0 * UNIT);
            check(rows, cols, DType::BF16, OF_BF16, 16.0 * UNIT);
        });
    }
}
