//! Backward from y in place of x: against formulas of its own, difference quotients, and the gradients from
//! x; gains that are too small for it; rstd alone, in place, fewer rows, and wrong calls.

mod support;

use half::{bf16, f16};
use support::{buffer, context, mixed_values as values, recorded, run, wide};
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Activation, Affine, BackwardBuffers, BackwardResult, BufferRows, BufferStatistics, BufferVector,
    Channels, Context, Dtype, Element, Gradient, LEAST_GAIN, LayerNorm, LayerNormDescriptor, Normalization,
    Problem, RowOrder, Rows, RowsMut, wgpu,
};

/// Rows of each kernel, and of each way in which gain and bias lie.
fn problems() -> Vec<Problem> {
    let plain = |cols| Problem::layer(cols);
    let rms = |cols| Problem { affine: Affine::GainBias, ..Problem::rms(cols) };
    vec![
        plain(37),
        plain(1),
        plain(9000),
        Problem { affine: Affine::None, ..plain(384) },
        Problem { affine: Affine::ZeroCenteredGainBias, ..plain(64) },
        rms(200),
        Problem::rms(12_345),
        Problem { affine: Affine::ZeroCenteredGain, ..Problem::rms(128) },
        Problem::l2(48),
        Problem { affine: Affine::GainBias, ..Problem::l2(200) },
        Problem::group(12, 4, 10),
        Problem::group(8, 2, 4096),
        Problem::group(6, 6, 50),
        Problem::group(6, 6, 9000),
        Problem::batch(4, 3, 20),
        Problem { channels: Some(Channels::of_heads(4, 64)), ..plain(64) },
        Problem {
            channels: Some(Channels::of_samples(2, 40)),
            affine: Affine::ZeroCenteredGainBias,
            ..plain(40)
        },
    ]
}

/// Of a type, with gain and bias in float32.
fn stored(problem: Problem, dtype: Dtype) -> Problem {
    Problem { dtype, ..problem }
}

const ROWS: usize = 12;

/// What calls read, and what forward makes of it.
struct Data<T> {
    x: Vec<T>,
    y: Vec<T>,
    dy: Vec<T>,
    gain: Vec<f32>,
    bias: Vec<f32>,
    rstd: Vec<f32>,
}

impl<T: Element> Data<T> {
    /// By a device.
    fn new(context: &Context, problem: &Problem) -> Self {
        let count = ROWS * problem.cols as usize;
        let of = |seed| values(seed, count).into_iter().map(|value| T::from_f64(value.into())).collect();
        let parameters = problem.parameters() as usize;
        // Of both signs, and none near 0.
        let offset = if problem.affine.is_zero_centered() { -1.0 } else { 0.0 };
        let gain = values(3, parameters).into_iter().map(|v| offset + v + 0.25_f32.copysign(v)).collect();
        let mut data =
            Self { x: of(1), y: of(1), dy: of(2), gain, bias: values(4, parameters), rstd: Vec::new() };
        let inputs = ForwardInputs {
            gain: problem.affine.has_gain().then_some(&data.gain[..]),
            bias: problem.affine.has_bias().then_some(&data.bias[..]),
            ..ForwardInputs::new(ROWS, dense(problem, &data.x))
        };
        let result = context.forward_blocking(problem, &inputs).unwrap();
        data.rstd = result.statistics.iter().map(|statistics| statistics.rstd).collect();
        data.y = result.y;
        data
    }

    fn inputs_from_y(&self, problem: &Problem) -> BackwardInputs<'_, T, f32> {
        BackwardInputs {
            gain: problem.affine.has_gain().then_some(&self.gain[..]),
            bias: problem.affine.has_bias().then_some(&self.bias[..]),
            ..BackwardInputs::from_y(ROWS, dense(problem, &self.y), dense(problem, &self.dy), &self.rstd)
        }
    }

    fn inputs_from_x(&self, problem: &Problem) -> BackwardInputs<'_, T, f32> {
        BackwardInputs {
            gain: problem.affine.has_gain().then_some(&self.gain[..]),
            ..BackwardInputs::new(ROWS, dense(problem, &self.x), dense(problem, &self.dy))
        }
    }

    fn gain_of(&self, problem: &Problem, row: usize, column: usize) -> f64 {
        match (problem.affine.has_gain(), problem.affine.is_zero_centered()) {
            (false, _) => 1.0,
            (true, false) => self.gain[parameter(problem, row, column)].into(),
            (true, true) => (1.0 + self.gain[parameter(problem, row, column)]).into(),
        }
    }

    fn bias_of(&self, problem: &Problem, row: usize, column: usize) -> f64 {
        if problem.affine.has_bias() { self.bias[parameter(problem, row, column)].into() } else { 0.0 }
    }
}

