//! Gated RMS norm, the gate before the norm and after it, over rows and over groups of their columns: against
//! formulas of its own, difference quotients, and calls in place; and what does not go with it.

mod support;

use half::{bf16, f16};
use support::{buffer, context, mixed_values as values, run, wide};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Activation, Affine, BackwardBuffers, Channels, Context, Dtype, Element, ForwardBuffers, GateOrder,
    LayerNorm, LayerNormDescriptor, Problem, Rows, RowsMut,
};

const ROWS: usize = 12;

/// Rows of each kernel; groups of columns with a gain of each.
fn problems() -> Vec<Problem> {
    vec![
        Problem::rms(1),
        Problem::rms(37),
        Problem::rms(384),
        Problem::rms(9000),
        Problem { affine: Affine::None, ..Problem::rms(200) },
        Problem { affine: Affine::ZeroCenteredGain, ..Problem::rms(128) },
        Problem { channels: Some(Channels::of_heads(4, 64)), ..Problem::rms(64) },
        Problem { channels: Some(Channels::of_heads(2, 9000)), ..Problem::rms(9000) },
    ]
}

struct Data<T> {
    x: Vec<T>,
    z: Vec<T>,
    dy: Vec<T>,
    gain: Vec<f32>,
}

impl<T: Element> Data<T> {
    fn new(problem: &Problem) -> Self {
        let count = ROWS * problem.cols as usize;
        let of = |seed, factor: f32| {
            values(seed, count).into_iter().map(|value| T::from_f64((factor * value).into())).collect()
        };
        let gain = values(3, problem.parameters() as usize);
        // Gates on both sides of 0, and closed ones.
        Self { x: of(1, 1.0), z: of(5, 4.0), dy: of(2, 1.0), gain }
    }

    fn forward(&self, problem: &Problem, gate_order: GateOrder) -> ForwardInputs<'_, T, f32> {
        ForwardInputs {
            gain: problem.affine.has_gain().then_some(&self.gain[..]),
            gate_input: Some(dense(problem, &self.z)),
            gate_order,
            ..ForwardInputs::new(ROWS, dense(problem, &self.x))
        }
    }

    fn backward(&self, problem: &Problem, gate_order: GateOrder) -> BackwardInputs<'_, T, f32> {
        BackwardInputs {
            gain: problem.affine.has_gain().then_some(&self.gain[..]),
            gate_input: Some(dense(problem, &self.z)),
            gate_order,
            ..BackwardInputs::new(ROWS, dense(problem, &self.x), dense(problem, &self.dy))
        }
    }
}

fn dense<'a, T>(problem: &Problem, data: &'a [T]) -> Rows<'a, T> {
    Rows { data, stride: problem.cols as usize }
}

fn parameter(problem: &Problem, row: usize, column: usize) -> usize {
    let group = problem.channels.map_or(0, |channels| row % channels.groups as usize);
    group * problem.cols as usize + column
}

/// Results and the sizes of what each is made of, for all elements.
#[derive(Default)]
struct Expected {
    y: Vec<f64>,
    dx: Vec<f64>,
    dz: Vec<f64>,
    dgain: Vec<f64>,
    most: [f64; 4],
}

