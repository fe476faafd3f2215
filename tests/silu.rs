//! `SiLU` after gain and bias, in every norm that takes it, against formulas of its own in float64;
//! difference quotients; values of z from one end of float32 to the other; in place, and with rows split.

mod support;

use half::f16;
use support::{buffer, context, context_with, mixed_values as values, run};
use wgpu_layernorm::plan::{Backward, Forward, Kernel, RowSplit};
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Activation, Affine, BackwardBuffers, BufferRows, Context, Dtype, Element, Error, ForwardBuffers,
    Gradient, LayerNorm, LayerNormDescriptor, Normalization, Problem, Rows, RowsMut, WarmOptions, adapters,
};

/// With it, and small rows.
fn silu(problem: Problem) -> Problem {
    Problem { activation: Activation::Silu, ..problem }
}

/// What a call reads.
struct Data<T> {
    x: Vec<T>,
    dy: Vec<T>,
    gain: Vec<f32>,
    bias: Vec<f32>,
    /// Mean and variance of each row, where they are given.
    given: Option<[Vec<f32>; 2]>,
}

impl<T: Element> Data<T> {
    fn new(problem: &Problem, rows: usize) -> Self {
        let count = rows * problem.cols as usize;
        let of =
            |seed, count| values(seed, count).into_iter().map(|value| T::from_f64(value.into())).collect();
        let parameters = problem.parameters() as usize;
        // z on both sides of 0, and far from it.
        let gain = values(3, parameters).into_iter().map(|value| 3.0 * value).collect();
        Self { x: of(1, count), dy: of(2, count), gain, bias: values(4, parameters), given: None }
    }

    fn inputs(&self, problem: &Problem) -> (ForwardInputs<'_, T, f32>, BackwardInputs<'_, T, f32>) {
        let stride = problem.cols as usize;
        let (rows, dense) = (self.x.len() / stride, |data| Rows { data, stride });
        let gain = problem.affine.has_gain().then_some(&self.gain[..]);
        let bias = problem.affine.has_bias().then_some(&self.bias[..]);
        let [mean, variance] = [0, 1].map(|which| self.given.as_ref().map(|given| &given[which][..]));
        let forward =
            ForwardInputs { gain, bias, mean, variance, ..ForwardInputs::new(rows, dense(&self.x)) };
        let backward = BackwardInputs::new(rows, dense(&self.x), dense(&self.dy));
        (forward, BackwardInputs { gain, bias, mean, variance, ..backward })
    }
}