fn dense<'a, T>(problem: &Problem, data: &'a [T]) -> Rows<'a, T> {
    Rows { data, stride: problem.cols as usize }
}

fn parameter(problem: &Problem, row: usize, column: usize) -> usize {
    let Some(channels) = problem.channels else { return column };
    let groups = channels.groups as usize;
    let group = if channels.order == RowOrder::Blocked { row / (ROWS / groups) } else { row % groups };
    group * (channels.count / channels.groups) as usize + column / channels.spatial as usize
}

/// Gradients, the sizes of what each is made of, and how far they may be from those of x.
struct Expected {
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
    /// Of dx, element by element; of dgain and dbias for all.
    terms: Vec<f64>,
    most: [f64; 2],
    off_dx: Vec<f64>,
    off_dgain: Vec<f64>,
}

/// By formulas of its own, from y and rstd.
fn by_hand<T: Element>(problem: &Problem, data: &Data<T>, least_gain: f64) -> Expected {
    let (cols, parameters) = (problem.cols as usize, problem.parameters() as usize);
    let (is_layer, is_l2) =
        (problem.normalization == Normalization::Layer, problem.normalization == Normalization::L2);
    let mut all = Expected {
        dx: Vec::new(),
        dgain: vec![0.0; parameters],
        dbias: vec![0.0; parameters],
        terms: Vec::new(),
        most: [0.0; 2],
        off_dx: Vec::new(),
        off_dgain: vec![0.0; parameters],
    };
    let mut sizes = [vec![0.0; parameters], vec![0.0; parameters]];
    let unit = Dtype::F32.unit_roundoff();
    for row in 0..ROWS {
        let at = |column: usize| row * cols + column;
        let rstd = f64::from(data.rstd[row]);
        let (mut xhat, mut dxhat) = (vec![0.0; cols], vec![0.0; cols]);
        let mut most_y = 0.0_f64;
        for column in 0..cols {
            let (gain, bias) = (data.gain_of(problem, row, column), data.bias_of(problem, row, column));
            let y = data.y[at(column)].to_f64();
            if gain.abs() >= least_gain && !(is_layer && cols == 1) {
                xhat[column] = (y - bias) / gain;
            }
            let dy = data.dy[at(column)].to_f64();
            dxhat[column] = dy * gain;
            most_y = most_y.max((gain * xhat[column]).abs() + bias.abs());
            let place = parameter(problem, row, column);
            all.dgain[place] += dy * xhat[column];
            all.dbias[place] += dy;
            sizes[0][place] += (dy * xhat[column]).abs();
            sizes[1][place] += dy.abs();
        }
        // What forward's rounding of y, and its arithmetic, leave of xhat.
        let off: Vec<f64> = (0..cols)
            .map(|column| {
                let y = data.y[at(column)].to_f64();
                let of_y = y.abs() * T::DTYPE.unit_roundoff() + 4.0 * unit * most_y;
                of_y / data.gain_of(problem, row, column).abs()
            })
            .collect();
        let count = if is_l2 { 1.0 } else { cols as f64 };
        let m1 = if is_layer { dxhat.iter().sum::<f64>() / cols as f64 } else { 0.0 };
        let m2 = dxhat.iter().zip(&xhat).map(|(a, b)| a * b).sum::<f64>() / count;
        let off_m2 = dxhat.iter().zip(&off).map(|(a, b)| (a * b).abs()).sum::<f64>() / count;
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let terms = rstd * (largest(&dxhat) + m1.abs() + largest(&xhat) * m2.abs());
        for column in 0..cols {
            all.dx.push(rstd * (dxhat[column] - m1 - xhat[column] * m2));
            all.terms.push(terms);
            all.off_dx.push(rstd * (off[column] * (m2.abs() + off_m2) + xhat[column].abs() * off_m2));
            all.off_dgain[parameter(problem, row, column)] +=
                data.dy[at(column)].to_f64().abs() * off[column];
        }
    }
    all.most = sizes.map(|sizes| sizes.into_iter().fold(0.0, f64::max));
    all
}

