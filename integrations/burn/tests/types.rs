//! 16-bit tensors, with parameters in their own type and in float32.

mod common;

use burn::tensor::{DType, Tensor, bf16, f16};
use common::{Inputs, UNIT, device, expected, host};
use wgpu_layernorm::Problem;
use wgpu_layernorm_burn::{add_layer_norm, layer_norm, rms_norm};

/// The values that `dtype` has, nearest to these.
fn rounded(values: &[f32], dtype: DType) -> Vec<f32> {
    let round = |value: &f32| match dtype {
        DType::F16 => f16::from_f32(*value).to_f32(),
        DType::BF16 => bf16::from_f32(*value).to_f32(),
        _ => *value,
    };
    values.iter().map(round).collect()
}

fn inputs(shape: [usize; 2], mean: f32, dtype: DType, parameters: DType) -> Inputs {
    let inputs = Inputs::new(&shape, shape[1], mean, true, true);
    Inputs {
        x: rounded(&inputs.x, dtype),
        gain: inputs.gain.map(|gain| rounded(&gain, parameters)),
        bias: inputs.bias.map(|bias| rounded(&bias, parameters)),
        dy: rounded(&inputs.dy, dtype),
        ..inputs
    }
}

/// Half a unit in the last place of a normal number of the type.
fn roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1.0 / 2048.0,
        DType::BF16 => 1.0 / 256.0,
        _ => UNIT,
    }
}

/// One unit in the last place, beyond 4 units of float32.
fn judge(what: &str, got: &[f64], expected: &[f64], terms: &[f64], cols: usize, dtype: DType) {
    assert_eq!(got.len(), expected.len());
    for (row, (got, expected)) in got.chunks(cols).zip(expected.chunks(cols)).enumerate() {
        let terms = terms.get(row).copied().unwrap_or(0.0);
        let largest = expected.iter().map(|value| value.abs()).fold(terms, f64::max);
        for (got, expected) in got.iter().zip(expected) {
            // Of subnormal numbers of float16 the last place is 2^-24.
            let last_place = (2.0 * roundoff(dtype) * expected.abs()).max(UNIT);
            let most = 4.0 * UNIT * largest + last_place;
            let off = (got - expected).abs();
            assert!(off <= most, "{what}, row {row}: {got}, needs to be {expected} to {most:.1e}");
        }
    }
}

const SHAPES: [[usize; 2]; 5] = [[3, 5], [7, 64], [5, 33], [64, 1024], [3, 20_001]];

#[test]
fn f16_forward_and_backward_round_once() {
    for shape in SHAPES {
        // Of float16 the nearest to 3000 is 2 away.
        for (mean, parameters) in [(0.0, DType::F32), (0.0, DType::F16), (100.0, DType::F32)] {
            let inputs = inputs(shape, mean, DType::F16, parameters);
            let device = device().autodiff();
            let leaf =
                |values: &[f32], dtype| common::vector(values, &device).cast(dtype).detach().require_grad();
            let x = inputs.tensor::<2>(&inputs.x, &device).cast(DType::F16).detach().require_grad();
            let gain = leaf(inputs.gain.as_ref().unwrap(), parameters);
            let bias = leaf(inputs.bias.as_ref().unwrap(), parameters);
            let y = layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5);
            assert_eq!(y.dtype(), DType::F16);
            // The product is exact in float32, so dy arrives as it is.
            let dy = inputs.tensor::<2>(&inputs.dy, &device);
            let mut gradients = (y.clone().cast(DType::F32) * dy).sum().backward();
            let dx = x.grad_remove(&mut gradients).unwrap();
            let (dgain, dbias) =
                (gain.grad_remove(&mut gradients).unwrap(), bias.grad_remove(&mut gradients).unwrap());
            assert_eq!([dx.dtype(), dgain.dtype(), dbias.dtype()], [DType::F16, parameters, parameters]);
            let cols = shape[1];
            let expected = expected(&Problem::layer(u32::try_from(cols).unwrap()), &inputs);
            let what = format!("{shape:?}, mean {mean}, parameters {parameters:?}");
            judge(&format!("y of {what}"), &host(y), &expected.y, &[], cols, DType::F16);
            judge(&format!("dx of {what}"), &host(dx), &expected.dx, &expected.dx_terms, cols, DType::F16);
            judge(&format!("dgain of {what}"), &host(dgain), &expected.dgain, &[], cols, parameters);
            judge(&format!("dbias of {what}"), &host(dbias), &expected.dbias, &[], cols, parameters);
        }
    }
}