/// By formulas of its own.
fn by_hand<T: Element>(problem: &Problem, data: &Data<T>, order: GateOrder) -> Expected {
    let cols = problem.cols as usize;
    let mut all = Expected { dgain: vec![0.0; problem.parameters() as usize], ..Expected::default() };
    let mut of_dgain = all.dgain.clone();
    for row in 0..ROWS {
        let at = |column: usize| row * cols + column;
        let gate = |column: usize| {
            let z = data.z[at(column)].to_f64();
            let s = 1.0 / (1.0 + (-z).exp());
            (z * s, s * (1.0 + z * (1.0 - s)))
        };
        let gain = |column: usize| match problem.affine {
            Affine::None => 1.0,
            Affine::ZeroCenteredGain => f64::from(1.0 + data.gain[parameter(problem, row, column)]),
            _ => f64::from(data.gain[parameter(problem, row, column)]),
        };
        let is_before = order == GateOrder::Before;
        let x = |column: usize| data.x[at(column)].to_f64();
        let u: Vec<f64> =
            (0..cols).map(|column| x(column) * if is_before { gate(column).0 } else { 1.0 }).collect();
        let mean_square = u.iter().map(|u| u * u).sum::<f64>() / cols as f64;
        let rstd = 1.0 / (mean_square + f64::from(problem.eps)).sqrt();
        let dyn_of =
            |column: usize| data.dy[at(column)].to_f64() * if is_before { 1.0 } else { gate(column).0 };
        let m2 = (0..cols).map(|i| dyn_of(i) * gain(i) * u[i] * rstd).sum::<f64>() / cols as f64;
        let mut most = [0.0_f64; 4];
        for (column, u) in u.iter().copied().enumerate() {
            let (factor, slope) = gate(column);
            let normalized = gain(column) * u * rstd;
            all.y.push(normalized * if is_before { 1.0 } else { factor });
            let du = rstd * (dyn_of(column) * gain(column) - u * rstd * m2);
            all.dx.push(du * if is_before { factor } else { 1.0 });
            let dz = if is_before { du * x(column) } else { data.dy[at(column)].to_f64() * normalized };
            all.dz.push(dz * slope);
            let place = parameter(problem, row, column);
            all.dgain[place] += dyn_of(column) * u * rstd;
            of_dgain[place] += (dyn_of(column) * u * rstd).abs();
            let size = [
                normalized * 4.0,
                rstd * dyn_of(column) * gain(column) * 4.0,
                rstd * dyn_of(column) * gain(column) * 8.0 + data.dy[at(column)].to_f64() * normalized,
            ];
            most.iter_mut().zip(size).for_each(|(most, size)| *most = most.max(size.abs()));
        }
        all.most.iter_mut().zip(most).for_each(|(all, of_row)| *all = all.max(of_row));
    }
    all.most[3] = of_dgain.into_iter().fold(0.0, f64::max);
    all
}

/// 14 units of the largest terms, and in 16 bits one in the last place.
fn assert_within<T: Element>(what: &str, got: &[f64], expected: &[f64], most: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let last = if T::DTYPE == Dtype::F32 { 0.0 } else { 2.0 * T::DTYPE.unit_roundoff() * expected.abs() };
        let allowed = 14.0 * Dtype::F32.unit_roundoff() * most + last.max(1e-9);
        let off = (got - expected).abs();
        assert!(off <= allowed, "{what}[{i}] is {got}, expected {expected}: {off:e} of {allowed:e}");
    }
}

fn check_of<T: Element>(context: &Context) {
    for (problem, order) in
        problems().into_iter().flat_map(|problem| GateOrder::ALL.map(|order| (problem, order)))
    {
        let problem = Problem { dtype: T::DTYPE, ..problem };
        let data = Data::<T>::new(&problem);
        let expected = by_hand(&problem, &data, order);
        let what = |name: &str| format!("{name} of {order} {problem:?}");
        let forward = context.forward_blocking(&problem, &data.forward(&problem, order)).unwrap();
        assert_within::<T>(&what("y"), &wide(&forward.y), &expected.y, expected.most[0]);
        let backward = context.backward_blocking(&problem, &data.backward(&problem, order)).unwrap();
        assert_within::<T>(&what("dx"), &wide(&backward.dx), &expected.dx, expected.most[1]);
        let dz = wide(&backward.dgate_input.unwrap());
        assert_within::<T>(&what("dgate_input"), &dz, &expected.dz, expected.most[2]);
        if let Some(dgain) = backward.dgain {
            assert_within::<f32>(&what("dgain"), &wide(&dgain), &expected.dgain, expected.most[3]);
        }

        let stride = problem.cols as usize;
        let [mut y, mut dx, mut dz] = [(); 3].map(|()| vec![0.0_f64; data.x.len()]);
        let mut dgain = vec![0.0_f64; expected.dgain.len()];
        let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride });
        reference::forward(&problem, &data.forward(&problem, order), outputs).unwrap();
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut dx, stride }),
            dgate_input: Some(RowsMut { data: &mut dz, stride }),
            dgain: problem.affine.has_gain().then_some(&mut dgain[..]),
            ..BackwardOutputs::default()
        };
        reference::backward(&problem, &data.backward(&problem, order), outputs).unwrap();
        for (name, got, expected) in
            [("y", &y, &expected.y), ("dx", &dx, &expected.dx), ("dgate_input", &dz, &expected.dz)]
        {
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-11, "reference's {}: {got}, {expected}", what(name));
            }
        }
    }
}