/// What a result may be off beside its terms: in 16 bits one unit in the last place.
fn last_place<T: Element>(value: f64) -> f64 {
    if T::DTYPE == Dtype::F32 { 0.0 } else { 2.0 * T::DTYPE.unit_roundoff() * value.abs().max(1e-7) }
}

fn assert_within(what: &str, got: &[f64], expected: &[f64], allowed: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs();
        assert!(off <= allowed(i), "{what}[{i}] is {got}, expected {expected}: {off:e} of {:e}", allowed(i));
    }
}

const FOUR_UNITS: f64 = 4.0 / 16_777_216.0;

fn check_of<T: Element>(context: &Context) {
    for problem in problems() {
        let problem = stored(problem, T::DTYPE);
        let data = Data::<T>::new(context, &problem);
        let expected = by_hand(&problem, &data, LEAST_GAIN.into());
        let what = format!("{problem:?}");
        let from_y = context.backward_blocking(&problem, &data.inputs_from_y(&problem)).unwrap();
        let [dgain, dbias] = [&from_y.dgain, &from_y.dbias].map(|gradient| gradient.as_deref().map(wide));
        let dx = wide(&from_y.dx);
        assert_within(&format!("dx of {what}"), &dx, &expected.dx, |i| {
            FOUR_UNITS * expected.terms[i] + last_place::<T>(expected.dx[i])
        });
        if let Some(dgain) = &dgain {
            let allowed = FOUR_UNITS * expected.most[0];
            assert_within(&format!("dgain of {what}"), dgain, &expected.dgain, |_| allowed);
        }
        if let Some(dbias) = &dbias {
            let allowed = FOUR_UNITS * expected.most[1];
            assert_within(&format!("dbias of {what}"), dbias, &expected.dbias, |_| allowed);
        }

        let mut on_host = Gradients::new(&problem);
        on_host.by_reference(&problem, &data.inputs_from_y(&problem));
        let exactly = |values: &[f64], i: usize| 1e-12 * values[i].abs().max(1.0);
        assert_within(&format!("reference's dx of {what}"), &on_host.dx, &expected.dx, |i| {
            exactly(&expected.terms, i)
        });
        if problem.affine.has_gain() {
            let allowed = 1e-12 * expected.most[0].max(1.0);
            assert_within(&format!("reference's dgain of {what}"), &on_host.dgain, &expected.dgain, |_| {
                allowed
            });
        }

        // Against those from x: twice what either is off, and what is lost of xhat.
        let from_x = context.backward_blocking(&problem, &data.inputs_from_x(&problem)).unwrap();
        assert_within(&format!("dx of {what} beside that from x"), &dx, &wide(&from_x.dx), |i| {
            2.0 * (FOUR_UNITS * expected.terms[i] + last_place::<T>(expected.dx[i])) + expected.off_dx[i]
        });
        if let (Some(dgain), Some(of_x)) = (&dgain, from_x.dgain.as_deref().map(wide)) {
            let terms = 2.0 * FOUR_UNITS * expected.most[0];
            assert_within(&format!("dgain of {what} beside that from x"), dgain, &of_x, |i| {
                terms + expected.off_dgain[i]
            });
        }
        assert_eq!(from_y.dbias, from_x.dbias, "{what}: it does not depend on xhat");
    }
}

/// Not rounded.
struct Gradients {
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

impl Gradients {
    fn new(problem: &Problem) -> Self {
        let parameters = problem.parameters() as usize;
        let dx = vec![0.0; ROWS * problem.cols as usize];
        Self { dx, dgain: vec![0.0; parameters], dbias: vec![0.0; parameters] }
    }

    fn by_reference<T: Element>(&mut self, problem: &Problem, inputs: &BackwardInputs<'_, T, f32>) {
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut self.dx, stride: problem.cols as usize }),
            dgain: problem.affine.has_gain().then_some(&mut self.dgain[..]),
            dbias: problem.affine.has_bias().then_some(&mut self.dbias[..]),
            ..BackwardOutputs::default()
        };
        reference::backward(problem, inputs, outputs).unwrap();
    }
}