#[derive(Clone, Debug, Default)]
struct Results {
    y: Vec<f64>,
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
    /// Sizes of what each is made of.
    most: [f64; 4],
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// By formulas of its own.
fn by_hand<T: Element>(problem: &Problem, data: &Data<T>) -> Results {
    let (cols, parameters) = (problem.cols as usize, problem.parameters() as usize);
    let mut results =
        Results { dgain: vec![0.0; parameters], dbias: vec![0.0; parameters], ..Results::default() };
    let (mut of_dgain, mut of_dbias) = (vec![0.0; parameters], vec![0.0; parameters]);
    for (row, (x, dy)) in data.x.chunks(cols).zip(data.dy.chunks(cols)).enumerate() {
        let x: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        let is_centered = problem.normalization == Normalization::Layer;
        let own_mean = if is_centered { x.iter().sum::<f64>() / cols as f64 } else { 0.0 };
        let own_variance = x.iter().map(|x| (x - own_mean).powi(2)).sum::<f64>() / cols as f64;
        let of_row = |which: usize| data.given.as_ref().map(|given| f64::from(given[which][row]));
        let (mean, variance) = (of_row(0).unwrap_or(own_mean), of_row(1).unwrap_or(own_variance));
        let rstd = 1.0 / (variance + f64::from(problem.eps)).sqrt();
        let place = |column: usize| match problem.channels {
            None => column,
            Some(channels) => {
                let first = row % channels.groups as usize * (channels.count / channels.groups) as usize;
                first + column / channels.spatial as usize
            }
        };
        let gain = |column| match (problem.affine.has_gain(), problem.affine.is_zero_centered()) {
            (false, _) => 1.0,
            (true, false) => f64::from(data.gain[place(column)]),
            (true, true) => f64::from(1.0 + data.gain[place(column)]),
        };
        let bias = |column| if problem.affine.has_bias() { f64::from(data.bias[place(column)]) } else { 0.0 };
        let (mut dxhat, mut xhat) = (Vec::new(), Vec::new());
        for column in 0..cols {
            let of_column = (x[column] - mean) * rstd;
            let z = gain(column) * of_column + bias(column);
            let s = 1.0 / (1.0 + (-z).exp());
            results.y.push(z * s);
            let dy = dy[column].to_f64();
            let dz = dy * (s + z * s * (1.0 - s));
            results.dgain[place(column)] += dz * of_column;
            results.dbias[place(column)] += dz;
            of_dgain[place(column)] += (dy * of_column).abs();
            of_dbias[place(column)] += dy.abs();
            dxhat.push(dz * gain(column));
            xhat.push(of_column);
        }
        let mean_of = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / cols as f64;
        let m1 = if is_centered { mean_of(&mut dxhat.iter().copied()) } else { 0.0 };
        let m2 = mean_of(&mut dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat));
        for (dxhat, xhat) in dxhat.iter().zip(&xhat) {
            results.dx.push(match data.given {
                None => rstd * (dxhat - m1 - xhat * m2),
                Some(_) => rstd * dxhat,
            });
        }
        // What rounding of z, of up to some tens, makes of a slope that is near 0.
        results.most[1] = results.most[1].max(rstd * largest((0..cols).map(gain)) * 4.0);
    }
    results.most[0] = largest(results.y.iter().copied()) + 1.0;
    results.most[1] = results.most[1].max(largest(results.dx.iter().copied()));
    (results.most[2], results.most[3]) = (largest(of_dgain), largest(of_dbias));
    results
}

fn on_cpu<T: Element>(problem: &Problem, data: &Data<T>) -> Results {
    let (stride, parameters) = (problem.cols as usize, problem.parameters() as usize);
    let count = data.x.len();
    let mut results = Results {
        y: vec![0.0; count],
        dx: vec![0.0; count],
        dgain: vec![0.0; parameters],
        dbias: vec![0.0; parameters],
        ..Results::default()
    };
    let (forward, backward) = data.inputs(problem);
    let y = RowsMut { data: &mut results.y[..], stride };
    reference::forward(problem, &forward, ForwardOutputs::new(y)).unwrap();
    let outputs = BackwardOutputs::<f64, f64> {
        dx: Some(RowsMut { data: &mut results.dx, stride }),
        dgain: problem.affine.has_gain().then_some(&mut results.dgain),
        dbias: problem.affine.has_bias().then_some(&mut results.dbias),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, &backward, outputs).unwrap();
    results
}

fn on_device<T: Element>(context: &Context, problem: &Problem, data: &Data<T>) -> Results {
    fn wide<V: Element>(values: &[V]) -> Vec<f64> {
        values.iter().map(|value| value.to_f64()).collect()
    }
    let (forward, backward) = data.inputs(problem);
    let forward = context.forward_blocking(problem, &forward).unwrap();
    let backward = context.backward_blocking(problem, &backward).unwrap();
    Results {
        y: wide(&forward.y),
        dx: wide(&backward.dx),
        dgain: wide(&backward.dgain.unwrap_or_default()),
        dbias: wide(&backward.dbias.unwrap_or_default()),
        ..Results::default()
    }
}

