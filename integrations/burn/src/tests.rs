//! Tests of what burn's own interface does not reach: bfloat16 backward, and devices with small limits.

use crate::backend::{Inputs, Maybe, NormOps, Outputs};
use crate::caps::tests::with_caps;
use crate::norm::{Norm, Wanted};
use burn::backend::TensorMetadata;
use burn::tensor::bf16;
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use wgpu_layernorm::plan::Caps;
use wgpu_layernorm::reference::{self, BackwardOutputs, ForwardOutputs};
use wgpu_layernorm::{BackwardInputs, ForwardInputs, Normalization, Problem, Rows, RowsMut};

const LAYER: Norm = Norm { normalization: Normalization::Layer, eps: 1e-5, groups: None };
const ALL: Wanted = Wanted { x: true, gain: true, bias: true };

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

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
    let (x, dy) = (round(values(1, rows * cols)), round(values(2, rows * cols)));
    let (gain, bias) = (values(3, cols), values(4, cols));
    let of_rows = |values: &[f32]| tensor(values, &[rows, cols], dtype);
    let of_cols = |values: &[f32]| tensor(values, &[cols], DType::F32);
    let inputs = Inputs {
        residual: Maybe::Nothing,
        gain: Maybe::Tensor(of_cols(&gain)),
        bias: Maybe::Tensor(of_cols(&bias)),
    };
    let Outputs { y, statistics, .. } = CubeBackend::norm_forward(of_rows(&x), inputs, LAYER, true);
    let statistics = statistics.into_option().unwrap();
    let gradients = CubeBackend::norm_backward(
        of_rows(&x),
        of_rows(&dy),
        statistics,
        Maybe::Tensor(of_cols(&gain)),
        LAYER,
        ALL,
    );

    let problem = Problem::layer(u32::try_from(cols).unwrap());
    let of = |data| Rows { data, stride: cols };
    let (mut expected_y, mut dx) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
    let (mut dgain, mut dbias) = (vec![0.0; cols], vec![0.0; cols]);
    let forward = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
        ..ForwardInputs::new(rows, of(&x[..]))
    };
    let to = RowsMut { data: &mut expected_y[..], stride: cols };
    let mut of_reference = vec![[0.0; 2]; rows];
    let to = ForwardOutputs { statistics: Some(&mut of_reference), ..ForwardOutputs::<f32, f64>::new(to) };
    reference::forward(&problem, &forward, to).unwrap();
    let backward =
        BackwardInputs { gain: Some(&gain[..]), ..BackwardInputs::new(rows, of(&x[..]), of(&dy[..])) };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx[..], stride: cols }),
        dgain: Some(&mut dgain[..]),
        dbias: Some(&mut dbias[..]),
        ..BackwardOutputs::default()
    };
    reference::backward(&problem, &backward, outputs).unwrap();
    // The terms of a row's dx may be larger than what they add up to.
    let largest = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let dx_terms: Vec<f64> = of_reference
        .iter()
        .zip(dy.chunks(cols))
        .map(|([_, rstd], dy)| rstd * largest(dy) * largest(&gain))
        .collect();
    for (name, got, expected, most) in [
        ("y", Some(y), expected_y, roundoff),
        ("dx", gradients.x.into_option(), dx, roundoff),
        ("dgain", gradients.gain.into_option(), dgain, of_sums),
        ("dbias", gradients.bias.into_option(), dbias, of_sums),
    ] {
        let got = host(&got.unwrap());
        for (row, (got, expected)) in got.chunks(cols).zip(expected.chunks(cols)).enumerate() {
            let terms = if name == "dx" { dx_terms[row] } else { 0.0 };
            let largest = expected.iter().map(|value| value.abs()).fold(terms, f64::max);
            for (column, (got, expected)) in got.iter().zip(expected).enumerate() {
                let off = (got - expected).abs();
                assert!(
                    off <= most * largest,
                    "{name}[{row}, {column}] of {rows}x{cols} is {got}, not {expected}"
                );
            }
        }
    }
}

/// Of float32.
const UNIT: f64 = 1.0 / (1_u64 << 24) as f64;

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