#[test]
fn gradients_of_f32_are_those_of_the_formulas_and_of_x() {
    check_of::<f32>(&context());
}

#[test]
fn gradients_of_f16_are_those_of_the_formulas_and_of_x() {
    check_of::<f16>(&context());
}

#[test]
fn gradients_of_bf16_are_those_of_the_formulas_and_of_x() {
    check_of::<bf16>(&context());
}

/// Of `sum(dy * y)`, by x and by gain.
#[test]
fn gradients_are_difference_quotients() {
    let context = context();
    for problem in problems().into_iter().filter(|problem| problem.cols < 100 && problem.cols > 1) {
        let data = Data::<f32>::new(&context, &problem);
        let mut gradients = Gradients::new(&problem);
        gradients.by_reference(&problem, &data.inputs_from_y(&problem));
        let loss = |x: &[f32], gain: &[f32]| -> f64 {
            let mut y = vec![0.0_f64; x.len()];
            let inputs = ForwardInputs {
                gain: problem.affine.has_gain().then_some(gain),
                bias: problem.affine.has_bias().then_some(&data.bias[..]),
                ..ForwardInputs::new(ROWS, dense(&problem, x))
            };
            let stride = problem.cols as usize;
            let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride });
            reference::forward(&problem, &inputs, outputs).unwrap();
            y.iter().zip(&data.dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        // Exact in float32 beside values of at most 4.
        let h = 0.003_906_25_f32;
        for i in (0..data.x.len()).step_by(7) {
            let moved = |h: f32| {
                let mut x = data.x.clone();
                x[i] += h;
                (loss(&x, &data.gain), f64::from(x[i]))
            };
            let ((up, above), (down, below)) = (moved(h), moved(-h));
            let quotient = (up - down) / (above - below);
            let off = (quotient - gradients.dx[i]).abs();
            assert!(off < 2e-3, "dx[{i}] of {problem:?}: {quotient} and {}", gradients.dx[i]);
        }
        if !problem.affine.has_gain() {
            continue;
        }
        for i in 0..data.gain.len() {
            let moved = |h: f32| {
                let mut gain = data.gain.clone();
                gain[i] += h;
                (loss(&data.x, &gain), f64::from(gain[i]))
            };
            let ((up, above), (down, below)) = (moved(h), moved(-h));
            let quotient = (up - down) / (above - below);
            let off = (quotient - gradients.dgain[i]).abs();
            assert!(off < 1e-4, "dgain[{i}] of {problem:?}: {quotient} and {}", gradients.dgain[i]);
        }
    }
}

/// In those columns xhat counts as 0, and they are counted.
#[test]
fn columns_of_small_gains_are_counted_and_have_no_xhat() {
    let context = context();
    for cols in [24, 384, 9000] {
        for affine in [Affine::Gain, Affine::GainBias, Affine::ZeroCenteredGainBias] {
            let problem = Problem { affine, ..Problem::layer(cols) };
            let mut data = Data::<f32>::new(&context, &problem);
            let offset = if affine.is_zero_centered() { -1.0 } else { 0.0 };
            let small = [0.0, 0.003, -0.003, 1e-30, 0.5 * LEAST_GAIN];
            for (i, small) in small.into_iter().enumerate() {
                data.gain[3 + 2 * i] = offset + small;
            }
            // The least itself is enough.
            data.gain[1] = offset + LEAST_GAIN;
            let expected = by_hand(&problem, &data, LEAST_GAIN.into());
            let inputs = data.inputs_from_y(&problem);
            let BackwardResult { dx, dgain, clamped, .. } =
                context.backward_blocking(&problem, &inputs).unwrap();
            assert_eq!(clamped, Some(5), "{problem:?}");
            let dgain = wide(&dgain.unwrap());
            (0..5).for_each(|i| assert_eq!(dgain[3 + 2 * i], 0.0, "{problem:?}"));
            assert_within("dx", &wide(&dx), &expected.dx, |i| FOUR_UNITS * expected.terms[i]);
            let allowed = FOUR_UNITS * expected.most[0];
            assert_within("dgain", &dgain, &expected.dgain, |_| allowed);
            let mut on_host = Gradients::new(&problem);
            on_host.by_reference(&problem, &inputs);
            assert_within("reference's dgain", &on_host.dgain, &expected.dgain, |_| 1e-9);

            let pipelines = context.kernels().pipelines();
            let lower = BackwardInputs { least_gain: 0.002, ..inputs };
            let result = context.backward_blocking(&problem, &lower).unwrap();
            assert_eq!(result.clamped, Some(3), "0, 1e-30 and half the usual least of {problem:?}");
            assert_eq!(context.kernels().pipelines(), pipelines, "it is a number of the call");
        }
    }
}