fn assert_close(what: &str, problem: &Problem, got: &Results, expected: &Results, shares: [f64; 2]) {
    let [of_rows, of_parameters] = shares;
    for (tensor, got, expected, most, share) in [
        ("y", &got.y, &expected.y, expected.most[0], of_rows),
        ("dx", &got.dx, &expected.dx, expected.most[1], of_rows),
        ("dgain", &got.dgain, &expected.dgain, expected.most[2], of_parameters),
        ("dbias", &got.dbias, &expected.dbias, expected.most[3], of_parameters),
    ] {
        let is_there = match tensor {
            "dgain" => problem.affine.has_gain(),
            "dbias" => problem.affine.has_bias(),
            _ => true,
        };
        if !is_there {
            continue;
        }
        assert_eq!(got.len(), expected.len(), "{tensor} {what}, {problem:?}");
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let is_right = (got - expected).abs() <= share * most;
            assert!(is_right, "{tensor}[{i}] {what} is {got:e}, expected {expected:e}, {problem:?}");
        }
    }
}

/// 16 units of 2^-24 of the terms, and a place of 16 bits where those are stored.
fn share(dtype: Dtype) -> f64 {
    let unit = 16.0 / f64::from(1 << 24);
    if dtype == Dtype::F32 { unit } else { unit + 2.0 * dtype.unit_roundoff() }
}

fn contexts() -> Vec<Context> {
    let open = |adapter| pollster::block_on(Context::open(adapter)).unwrap();
    pollster::block_on(adapters()).iter().map(open).collect()
}

/// Every norm, cached and streamed, whose rows are columns' or channels': layer, RMS, L2, group, instance and
/// batch norm.
fn problems() -> Vec<(Problem, usize)> {
    let affine = |affine, problem| Problem { affine, ..problem };
    vec![
        (Problem::layer(7), 5),
        (Problem::layer(384), 9),
        (affine(Affine::None, Problem::layer(64)), 3),
        (affine(Affine::ZeroCenteredGainBias, Problem::layer(64)), 6),
        (Problem::layer(20_000), 2),
        (Problem::rms(64), 4),
        (affine(Affine::GainBias, Problem::l2(64)), 3),
        (Problem::group(8, 2, 49), 6),
        (affine(Affine::Gain, Problem::group(12, 3, 64)), 9),
        (affine(Affine::ZeroCenteredGain, Problem::group(3, 3, 20_001)), 3),
        (Problem::batch(5, 4, 16), 5),
    ]
}

#[test]
fn every_norm_comes_out_as_by_hand() {
    for context in contexts() {
        for (problem, rows) in problems() {
            // L2 has another projection: its eps is none, and its mean product a sum.
            let problem = silu(problem);
            let data = Data::<f32>::new(&problem, rows);
            let mut expected = by_hand(&problem, &data);
            let on_cpu = on_cpu(&problem, &data);
            if problem.normalization == Normalization::L2 {
                expected = Results { most: expected.most, ..on_cpu.clone() };
            }
            assert_close("on the CPU", &problem, &on_cpu, &expected, [1e-12; 2]);
            let got = on_device(&context, &problem, &data);
            assert_close(&context.description(), &problem, &got, &expected, [share(Dtype::F32); 2]);
        }
    }
}

#[test]
fn sixteen_bits_are_rounded_once() {
    for context in contexts() {
        for (problem, rows) in [
            (Problem::layer(384), 5),
            (Problem::rms(64), 5),
            (Problem::group(8, 2, 48), 4),
            (Problem::batch(6, 2, 32), 6),
        ] {
            let problem = silu(Problem { dtype: Dtype::F16, ..problem });
            let data = Data::<f16>::new(&problem, rows);
            let got = on_device(&context, &problem, &data);
            let shares = [share(Dtype::F16), share(Dtype::F32)];
            assert_close(&context.description(), &problem, &got, &by_hand(&problem, &data), shares);
        }
    }
}

#[test]
fn rows_that_are_split_come_out_the_same() {
    let context = context().with_row_split(RowSplit::Wide);
    for (problem, rows) in
        [(Problem::layer(20_000), 3), (Problem::group(4, 2, 12_000), 4), (Problem::group(2, 2, 40_004), 2)]
    {
        let problem = silu(problem);
        let data = Data::<f32>::new(&problem, rows);
        let got = on_device(&context, &problem, &data);
        let expected = by_hand(&problem, &data);
        assert_close(&context.description(), &problem, &got, &expected, [share(Dtype::F32); 2]);
    }
}