#[test]
fn f32_is_that_of_the_formulas() {
    check_of::<f32>(&context());
}

#[test]
fn f16_is_that_of_the_formulas() {
    check_of::<f16>(&context());
}

#[test]
fn bf16_is_that_of_the_formulas() {
    check_of::<bf16>(&context());
}

#[test]
fn rows_that_are_split_are_those_of_the_formulas() {
    check_of::<f32>(&context().with_row_split(RowSplit::Wide));
}

/// Of `sum(dy * y)`, by x and by the gate's input.
#[test]
fn gradients_are_difference_quotients() {
    for (problem, order) in [(Problem::rms(37), GateOrder::Before), (Problem::rms(37), GateOrder::After)] {
        let data = Data::<f32>::new(&problem);
        let expected = by_hand(&problem, &data, order);
        let loss = |x: &[f32], z: &[f32]| -> f64 {
            let mut y = vec![0.0_f64; x.len()];
            let inputs = ForwardInputs {
                gate_input: Some(dense(&problem, z)),
                ..ForwardInputs { x: dense(&problem, x), ..data.forward(&problem, order) }
            };
            let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride: 37 });
            reference::forward(&problem, &inputs, outputs).unwrap();
            y.iter().zip(&data.dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        let h = 0.003_906_25;
        for i in (0..data.x.len()).step_by(5) {
            let moved = |values: &[f32], h: f32| {
                let mut values = values.to_vec();
                values[i] += h;
                values
            };
            let (above, below) = (moved(&data.x, h), moved(&data.x, -h));
            let by_x = (loss(&above, &data.z) - loss(&below, &data.z)) / f64::from(above[i] - below[i]);
            assert!((by_x - expected.dx[i]).abs() < 1e-3, "dx[{i}] {order}: {by_x}, {}", expected.dx[i]);
            let (above, below) = (moved(&data.z, h), moved(&data.z, -h));
            let by_z = (loss(&data.x, &above) - loss(&data.x, &below)) / f64::from(above[i] - below[i]);
            assert!((by_z - expected.dz[i]).abs() < 1e-3, "dz[{i}] {order}: {by_z}, {}", expected.dz[i]);
        }
    }
}