/// y of any bits gives finite gradients where it is finite, and NaN in its own row where it is not.
#[test]
fn a_y_that_forward_has_not_made_harms_no_other_row() {
    let context = context();
    for problem in [Problem::layer(64), Problem::rms(64), Problem::layer(9000)] {
        let mut data = Data::<f32>::new(&context, &problem);
        let cols = problem.cols as usize;
        let sound = context.backward_blocking(&problem, &data.inputs_from_y(&problem)).unwrap();
        data.y[3 * cols + 5] = f32::MAX;
        data.y[4 * cols] = f32::NAN;
        data.y[6 * cols + 7] = f32::INFINITY;
        let mut bias_and_gain = data.bias.clone();
        bias_and_gain[5] = -f32::MAX;
        let result = context.backward_blocking(&problem, &data.inputs_from_y(&problem)).unwrap();
        for row in 0..ROWS {
            let of_row = &result.dx[row * cols..][..cols];
            match row {
                3 => assert!(of_row.iter().all(|dx| dx.is_finite()), "{problem:?}"),
                4 | 6 => assert!(of_row.iter().all(|dx| dx.is_nan()), "row {row} of {problem:?}: {of_row:?}"),
                _ => assert_eq!(of_row, &sound.dx[row * cols..][..cols], "row {row} of {problem:?}"),
            }
        }
        if problem.affine.has_bias() {
            data.bias = bias_and_gain;
            let result = context.backward_blocking(&problem, &data.inputs_from_y(&problem)).unwrap();
            let of_row = &result.dx[3 * cols..][..cols];
            assert!(of_row.iter().all(|dx| dx.is_finite()), "y - bias exceeds float32 in {problem:?}");
        }
    }
}

struct OnDevice {
    norm: LayerNorm,
    y: wgpu::Buffer,
    dy: wgpu::Buffer,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    rstd: wgpu::Buffer,
    both: wgpu::Buffer,
    dx: wgpu::Buffer,
    dgain: wgpu::Buffer,
    dbias: wgpu::Buffer,
    clamped: wgpu::Buffer,
}

impl OnDevice {
    fn new(context: &Context, cols: u32) -> Self {
        let descriptor = LayerNormDescriptor { cols, ..LayerNormDescriptor::default() };
        let data = Data::<f32>::new(context, &descriptor.problem());
        let nothing = |count: usize| buffer(context, &vec![7.0; count]);
        let with_means: Vec<f32> = data.rstd.iter().flat_map(|rstd| [f32::NAN, *rstd]).collect();
        Self {
            norm: LayerNorm::new(context.kernels(), &descriptor).unwrap(),
            y: buffer(context, &data.y),
            dy: buffer(context, &data.dy),
            gain: buffer(context, &data.gain),
            bias: buffer(context, &data.bias),
            rstd: buffer(context, &data.rstd),
            both: buffer(context, &with_means),
            dx: nothing(data.y.len()),
            dgain: nothing(cols as usize),
            dbias: nothing(cols as usize),
            clamped: nothing(1),
        }
    }

    fn buffers(&self) -> BackwardBuffers<'_> {
        let rstd = BufferStatistics::rstd(&self.rstd);
        BackwardBuffers {
            gain: Some((&self.gain).into()),
            bias: Some((&self.bias).into()),
            dx: Some((&self.dx).into()),
            dgain: Some((&self.dgain).into()),
            dbias: Some((&self.dbias).into()),
            ..BackwardBuffers::from_y(ROWS as u64, &self.y, &self.dy, rstd)
        }
    }
}