/// Batch norm in inference: z is made from x and what is given, so that x counts for dx after all.
#[test]
fn statistics_may_be_given() {
    for context in contexts() {
        for (problem, rows) in
            [(Problem::batch(5, 3, 16), 5), (Problem { affine: Affine::None, ..Problem::layer(100) }, 4)]
        {
            let problem = silu(problem);
            let mean = values(7, rows);
            let variance = values(8, rows).into_iter().map(|value| value.abs() + 0.25).collect();
            let data = Data { given: Some([mean, variance]), ..Data::<f32>::new(&problem, rows) };
            let expected = by_hand(&problem, &data);
            assert_close("on the CPU", &problem, &on_cpu(&problem, &data), &expected, [1e-12; 2]);
            let got = on_device(&context, &problem, &data);
            assert_close(&context.description(), &problem, &got, &expected, [share(Dtype::F32); 2]);
        }
    }
}

/// Each gradient against the central difference quotient of `loss = sum(dy * y)`, in float64 on both sides.
#[test]
fn gradients_are_those_of_forward() {
    const STEP: f32 = 1.0 / 4096.0;
    for (problem, rows) in [
        (Problem::layer(6), 2),
        (Problem { affine: Affine::GainBias, ..Problem::rms(5) }, 2),
        (Problem { affine: Affine::GainBias, ..Problem::l2(5) }, 2),
        (Problem::group(4, 2, 3), 4),
        (Problem::group(3, 3, 4), 3),
    ] {
        let problem = silu(Problem { eps: 0.125, ..problem });
        let mut data = Data::<f32>::new(&problem, rows);
        for values in [&mut data.x, &mut data.dy, &mut data.gain, &mut data.bias] {
            values.iter_mut().for_each(|value| *value = (*value / STEP).round() * STEP);
        }
        let loss = |data: &Data<f32>| -> f64 {
            on_cpu(&problem, data).y.iter().zip(&data.dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        let results = on_cpu(&problem, &data);
        let mut check = |what: &str, of: fn(&mut Data<f32>) -> &mut Vec<f32>, got: &[f64]| {
            for (i, got) in got.iter().enumerate() {
                let mut moved = |by: f32| {
                    of(&mut data)[i] += by;
                    let loss = loss(&data);
                    of(&mut data)[i] -= by;
                    loss
                };
                let quotient = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                assert!(
                    (got - quotient).abs() < 3e-6,
                    "{what}[{i}] is {got}, by quotient {quotient}, {problem:?}"
                );
            }
        };
        check("dx", |data| &mut data.x, &results.dx);
        check("dgain", |data| &mut data.gain, &results.dgain);
        check("dbias", |data| &mut data.bias, &results.dbias);
    }
}

/// z of one row, by its biases: xhat is 0.
const BIASES: [f32; 16] = [
    -3.4e38,
    -1e30,
    -1e4,
    -200.0,
    -129.0,
    -105.0,
    -90.0,
    -60.0,
    -1.278_464_5,
    0.0,
    1e-30,
    20.0,
    88.0,
    200.0,
    1e30,
    3.4e38,
];

/// A constant row with these biases: y and dbias of each z.
fn of_biases(context: &Context, biases: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let cols = u32::try_from(biases.len()).unwrap();
    let problem = silu(Problem::layer(cols));
    let (x, gain) = (vec![1.0_f32; biases.len()], vec![1.0_f32; biases.len()]);
    let data = Data { x, dy: dy.to_vec(), gain, bias: biases.to_vec(), given: None };
    let (forward, backward) = data.inputs(&problem);
    let y = context.forward_blocking(&problem, &forward).unwrap().y;
    (y, context.backward_blocking(&problem, &backward).unwrap().dbias.unwrap())
}

#[test]
fn every_z_has_its_value() {
    for context in contexts() {
        let (y, dbias) = of_biases(&context, &BIASES, &[1.0; BIASES.len()]);
        for (z, (y, dbias)) in BIASES.iter().zip(y.iter().zip(&dbias)) {
            let exact = f64::from(*z);
            let e = (-exact.abs()).exp();
            let s = if *z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
            let (of_y, of_slope) = (exact * s, s * (1.0 + exact * (1.0 - s)));
            // WGSL allows exp (3 + 2 |z|) units in the last place.
            let off = (8.0 + 4.0 * exact.abs().min(128.0)) / f64::from(1 << 24);
            let is_close = |got: f32, expected: f64, least: f64| {
                (f64::from(got) - expected).abs() <= off * expected.abs() + least
            };
            let what = context.description();
            // Far below 0, what is smaller than the smallest normal number may be 0, and exp(z) is one first.
            assert!(is_close(*y, of_y, 2e-36), "{what}: silu({z:e}) is {y:e}, expected {of_y:e}");
            assert!(is_close(*dbias, of_slope, 1e-6), "{what}: slope at {z:e} is {dbias:e}, {of_slope:e}");
        }
    }
}

#[test]
fn what_is_not_finite_is_defined() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for context in contexts() {
        let what = context.description();
        let (y, dbias) = of_biases(&context, &[inf, -inf, nan, 1.0, -1.0], &[2.0; 5]);
        assert_eq!((y[0], y[1]), (inf, 0.0), "{what}");
        assert_eq!((dbias[0], dbias[1]), (2.0, 0.0), "{what}");
        assert!(y[2].is_nan() && dbias[2].is_nan(), "{what}: {y:?} {dbias:?}");
        assert!(y[3..].iter().chain(&dbias[3..]).all(|value| value.is_finite()), "{what}: {y:?} {dbias:?}");
        // An infinity of dy, which 0 may be multiplied by.
        let (_, dbias) = of_biases(&context, &[-200.0, 3.0, 1.0], &[inf, -inf, 1.0]);
        assert!(dbias[0].is_nan() && dbias[1].is_nan() && dbias[2].is_finite(), "{what}: {dbias:?}");

        // A NaN of x makes its row NaN, and what sums over it.
        let problem = silu(Problem::group(4, 2, 8));
        let mut data = Data::<f32>::new(&problem, 4);
        data.x[17] = nan;
        let (expected, got) = (on_cpu(&problem, &data), on_device(&context, &problem, &data));
        for (got, expected) in [
            (&got.y, &expected.y),
            (&got.dx, &expected.dx),
            (&got.dgain, &expected.dgain),
            (&got.dbias, &expected.dbias),
        ] {
            let nans = |values: &[f64]| values.iter().map(|value| value.is_nan()).collect::<Vec<_>>();
            assert_eq!(nans(got), nans(expected), "{what}");
        }
        assert!(got.dbias[0].is_finite() && got.dbias[2].is_nan());
    }
}

/// y over x, dx over x and over dy: the bits of separate buffers. And all in one buffer.
#[test]
fn calls_may_be_in_place_and_pooled() {
    let context = context();
    let descriptor =
        LayerNormDescriptor { activation: Activation::Silu, ..LayerNormDescriptor::group(8, 2, 48) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let (rows, cols) = (6_u64, 192);
    let count = 6 * cols;
    let data = Data::<f32>::new(norm.problem(), 6);
    let at = |values: &[f32]| buffer(&context, values);
    let (gain, bias, saved) = (at(&data.gain), at(&data.bias), at(&[0.0; 12]));
    let (x, dy, y, dx) = (at(&data.x), at(&data.dy), at(&vec![0.0; count]), at(&vec![0.0; count]));
    let (dgain, dbias) = (at(&[0.0; 8]), at(&[0.0; 8]));
    let forward = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        statistics: Some((&saved).into()),
        ..ForwardBuffers::new(rows, &x, &y)
    };
    let backward = BackwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(rows, &x, &dy, &saved)
    };
    let calls = [norm.prepare_forward(&forward).unwrap(), norm.prepare_backward(&backward).unwrap()];
    let apart = run(&context, &calls.each_ref(), &[&y, &dx, &dgain, &dbias]);

    let own_x = at(&data.x);
    let in_place =
        ForwardBuffers { y: Some((&own_x).into()), ..ForwardBuffers { x: (&own_x).into(), ..forward } };
    let got = run(&context, &[&norm.prepare_forward(&in_place).unwrap()], &[&own_x]);
    assert_eq!(got[0], apart[0], "y over x");
    for (what, is_x) in [("dx over x", true), ("dx over dy", false)] {
        let own = at(if is_x { &data.x } else { &data.dy });
        let call = BackwardBuffers { dx: Some((&own).into()), ..backward };
        let call = if is_x {
            BackwardBuffers { x: (&own).into(), ..call }
        } else {
            BackwardBuffers { dy: (&own).into(), ..call }
        };
        let got = run(&context, &[&norm.prepare_backward(&call).unwrap()], &[&own, &dgain, &dbias]);
        assert_eq!(got[..], apart[1..], "{what}");
    }

    // From multiples of 256 bytes on: x, dy, dx, gain, bias, dgain, dbias.
    let mut pool = vec![0.0; 3 * count + 4 * 64];
    let [of_x, of_dy, of_dx] = [0, count, 2 * count];
    let of_parameters = [0, 1, 2, 3].map(|i| 3 * count + 64 * i);
    pool[of_x..][..count].copy_from_slice(&data.x);
    pool[of_dy..][..count].copy_from_slice(&data.dy);
    pool[of_parameters[0]..][..8].copy_from_slice(&data.gain);
    pool[of_parameters[1]..][..8].copy_from_slice(&data.bias);
    let pool = at(&pool);
    let rows_at = |at: usize| BufferRows::at_element(&pool, at as u64);
    let vector_at = |at: usize| Some(wgpu_layernorm::BufferVector::at_element(&pool, at as u64));
    let [gain, bias, dgain, dbias] = of_parameters.map(vector_at);
    let pooled = BackwardBuffers {
        x: rows_at(of_x),
        dy: rows_at(of_dy),
        dx: Some(rows_at(of_dx)),
        gain,
        bias,
        dgain,
        dbias,
        ..backward
    };
    let got = run(&context, &[&norm.prepare_backward(&pooled).unwrap()], &[&pool]);
    assert_eq!(got[0][of_dx..][..count], apart[1], "dx in a pool");
    assert_eq!(got[0][of_parameters[2]..][..8], apart[2], "dgain in a pool");
    assert_eq!(got[0][of_parameters[3]..][..8], apart[3], "dbias in a pool");
}