#[test]
fn in_place_has_the_bits_of_separate_buffers() {
    let context = context();
    for (cols, order) in [64, 37, 9000].into_iter().flat_map(|cols| GateOrder::ALL.map(|order| (cols, order)))
    {
        let problem = Problem::rms(cols);
        let data = Data::<f32>::new(&problem);
        let norm = LayerNorm::new(context.kernels(), &LayerNormDescriptor::rms(cols)).unwrap();
        let of = |values: &[f32]| buffer(&context, values);
        let (gain, z) = (of(&data.gain), of(&data.z));
        let forward = |over_x: bool| {
            let (x, y, statistics) = (of(&data.x), of(&data.dy), of(&[0.0; 2 * ROWS]));
            let into = if over_x { &x } else { &y };
            let call = norm
                .prepare_forward(&ForwardBuffers {
                    gain: Some((&gain).into()),
                    gate_input: Some((&z).into()),
                    gate_order: order,
                    statistics: Some((&statistics).into()),
                    ..ForwardBuffers::new(ROWS as u64, &x, into)
                })
                .unwrap();
            run(&context, &[&call], &[into, &statistics])
        };
        let plain = forward(false);
        assert_eq!(forward(true), plain, "y over x, {order}, {cols}");
        let statistics: Vec<f32> = plain[1].iter().map(|bits| f32::from_bits(*bits)).collect();
        let backward = |over: Option<bool>| {
            let (x, dy, dx, dz) = (of(&data.x), of(&data.dy), of(&data.dy), of(&data.dy));
            let (saved, dgain) = (of(&statistics), of(&data.gain));
            let into = match over {
                None => &dx,
                Some(true) => &x,
                Some(false) => &dy,
            };
            let call = norm
                .prepare_backward(&BackwardBuffers {
                    gain: Some((&gain).into()),
                    gate_input: Some((&z).into()),
                    gate_order: order,
                    dx: Some(into.into()),
                    dgate_input: Some((&dz).into()),
                    dgain: Some((&dgain).into()),
                    ..BackwardBuffers::new(ROWS as u64, &x, &dy, &saved)
                })
                .unwrap();
            run(&context, &[&call], &[into, &dz, &dgain])
        };
        let plain = backward(None);
        assert_eq!(backward(Some(true)), plain, "dx over x, {order}, {cols}");
        assert_eq!(backward(Some(false)), plain, "dx over dy, {order}, {cols}");
    }
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let context = context();
    let all = buffer(&context, &[1.0; 8]);
    let norm_of = |problem: Problem| {
        let Problem { cols, normalization, affine, activation, channels, .. } = problem;
        let descriptor = LayerNormDescriptor {
            cols,
            normalization,
            affine,
            activation,
            channels,
            ..LayerNormDescriptor::default()
        };
        LayerNorm::new(context.kernels(), &descriptor).unwrap()
    };
    let rms = norm_of(Problem::rms(4));
    let plain = BackwardBuffers {
        gain: Some((&all).into()),
        gate_input: Some((&all).into()),
        dx: Some((&all).into()),
        ..BackwardBuffers::new(1, &all, &all, &all)
    };
    for (buffers, expected) in [
        (plain, "buffer dgate_input is missing: it is written beside dx"),
        (
            BackwardBuffers {
                dx: None,
                dgain: Some((&all).into()),
                dgate_input: Some((&all).into()),
                ..plain
            },
            "buffer dx is missing: dgate_input is written beside it",
        ),
        (
            BackwardBuffers { gate_input: None, dgate_input: Some((&all).into()), ..plain },
            "buffer dgate_input was given but is not used: there is no gate_input, of which it is the gradient",
        ),
        (
            BackwardBuffers { dsum: Some((&all).into()), dgate_input: Some((&all).into()), ..plain },
            "buffer dsum was given but is not used: gated RMS norm has none",
        ),
    ] {
        assert_said(&rms.prepare_backward(&buffers).unwrap_err().to_string(), expected);
    }
    let forward = ForwardBuffers {
        gain: Some((&all).into()),
        gate_input: Some((&all).into()),
        ..ForwardBuffers::new(1, &all, &all)
    };
    for (problem, expected) in [
        (
            Problem { affine: Affine::Gain, ..Problem::layer(4) },
            "normalization is layer, needs to be rms where there is a gate input",
        ),
        (
            Problem { affine: Affine::GainBias, ..Problem::rms(4) },
            "affine is gain_bias, needs to be one without a bias where there is a gate input",
        ),
        (
            Problem { activation: Activation::Silu, ..Problem::rms(4) },
            "activation is silu, needs to be none where there is a gate input",
        ),
        (
            Problem { channels: Some(Channels::new(2, 1, 2)), ..Problem::rms(4) },
            "channels.spatial is 2, needs to be 1, a gain for each column, where there is a gate input",
        ),
    ] {
        assert_said(&norm_of(problem).prepare_forward(&forward).unwrap_err().to_string(), expected);
    }
    let with_residual = ForwardBuffers { residual: Some((&all).into()), ..forward };
    assert_said(
        &rms.prepare_forward(&with_residual).unwrap_err().to_string(),
        "buffer residual was given but is not used: gated RMS norm has none",
    );
    let alone = ForwardBuffers {
        gain: None,
        gate_input: Some((&all).into()),
        gate_order: GateOrder::After,
        ..ForwardBuffers::statistics(1, &all, &all)
    };
    assert_said(
        &rms.prepare_forward(&alone).unwrap_err().to_string(),
        "buffer gate_input was given but is not used: y is left out, and the gate is a factor of it",
    );
}

fn assert_said(said: &str, expected: &str) {
    assert!(said.ends_with(expected), "said: {said}\nexpected: {expected}");
}
