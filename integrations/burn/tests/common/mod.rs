//! What the tests share: values, calls of both implementations, the reference, and how they are judged.
#![allow(dead_code, reason = "no test uses all of it")]

use burn::tensor::{DType, Device, DeviceKind, Tensor, TensorData};
use wgpu_layernorm::reference::{self, BackwardOutputs, ForwardOutputs};
use wgpu_layernorm::{BackwardInputs, ForwardInputs, Problem, Rows, RowsMut};

/// Half of the distance from 1 to the next float32.
pub const UNIT: f64 = 1.0 / (1_u64 << 24) as f64;

pub fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

/// Values with mean 0 and a standard deviation near 1, others for each seed.
pub fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum()).collect()
}

/// The inputs of a call, on the host.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub shape: Vec<usize>,
    pub x: Vec<f32>,
    pub gain: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    /// The gradient that reaches y.
    pub dy: Vec<f32>,
}

impl Inputs {
    /// `parameters` values of gain and of bias, as far as wanted.
    pub fn new(shape: &[usize], parameters: usize, mean: f32, has_gain: bool, has_bias: bool) -> Self {
        let count = shape.iter().product();
        Self {
            shape: shape.to_vec(),
            x: values(1, count).into_iter().map(|value| value + mean).collect(),
            gain: has_gain
                .then(|| values(2, parameters).into_iter().map(|value| 1.0 + 0.3 * value).collect()),
            bias: has_bias.then(|| values(3, parameters)),
            dy: values(4, count),
        }
    }

    pub fn cols(&self) -> usize {
        *self.shape.last().unwrap()
    }

    pub fn tensor<const D: usize>(&self, values: &[f32], device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), self.shape.clone()), (device, DType::F32))
    }
}

pub fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (device, DType::F32))
}

/// y and the gradients of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dgain: Vec<f64>,
    pub dbias: Vec<f64>,
    /// Of the reference: the largest that the terms of a row's dx may be, which may cancel.
    pub dx_terms: Vec<f64>,
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.try_into_vec_as().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// Runs `norm` of (x, gain, bias) forward and backward, on tensors with gradients.
pub fn run<const D: usize>(
    inputs: &Inputs,
    norm: impl Fn(Tensor<D>, Option<Tensor<1>>, Option<Tensor<1>>) -> Tensor<D>,
) -> Results {
    run_on(inputs, inputs.tensor(&inputs.x, &device()), norm)
}

/// The same of an x that has the values of `inputs`, on whatever device and however it lies.
pub fn run_on<const D: usize>(
    inputs: &Inputs,
    x: Tensor<D>,
    norm: impl Fn(Tensor<D>, Option<Tensor<1>>, Option<Tensor<1>>) -> Tensor<D>,
) -> Results {
    let device = x.device().autodiff();
    let x = x.autodiff().require_grad();
    let leaf = |values: &Option<Vec<f32>>| values.as_ref().map(|it| vector(it, &device).require_grad());
    let (gain, bias) = (leaf(&inputs.gain), leaf(&inputs.bias));
    let y = norm(x.clone(), gain.clone(), bias.clone());
    let dy = inputs.tensor::<D>(&inputs.dy, &device);
    let mut gradients = (y.clone() * dy).sum().backward();
    let mut of_leaf = |leaf: Option<Tensor<1>>| {
        leaf.map_or(Vec::new(), |leaf| host(leaf.grad_remove(&mut gradients).expect("a gradient")))
    };
    let (dgain, dbias) = (of_leaf(gain), of_leaf(bias));
    let dx = host(x.grad_remove(&mut gradients).expect("dx"));
    Results { y: host(y), dx, dgain, dbias, dx_terms: Vec::new() }
}

/// The same by the reference.
pub fn expected(problem: &Problem, inputs: &Inputs) -> Results {
    let cols = problem.cols as usize;
    let rows = inputs.x.len() / cols;
    let of = |data| Rows { data, stride: cols };
    let mut results = Results {
        y: vec![0.0; rows * cols],
        dx: vec![0.0; rows * cols],
        dgain: vec![0.0; inputs.gain.as_ref().map_or(0, Vec::len)],
        dbias: vec![0.0; inputs.bias.as_ref().map_or(0, Vec::len)],
        dx_terms: Vec::new(),
    };
    let forward = ForwardInputs {
        gain: inputs.gain.as_deref(),
        bias: inputs.bias.as_deref(),
        ..ForwardInputs::new(rows, of(&inputs.x[..]))
    };
    let y = RowsMut { data: &mut results.y[..], stride: cols };
    let mut statistics = vec![[0.0; 2]; rows];
    let outputs = ForwardOutputs { statistics: Some(&mut statistics), ..ForwardOutputs::<f32, f64>::new(y) };
    reference::forward(problem, &forward, outputs).unwrap();
    let largest = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let gain = inputs.gain.as_deref().map_or(1.0, largest);
    let of_row = |(dy, [_, rstd]): (&[f32], &[f64; 2])| rstd * gain * largest(dy);
    results.dx_terms = inputs.dy.chunks(cols).zip(&statistics).map(of_row).collect();
    let backward = BackwardInputs {
        gain: inputs.gain.as_deref(),
        ..BackwardInputs::new(rows, of(&inputs.x[..]), of(&inputs.dy[..]))
    };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut results.dx[..], stride: cols }),
        dgain: inputs.gain.is_some().then_some(&mut results.dgain[..]),
        dbias: inputs.bias.is_some().then_some(&mut results.dbias[..]),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, &backward, outputs).unwrap();
    results
}

/// The largest error, in units of the largest expected value of its row, or of the row's terms where those
/// are larger.
pub fn units(got: &[f64], expected: &[f64], terms: &[f64], cols: usize) -> f64 {
    assert_eq!(got.len(), expected.len());
    let mut most = 0.0_f64;
    let cols = cols.max(1);
    for (row, (got, expected)) in got.chunks(cols).zip(expected.chunks(cols)).enumerate() {
        let terms = terms.get(row).copied().unwrap_or(0.0);
        let largest = expected.iter().map(|value| value.abs()).fold(terms.max(f64::MIN_POSITIVE), f64::max);
        for (got, expected) in got.iter().zip(expected) {
            let error = (got - expected).abs() / (largest * UNIT);
            most = if error.is_nan() { f64::INFINITY } else { most.max(error) };
        }
    }
    most
}

impl Results {
    /// Of y, dx, dgain and dbias.
    pub fn units(&self, expected: &Self, cols: usize) -> [f64; 4] {
        let of_all = |got: &[f64], expected: &[f64]| units(got, expected, &[], got.len());
        [
            units(&self.y, &expected.y, &[], cols),
            units(&self.dx, &expected.dx, &expected.dx_terms, cols),
            of_all(&self.dgain, &expected.dgain),
            of_all(&self.dbias, &expected.dbias),
        ]
    }
}