#[test]
fn what_was_warmed_compiles_no_more() {
    let context = context();
    let wanted = Some(Gradient::Overwrite);
    let descriptor =
        LayerNormDescriptor { activation: Activation::Silu, ..LayerNormDescriptor::group(4, 2, 64) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let forward = [Forward { statistics: true, ..Forward::default() }];
    let backward = [Backward { dx: wanted, dgain: wanted, dbias: wanted, ..Backward::default() }];
    norm.warm(&WarmOptions { forward: &forward, backward: &backward, ..WarmOptions::default() }).unwrap();
    let before = context.kernels().pipelines();
    let all = buffer(&context, &[0.0; 256]);
    let other = [0; 6].map(|_| buffer(&context, &[0.0; 256]));
    let [y, saved, dy, dx, dgain, dbias] = &other;
    let parameters = (Some((&all).into()), Some((&all).into()));
    let call = ForwardBuffers {
        gain: parameters.0,
        bias: parameters.1,
        statistics: Some(saved.into()),
        ..ForwardBuffers::new(2, &all, y)
    };
    norm.prepare_forward(&call).unwrap();
    let call = BackwardBuffers {
        gain: parameters.0,
        bias: parameters.1,
        dx: Some(dx.into()),
        dgain: Some(dgain.into()),
        dbias: Some(dbias.into()),
        ..BackwardBuffers::new(2, &all, dy, saved)
    };
    norm.prepare_backward(&call).unwrap();
    assert_eq!(context.kernels().pipelines(), before);
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    let problem = silu(Problem { affine: Affine::None, ..Problem::layer(4) });
    let (x, gains) = ([1.0_f32; 8], [1.0_f32; 2]);
    let rows = Rows { data: &x[..], stride: 4 };
    let inputs = ForwardInputs::<f32, f32> { row_gain: Some(&gains), ..ForwardInputs::new(2, rows) };
    let mut y = [0.0; 8];
    let outputs = ForwardOutputs::<f32, _>::new(RowsMut { data: &mut y[..], stride: 4 });
    let on_cpu = reference::forward(&problem, &inputs, outputs).unwrap_err();
    let why =
        "buffer row_gain was given but is not used: rows have a gain each with `Activation::None` alone";
    assert_eq!(on_cpu.to_string(), why);
    let context = context();
    let on_device = context.forward_blocking(&problem, &inputs).unwrap_err();
    assert_eq!(on_device.to_string(), why);
    let plan = wgpu_layernorm::plan::Plan::forward(
        &problem,
        Forward { row_gain: true, ..Forward::default() },
        4,
        &context.caps(),
    );
    let said = plan.unwrap_err().to_string();
    assert_eq!(said, "activation is silu, needs to be none where rows have a gain each");

    // The bias of backward, where it is missing and where nothing depends on it.
    let problem = Problem::layer(4);
    let parameters = [1.0_f32; 4];
    let backward = |problem: &Problem, bias: Option<&[f32]>| {
        let inputs =
            BackwardInputs { gain: Some(&parameters[..]), bias, ..BackwardInputs::new(2, rows, rows) };
        let outputs = BackwardOutputs::<f64, f64>::default();
        let on_cpu = reference::backward(problem, &inputs, outputs).unwrap_err().to_string();
        let on_device = context.backward_blocking(problem, &inputs).unwrap_err();
        assert!(matches!(on_device, Error::MissingBuffer { .. } | Error::UnusedBuffer { .. }), "{on_device}");
        assert_eq!(on_device.to_string(), on_cpu);
        on_cpu
    };
    let missing =
        "buffer bias is missing: `affine` has a bias, and the gradient of the activation depends on it";
    assert_eq!(backward(&silu(problem), None), missing);
    let unused = "buffer bias was given but is not used: no gradient depends on it without an activation";
    assert_eq!(backward(&problem, Some(&parameters)), unused);
    let unused = "buffer bias was given but is not used: `affine` has no bias";
    assert_eq!(backward(&silu(Problem { affine: Affine::Gain, ..problem }), Some(&parameters)), unused);
}

/// Splitting rows is an optimization: what it takes a binding too many for is computed without.
#[test]
fn rows_that_would_take_nine_bindings_are_not_split_on_a_device_with_eight() {
    let context = context_with(|limits| limits.max_storage_buffers_per_shader_stage = 8);
    let (activation, row_split) = (Activation::Silu, RowSplit::Wide);
    let descriptor = LayerNormDescriptor { activation, row_split, ..LayerNormDescriptor::layer(40_000) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let [x, dy, dsum, gain, bias, dx, dgain, dbias] = [0; 8].map(|_| buffer(&context, &vec![0.0; 40_000]));
    let saved = buffer(&context, &[0.0; 2]);
    let without_dsum = BackwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(1, &x, &dy, &saved)
    };
    let first = |buffers| norm.plan_backward(buffers).unwrap()[0].kernel;
    assert_eq!(first(&without_dsum), Kernel::BackwardSplitSums);
    let with_dsum = BackwardBuffers { dsum: Some((&dsum).into()), ..without_dsum };
    assert_eq!(first(&with_dsum), Kernel::BackwardStreamed);
    norm.prepare_backward(&with_dsum).unwrap();
}