#[test]
fn places_of_y_and_rstd_change_no_bits() {
    let context = context();
    for cols in [64, 37, 9000] {
        let on = OnDevice::new(&context, cols);
        let outputs = [&on.dx, &on.dgain, &on.dbias];
        let bits = |buffers: &BackwardBuffers<'_>, dx: &wgpu::Buffer| {
            let call = on.norm.prepare_backward(buffers).unwrap();
            run(&context, &[&call], &[dx, outputs[1], outputs[2]])
        };
        let plain = bits(&on.buffers(), &on.dx);
        // The mean, NaN here, is not read.
        let with_means = BackwardBuffers { statistics: (&on.both).into(), ..on.buffers() };
        assert_eq!(bits(&with_means, &on.dx), plain, "{cols} columns with means");

        // A slice of fewer rows, from the same prepared call, is a call of as many.
        let call = on.norm.prepare_backward(&on.buffers()).unwrap();
        let few = OnDevice::new(&context, cols);
        let buffers = BackwardBuffers { rows: 5, ..few.buffers() };
        let of_five = few.norm.prepare_backward(&buffers).unwrap();
        let expected = run(&context, &[&of_five], &[&few.dx, &few.dgain, &few.dbias]);
        let commands = recorded(&context, |pass| call.record_rows(pass, 5).unwrap());
        context.queue().submit([commands]);
        let got = run(&context, &[], &outputs);
        assert_eq!(got[1..], expected[1..], "{cols} columns, 5 of {ROWS} rows");
        let count = 5 * cols as usize;
        assert_eq!(got[0][..count], expected[0][..count], "{cols} columns, 5 of {ROWS} rows");

        // Accumulated over what was there.
        let twice = BackwardBuffers {
            dx_gradient: Gradient::Accumulate,
            parameter_gradient: Gradient::Accumulate,
            ..on.buffers()
        };
        bits(&on.buffers(), &on.dx);
        let doubled = bits(&twice, &on.dx);
        for (once, doubled) in plain.iter().flatten().zip(doubled.iter().flatten()) {
            assert_eq!(2.0 * f32::from_bits(*once), f32::from_bits(*doubled));
        }

        // In place: over dy, and then, with fresh tensors, over y.
        for over_y in [false, true] {
            let on = OnDevice::new(&context, cols);
            let dx: BufferRows<'_> = if over_y { (&on.y).into() } else { (&on.dy).into() };
            let call = on.norm.prepare_backward(&BackwardBuffers { dx: Some(dx), ..on.buffers() }).unwrap();
            let there = if over_y { &on.y } else { &on.dy };
            let got = run(&context, &[&call], &[there, &on.dgain, &on.dbias]);
            assert_eq!(got, plain, "{cols} columns in place, over y: {over_y}");
        }

        // The count beside it.
        let counted = BackwardBuffers { clamped: Some((&on.clamped).into()), ..on.buffers() };
        assert_eq!(bits(&counted, &on.dx), plain, "{cols} columns, counted");
        assert_eq!(run(&context, &[], &[&on.clamped])[0], [0], "none is too small");
    }
}