/// burn's WGSL has no arithmetic on bfloat16: its tensors are made on the host and read there.
#[test]
fn bf16_forward_rounds_once() {
    let device = device();
    for shape in SHAPES {
        let inputs = inputs(shape, 0.0, DType::BF16, DType::F32);
        let data = inputs.x.iter().map(|value| bf16::from_f32(*value)).collect::<Vec<_>>();
        let x = Tensor::<2>::from_data(burn::tensor::TensorData::new(data, shape), (&device, DType::BF16));
        let [gain, bias] =
            [&inputs.gain, &inputs.bias].map(|it| Some(common::vector(it.as_ref().unwrap(), &device)));
        let y = layer_norm(x, gain, bias, 1e-5);
        assert_eq!(y.dtype(), DType::BF16);
        let expected = expected(&Problem::layer(u32::try_from(shape[1]).unwrap()), &inputs);
        judge(&format!("y of {shape:?}"), &host(y), &expected.y, &[], shape[1], DType::BF16);
    }
}

/// No worse than burn's own, which widens to float32 too.
#[test]
fn f16_is_no_worse_than_burns() {
    let inputs = inputs([64, 512], 100.0, DType::F16, DType::F32);
    let device = device();
    let x = inputs.tensor::<2>(&inputs.x, &device).cast(DType::F16);
    let [gain, bias] = [&inputs.gain, &inputs.bias].map(|it| common::vector(it.as_ref().unwrap(), &device));
    let ours = host(layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5));
    let own = burn::tensor::module::layer_norm(x.cast(DType::F32), gain, Some(bias), 1e-5).cast(DType::F16);
    let expected = expected(&Problem::layer(512), &inputs).y;
    let worst = |got: Vec<f64>| got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (ours, own) = (worst(ours), worst(host(own)));
    assert!(ours <= own, "off by {ours}, burn's own by {own}");
}

/// Parameters of a type that kernels do not take beside the rows' are widened.
#[test]
fn other_types_of_parameters_are_widened() {
    let device = device();
    let inputs = inputs([9, 40], 0.0, DType::F32, DType::F16);
    let [gain, bias] = [&inputs.gain, &inputs.bias].map(|it| common::vector(it.as_ref().unwrap(), &device));
    let x = inputs.tensor::<2>(&inputs.x, &device);
    let y = layer_norm(x.clone(), Some(gain.clone().cast(DType::F16)), Some(bias.clone()), 1e-5);
    assert_eq!(host(y), host(layer_norm(x.clone(), Some(gain.clone()), Some(bias), 1e-5)));
    let y = rms_norm(x.clone(), Some(gain.clone().cast(DType::F16)), None, 1e-5);
    assert_eq!(host(y), host(rms_norm(x, Some(gain), None, 1e-5)));
}

/// A sum in f16 is rounded before it is normalized, as burn's own addition does.
#[test]
fn an_f16_sum_is_rounded_as_it_is_stored() {
    let device = device();
    let inputs = inputs([12, 70], 0.0, DType::F16, DType::F32);
    let x = inputs.tensor::<2>(&inputs.x, &device).cast(DType::F16);
    let residual = inputs.tensor::<2>(&inputs.dy, &device).cast(DType::F16);
    let (y, sum) = add_layer_norm(x, residual, None, None, 1e-5);
    let added: Vec<f32> = inputs.x.iter().zip(&inputs.dy).map(|(x, r)| x + r).collect();
    let got = host(sum.clone());
    judge("sum", &got, &added.iter().map(|it| f64::from(*it)).collect::<Vec<_>>(), &[], 70, DType::F16);
    assert_eq!(host(y), host(layer_norm(sum, None, None, 1e-5)));
}