#[test]
fn traffic_is_that_of_x() {
    let on = OnDevice::new(&context(), 64);
    let plans = on.norm.plan_backward(&on.buffers()).unwrap();
    let from_x = BackwardBuffers { bias: None, y: None, statistics: (&on.both).into(), ..on.buffers() };
    let of_x = on.norm.plan_backward(&from_x).unwrap();
    let bytes = |plan: &wgpu_layernorm::plan::Plan| {
        let dispatches = plan.dispatches(ROWS as u64, &[], on.norm.caps()).unwrap();
        plan.traffic(&dispatches)
    };
    assert_eq!(plans.len(), of_x.len());
    assert_eq!(bytes(&plans[0]).read, bytes(&of_x[0]).read + 4 * 64, "the bias");
    assert_eq!(bytes(&plans[0]).written, bytes(&of_x[0]).written);
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let context = context();
    let on = OnDevice::new(&context, 64);
    let of_buffers =
        |buffers: &BackwardBuffers<'_>| on.norm.prepare_backward(buffers).unwrap_err().to_string();
    let plain = on.buffers();
    let count = Some(BufferVector::from(&on.clamped));
    for (buffers, expected) in [
        (
            BackwardBuffers { bias: None, ..plain },
            "buffer bias is missing: `affine` has a bias, and xhat is made from y without it",
        ),
        (
            BackwardBuffers { y: None, bias: None, ..plain },
            "buffer mean is missing: statistics have rstd alone, which is enough in backward from y alone",
        ),
        (
            BackwardBuffers { y: None, statistics: (&on.both).into(), ..plain },
            "buffer bias was given but is not used: no gradient depends on it without an activation",
        ),
        (
            BackwardBuffers { y: None, bias: None, statistics: (&on.both).into(), clamped: count, ..plain },
            "buffer clamped was given but is not used: gains are only counted where y is given in place of x",
        ),
        (
            BackwardBuffers { dx: None, clamped: count, ..plain },
            "buffer clamped was given but is not used: gains are counted on the way to dx, which is not asked for",
        ),
        (
            BackwardBuffers { dsum: Some((&on.dy).into()), clamped: count, ..plain },
            "buffer clamped was given but is not used: beside dsum it would take a binding more than every device has",
        ),
        (
            BackwardBuffers { least_gain: 0.0, ..plain },
            "least_gain is 0, needs to be 2^-126 or more, and finite",
        ),
    ] {
        assert_said(&of_buffers(&buffers), expected);
    }
    let norm_of = |problem: Problem| {
        let Problem { cols, activation, affine, channels, .. } = problem;
        let descriptor =
            LayerNormDescriptor { cols, activation, affine, channels, ..LayerNormDescriptor::default() };
        LayerNorm::new(context.kernels(), &descriptor).unwrap()
    };
    let silu = norm_of(Problem { activation: Activation::Silu, ..Problem::layer(64) });
    assert_said(
        &silu.prepare_backward(&plain).unwrap_err().to_string(),
        "activation is silu, needs to be none where backward is from y, which does not tell what the activation was \
         applied to",
    );
    let heads = norm_of(Problem { channels: Some(Channels::of_heads(2, 64)), ..Problem::layer(64) });
    assert_said(
        &heads.prepare_backward(&BackwardBuffers { clamped: count, ..plain }).unwrap_err().to_string(),
        "clamped is true, needs to be false where gain has no value for each column",
    );
    let none = norm_of(Problem { affine: Affine::None, ..Problem::layer(64) });
    let of_rows =
        BackwardBuffers { gain: None, bias: None, dgain: None, dbias: None, row_gain: count, ..plain };
    assert_said(
        &none.prepare_backward(&of_rows).unwrap_err().to_string(),
        "buffer row_gain was given but is not used: y is given in place of x, and rows that have a gain each need x",
    );

    let given = BackwardBuffers { row_gain: None, given_statistics: true, ..of_rows };
    assert_said(
        &none.prepare_backward(&given).unwrap_err().to_string(),
        "given_statistics is true, needs to be false where backward is from y: it needs the statistics of the rows \
         themselves",
    );

    let problem = Problem::layer(64);
    let data = Data::<f32>::new(&context, &problem);
    let inputs = data.inputs_from_y(&problem);
    let on_host = |inputs: &BackwardInputs<'_, f32, f32>| {
        let mut dx = vec![0.0_f32; data.y.len()];
        let outputs = BackwardOutputs::<_, f32> {
            dx: Some(RowsMut { data: &mut dx, stride: 64 }),
            ..BackwardOutputs::default()
        };
        let by_reference = reference::backward(&problem, inputs, outputs).unwrap_err().to_string();
        let by_device = context.backward_blocking(&problem, inputs).unwrap_err().to_string();
        assert_eq!(by_reference, by_device);
        by_reference
    };
    for (inputs, expected) in [
        (
            BackwardInputs { rstd: None, ..inputs },
            "buffer rstd is missing: y is given in place of x, and does not tell it",
        ),
        (
            BackwardInputs { y: None, ..inputs },
            "buffer y is missing: rstd is given, which goes with y in place of x",
        ),
        (BackwardInputs { rstd: Some(&data.rstd[..5]), ..inputs }, "buffer rstd has 5 elements, needs 12"),
        (
            BackwardInputs { least_gain: f32::NAN, ..inputs },
            "least_gain is NaN, needs to be 2^-126 or more, and finite",
        ),
    ] {
        assert_said(&on_host(&inputs), expected);
    }
}

fn assert_said(said: &str, expected: &str) {
    assert!(said.ends_with(expected), "said: {said}\nexpected: {expected}");
}
