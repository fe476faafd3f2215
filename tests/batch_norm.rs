//! Batch norm of `[samples, channels, spatial]` and of `[samples, channels]`, in training and in inference,
//! on the device, against formulas of its own in float64.

mod support;

use support::{buffer, context, mixed_values as values, run};
use wgpu_layernorm::plan::{Backward, Forward, RowSplit, Strides};
use wgpu_layernorm::{
    BackwardBuffers, BufferRows, Context, Error, ForwardBuffers, ForwardInputs, Gradient, KeptVariance,
    LayerNorm, LayerNormDescriptor, Normalization, Prepared, Problem, Rows, Running, WarmOptions, wgpu,
};

const EPS: f64 = 1e-5_f32 as f64;

/// What a batch is, and where its channels lie.
#[derive(Clone, Copy, Debug)]
struct Shape {
    samples: usize,
    channels: usize,
    spatial: usize,
    channels_last: bool,
}

impl Shape {
    const fn first(samples: usize, channels: usize, spatial: usize) -> Self {
        Self { samples, channels, spatial, channels_last: false }
    }

    const fn count(self) -> usize {
        self.samples * self.channels * self.spatial
    }

    /// Values of a channel.
    const fn values(self) -> usize {
        self.samples * self.spatial
    }

    fn place(self, sample: usize, channel: usize, position: usize) -> usize {
        let Self { channels, spatial, channels_last, .. } = self;
        match channels_last {
            false => (sample * channels + channel) * spatial + position,
            true => (sample * spatial + position) * channels + channel,
        }
    }

    /// The places of a channel's values.
    fn channel(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.samples)
            .flat_map(move |sample| (0..self.spatial).map(move |at| self.place(sample, channel, at)))
    }

    fn descriptor(self) -> LayerNormDescriptor<'static> {
        let [channels, samples, spatial] =
            [self.channels, self.samples, self.spatial].map(|count| u32::try_from(count).unwrap());
        LayerNormDescriptor::batch(channels, samples, spatial)
    }

    fn rows(self, buffer: &wgpu::Buffer) -> BufferRows<'_> {
        let (channels, spatial) = (self.channels as u64, self.spatial as u64);
        let rows = BufferRows::at_element(buffer, 0);
        match self.channels_last {
            false => {
                let inner = u32::try_from(self.spatial).unwrap();
                rows.with_stride(spatial).with_inner_columns(inner, channels * spatial)
            }
            true => rows.with_stride(1).with_column_stride(channels),
        }
    }
}

const SHAPES: [Shape; 8] = [
    Shape::first(4, 3, 16),
    // Positions that no access of 16 bytes divides.
    Shape::first(5, 4, 49),
    Shape::first(3, 2, 6),
    // One sample, one position, one channel.
    Shape::first(1, 3, 20),
    Shape::first(64, 5, 1),
    Shape::first(7, 1, 8),
    // Streamed, and of several chunks.
    Shape::first(12, 3, 4096),
    Shape { samples: 6, channels: 5, spatial: 30, channels_last: true },
];

/// Mean and biased variance of a channel.
fn moments(shape: Shape, x: &[f32], channel: usize) -> [f64; 2] {
    let of = || shape.channel(channel).map(|at| f64::from(x[at]));
    let count = shape.values() as f64;
    let mean = of().sum::<f64>() / count;
    [mean, of().map(|x| (x - mean).powi(2)).sum::<f64>() / count]
}

/// dx, dgain and dbias from mean and rstd of each channel, which are constants where they were given.
fn gradients(
    shape: Shape,
    [x, dy, gain]: [&[f32]; 3],
    moments: &[[f64; 2]],
    are_given: bool,
) -> [Vec<f64>; 3] {
    let (mut dx, mut dgain, mut dbias) = (vec![0.0; shape.count()], Vec::new(), Vec::new());
    for (channel, [mean, variance]) in moments.iter().enumerate() {
        let rstd = 1.0 / (variance + EPS).sqrt();
        let terms = || shape.channel(channel).map(|at| (f64::from(dy[at]), (f64::from(x[at]) - mean) * rstd));
        let sum: f64 = terms().map(|(dy, _)| dy).sum();
        let product: f64 = terms().map(|(dy, xhat)| dy * xhat).sum();
        let [of_mean, of_variance] =
            if are_given { [0.0; 2] } else { [sum, product].map(|sum| sum / shape.values() as f64) };
        for (at, (dy, xhat)) in shape.channel(channel).zip(terms()) {
            dx[at] = f64::from(gain[channel]) * rstd * (dy - of_mean - xhat * of_variance);
        }
        dgain.push(product);
        dbias.push(sum);
    }
    [dx, dgain, dbias]
}

#[track_caller]
fn assert_close(what: &str, got: &[u32], expected: &[f64], most: f64) {
    let got = got.iter().map(|bits| f64::from(f32::from_bits(*bits)));
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.zip(expected).enumerate() {
        let is_close = (got - expected).abs() <= 1e-6 * (most + expected.abs());
        assert!(is_close, "{what}[{i}] is {got:e}, expected {expected:e}");
    }
}

/// The largest sum of |dy| over a channel.
fn most_of_channel(shape: Shape, dy: &[f32]) -> f64 {
    let sum = |channel| shape.channel(channel).map(|at| f64::from(dy[at].abs())).sum::<f64>();
    (0..shape.channels).map(sum).fold(0.0, f64::max)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

struct Data {
    x: Vec<f32>,
    dy: Vec<f32>,
    gain: Vec<f32>,
    bias: Vec<f32>,
    running: [Vec<f32>; 2],
}

impl Data {
    fn new(shape: Shape) -> Self {
        let of_channels = |seed| values(seed, shape.channels);
        // A mean of its own for each channel.
        let mut x = values(1, shape.count());
        for channel in 0..shape.channels {
            shape.channel(channel).for_each(|at| x[at] += 3.0 * channel as f32);
        }
        let running = [of_channels(5), of_channels(6).iter().map(|value| value.abs()).collect()];
        Self { x, dy: values(2, shape.count()), gain: of_channels(3), bias: of_channels(4), running }
    }
}

#[test]
fn training_normalizes_each_channel_and_keeps_its_statistics() {
    let context = context();
    for shape in SHAPES {
        let data = Data::new(shape);
        let norm = LayerNorm::new(context.kernels(), &shape.descriptor()).unwrap();
        for (momentum, kept) in
            [(0.1, KeptVariance::Unbiased), (0.25, KeptVariance::Biased), (1.0, KeptVariance::Unbiased)]
        {
            let [x, y] = [&data.x, &vec![f32::NAN; shape.count()]].map(|values| buffer(&context, values));
            let [gain, bias, mean, variance] =
                [&data.gain, &data.bias, &data.running[0], &data.running[1]].map(|v| buffer(&context, v));
            let running = Running { momentum, kept, ..Running::new((&mean).into(), (&variance).into()) };
            let statistics = buffer(&context, &vec![f32::NAN; 2 * shape.channels]);
            let forward = ForwardBuffers {
                gain: Some((&gain).into()),
                bias: Some((&bias).into()),
                running: Some(running),
                statistics: Some((&statistics).into()),
                ..ForwardBuffers::new(shape.channels as u64, shape.rows(&x), shape.rows(&y))
            };
            let call = norm.prepare_forward(&forward).unwrap();
            let [y, mean, variance, statistics]: [Vec<u32>; 4] =
                run(&context, &[&call], &[&y, &mean, &variance, &statistics]).try_into().unwrap();

            let mut expected_y = vec![0.0; shape.count()];
            let (mut means, mut variances, mut saved) = (Vec::new(), Vec::new(), Vec::new());
            for channel in 0..shape.channels {
                let [of_channel, biased] = moments(shape, &data.x, channel);
                let rstd = 1.0 / (biased + EPS).sqrt();
                for at in shape.channel(channel) {
                    let xhat = (f64::from(data.x[at]) - of_channel) * rstd;
                    expected_y[at] = f64::from(data.gain[channel]) * xhat + f64::from(data.bias[channel]);
                }
                let count = shape.values() as f64;
                let new = if kept == KeptVariance::Biased { biased } else { biased * count / (count - 1.0) };
                let share = f64::from(momentum);
                let average = |old: f32, new: f64| (1.0 - share) * f64::from(old) + share * new;
                means.push(average(data.running[0][channel], of_channel));
                variances.push(average(data.running[1][channel], new));
                saved.extend([of_channel, rstd]);
            }
            let what = |tensor: &str| format!("{tensor} of {shape:?} with momentum {momentum}");
            assert_close(&what("y"), &y, &expected_y, largest(&expected_y));
            assert_close(&what("running mean"), &mean, &means, 10.0);
            assert_close(&what("running variance"), &variance, &variances, 1.0);
            assert_close(&what("statistics"), &statistics, &saved, 10.0);
        }
    }
}

/// dx over dy, in place, and dgain and dbias that are added to.
#[test]
fn gradients_of_training_are_those_of_the_batch() {
    let context = context();
    for shape in SHAPES {
        let data = Data::new(shape);
        for row_split in RowSplit::ALL {
            let descriptor = LayerNormDescriptor { row_split, ..shape.descriptor() };
            let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
            let [x, dx, gain] = [&data.x, &data.dy, &data.gain].map(|values| buffer(&context, values));
            let statistics = buffer(&context, &vec![f32::NAN; 2 * shape.channels]);
            let [dgain, dbias] = [(); 2].map(|()| buffer(&context, &vec![2.0; shape.channels]));
            let rows = shape.channels as u64;
            let forward = ForwardBuffers::statistics(rows, shape.rows(&x), &statistics);
            let backward = BackwardBuffers {
                gain: Some((&gain).into()),
                dx: Some(shape.rows(&dx)),
                dgain: Some((&dgain).into()),
                dbias: Some((&dbias).into()),
                parameter_gradient: Gradient::Accumulate,
                ..BackwardBuffers::new(rows, shape.rows(&x), shape.rows(&dx), &statistics)
            };
            let calls = [norm.prepare_forward(&forward).unwrap(), norm.prepare_backward(&backward).unwrap()];
            let got = run(&context, &calls.each_ref(), &[&dx, &dgain, &dbias]);
            let moments: Vec<_> =
                (0..shape.channels).map(|channel| moments(shape, &data.x, channel)).collect();
            let [expected_dx, mut expected_dgain, mut expected_dbias] =
                gradients(shape, [&data.x, &data.dy, &data.gain], &moments, false);
            expected_dgain.iter_mut().chain(&mut expected_dbias).for_each(|sum| *sum += 2.0);
            let what = |tensor: &str| format!("{tensor} of {shape:?}, rows split {row_split}");
            let terms = most_of_channel(shape, &data.dy);
            assert_close(&what("dx"), &got[0], &expected_dx, largest(&expected_dx));
            assert_close(&what("dgain"), &got[1], &expected_dgain, terms);
            assert_close(&what("dbias"), &got[2], &expected_dbias, terms);
        }
    }
}

#[test]
fn inference_normalizes_by_what_is_given_and_its_gradients_take_that_for_constant() {
    let context = context();
    for shape in SHAPES {
        let data = Data::new(shape);
        let norm = LayerNorm::new(context.kernels(), &shape.descriptor()).unwrap();
        let [x, dy, y, dx] = [&data.x, &data.dy, &data.dy, &data.dy].map(|values| buffer(&context, values));
        let [gain, bias, mean, variance] =
            [&data.gain, &data.bias, &data.running[0], &data.running[1]].map(|v| buffer(&context, v));
        let statistics = buffer(&context, &vec![f32::NAN; 2 * shape.channels]);
        let [dgain, dbias] = [(); 2].map(|()| buffer(&context, &vec![f32::NAN; shape.channels]));
        let rows = shape.channels as u64;
        let forward = ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            mean: Some((&mean).into()),
            variance: Some((&variance).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(rows, shape.rows(&x), shape.rows(&y))
        };
        let alone = BackwardBuffers {
            gain: Some((&gain).into()),
            given_statistics: true,
            dx: Some(shape.rows(&dx)),
            ..BackwardBuffers::new(rows, shape.rows(&x), shape.rows(&dy), &statistics)
        };
        let sums = BackwardBuffers { dgain: Some((&dgain).into()), dbias: Some((&dbias).into()), ..alone };
        let moments: Vec<[f64; 2]> = (0..shape.channels)
            .map(|channel| [0, 1].map(|which| f64::from(data.running[which][channel])))
            .collect();
        let mut expected_y = vec![0.0; shape.count()];
        for (channel, [mean, variance]) in moments.iter().enumerate() {
            for at in shape.channel(channel) {
                let xhat = (f64::from(data.x[at]) - mean) / (variance + EPS).sqrt();
                expected_y[at] = f64::from(data.gain[channel]) * xhat + f64::from(data.bias[channel]);
            }
        }
        let [expected_dx, expected_dgain, expected_dbias] =
            gradients(shape, [&data.x, &data.dy, &data.gain], &moments, true);
        let of_forward = norm.prepare_forward(&forward).unwrap();
        assert_eq!(of_forward.dispatch_count(), 1);
        let terms = most_of_channel(shape, &data.dy) * 10.0;
        for (backward, dispatches) in [(alone, 1), (sums, 3)] {
            let of_backward = norm.prepare_backward(&backward).unwrap();
            assert_eq!(of_backward.dispatch_count(), dispatches, "{shape:?}");
            let got = run(&context, &[&of_forward, &of_backward], &[&y, &dx, &dgain, &dbias]);
            let what = |tensor: &str| format!("{tensor} of {shape:?} in inference");
            assert_close(&what("y"), &got[0], &expected_y, largest(&expected_y));
            assert_close(&what("dx"), &got[1], &expected_dx, largest(&expected_dx));
            if backward.dgain.is_some() {
                assert_close(&what("dgain"), &got[2], &expected_dgain, terms);
                assert_close(&what("dbias"), &got[3], &expected_dbias, terms);
            }
        }
    }
}

/// What depends on nothing is not read: x in backward of given statistics, where dx alone is wanted.
#[test]
fn inference_moves_each_tensor_once() {
    let context = context();
    let shape = Shape::first(8, 16, 1024);
    let norm = LayerNorm::new(context.kernels(), &shape.descriptor()).unwrap();
    let all = buffer(&context, &vec![0.0; shape.count()]);
    let [dx, small, dgain, dbias] = [shape.count(), 2 * shape.channels, shape.channels, shape.channels]
        .map(|count| buffer(&context, &vec![0.0; count]));
    let rows = shape.channels as u64;
    let bytes = |plans: &[wgpu_layernorm::plan::Plan]| -> f64 {
        let dispatched = |plan: &wgpu_layernorm::plan::Plan| {
            plan.traffic(&plan.dispatches(rows, &[], norm.caps()).unwrap()).total()
        };
        plans.iter().map(dispatched).sum::<u64>() as f64 / (4 * shape.count()) as f64
    };
    let forward = ForwardBuffers {
        gain: Some((&small).into()),
        bias: Some((&small).into()),
        mean: Some((&small).into()),
        variance: Some((&small).into()),
        ..ForwardBuffers::new(rows, shape.rows(&all), shape.rows(&dx))
    };
    let of_forward = bytes(&norm.plan_forward(&forward).unwrap());
    assert!((2.0..2.01).contains(&of_forward), "{of_forward} times the tensor");
    let backward = BackwardBuffers {
        gain: Some((&small).into()),
        given_statistics: true,
        dx: Some(shape.rows(&dx)),
        ..BackwardBuffers::new(rows, shape.rows(&all), shape.rows(&all), &small)
    };
    let of_backward = bytes(&norm.plan_backward(&backward).unwrap());
    assert!((2.0..2.01).contains(&of_backward), "{of_backward} times the tensor");
    // The sums over a channel read x and dy before.
    let with_sums =
        BackwardBuffers { dgain: Some((&dgain).into()), dbias: Some((&dbias).into()), ..backward };
    let of_sums = bytes(&norm.plan_backward(&with_sums).unwrap());
    assert!((4.0..4.02).contains(&of_sums), "{of_sums} times the tensor");
}

/// A momentum is a number of the uniform: a cumulative average changes it every step. What was warmed is all
/// that a step of training needs.
#[test]
fn another_momentum_is_no_other_pipeline() {
    let context = context();
    let shape = Shape::first(4, 3, 16);
    let norm = LayerNorm::new(context.kernels(), &shape.descriptor()).unwrap();
    let options = Forward { running_statistics: true, ..Forward::default() };
    let backward = Backward {
        dx: Some(Gradient::Overwrite),
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Overwrite),
        ..Backward::default()
    };
    norm.warm(&WarmOptions {
        forward: &[options],
        backward: &[backward],
        strides: Strides::Columns,
        alignment: 64,
        ..WarmOptions::default()
    })
    .unwrap();
    let compiled = context.kernels().pipelines();
    let data = Data::new(shape);
    let [x, y, gain, bias] =
        [&data.x, &data.x, &data.gain, &data.bias].map(|values| buffer(&context, values));
    let [mean, variance] = [(); 2].map(|()| buffer(&context, &vec![0.0; shape.channels]));
    let prepared = |momentum| -> Prepared {
        let running = Running { momentum, ..Running::new((&mean).into(), (&variance).into()) };
        let forward = ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            running: Some(running),
            ..ForwardBuffers::new(shape.channels as u64, shape.rows(&x), shape.rows(&y))
        };
        norm.prepare_forward(&forward).unwrap()
    };
    // The mean of three batches that are the same one is that of one.
    let calls = [1.0, 0.5, 1.0 / 3.0].map(prepared);
    let [dx, statistics] =
        [shape.count(), 2 * shape.channels].map(|count| buffer(&context, &vec![0.0; count]));
    let [dgain, dbias] = [(); 2].map(|()| buffer(&context, &vec![0.0; shape.channels]));
    let gradients = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(shape.rows(&dx)),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(shape.channels as u64, shape.rows(&x), shape.rows(&y), &statistics)
    };
    norm.prepare_backward(&gradients).unwrap();
    assert_eq!(context.kernels().pipelines(), compiled);
    let got = run(&context, &calls.each_ref(), &[&mean, &variance]);
    let count = shape.values() as f64;
    let of_channels: Vec<_> = (0..shape.channels).map(|channel| moments(shape, &data.x, channel)).collect();
    let means: Vec<f64> = of_channels.iter().map(|[mean, _]| *mean).collect();
    let variances: Vec<f64> = of_channels.iter().map(|[_, biased]| biased * count / (count - 1.0)).collect();
    assert_close("mean of all batches", &got[0], &means, 10.0);
    assert_close("variance of all batches", &got[1], &variances, 1.0);
}

#[test]
fn what_is_not_finite_stays_in_its_channel() {
    let context = context();
    let shape = Shape::first(4, 3, 16);
    let mut data = Data::new(shape);
    data.x[shape.place(2, 1, 5)] = f32::INFINITY;
    let norm = LayerNorm::new(context.kernels(), &shape.descriptor()).unwrap();
    let [x, y, gain, bias, mean, variance] =
        [&data.x, &data.x, &data.gain, &data.bias, &data.running[0], &data.running[1]]
            .map(|values| buffer(&context, values));
    let forward = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        running: Some(Running::new((&mean).into(), (&variance).into())),
        ..ForwardBuffers::new(shape.channels as u64, shape.rows(&x), shape.rows(&y))
    };
    let call = norm.prepare_forward(&forward).unwrap();
    let got = run(&context, &[&call], &[&y, &mean, &variance]);
    let is_nan = |bits: &u32| f32::from_bits(*bits).is_nan();
    for channel in 0..shape.channels {
        assert!(shape.channel(channel).all(|at| is_nan(&got[0][at]) == (channel == 1)), "y of {channel}");
        assert_eq!([&got[1], &got[2]].map(|kept| is_nan(&kept[channel])), [channel == 1; 2]);
    }
}

/// dx is finite where it is so: rstd, gain and dy may each be far from one.
#[test]
fn gains_of_channels_take_nothing_out_of_range() {
    let context = context();
    // Cached, streamed and split.
    for (shape, row_split) in [
        (Shape::first(2, 4, 32), RowSplit::Never),
        (Shape::first(12, 4, 4096), RowSplit::Never),
        (Shape::first(12, 4, 4096), RowSplit::Wide),
    ] {
        let mut data = Data::new(shape);
        for (channel, (x, gain, dy)) in
            [(1e-10, 1e-10, 1e30), (1e10, 1e10, 1e-30), (1e-10, 0.0, 1e30), (1.0, 1e30, 1e-30)]
                .into_iter()
                .enumerate()
        {
            data.gain[channel] = gain;
            for at in shape.channel(channel) {
                data.x[at] = x * (data.x[at] - 3.0 * channel as f32);
                data.dy[at] *= dy;
            }
        }
        let descriptor = LayerNormDescriptor { row_split, eps: 0.0, ..shape.descriptor() };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let [x, dy, dx, gain] =
            [&data.x, &data.dy, &data.dy, &data.gain].map(|values| buffer(&context, values));
        let statistics = buffer(&context, &vec![f32::NAN; 2 * shape.channels]);
        let rows = shape.channels as u64;
        let calls = [
            norm.prepare_forward(&ForwardBuffers::statistics(rows, shape.rows(&x), &statistics)).unwrap(),
            norm.prepare_backward(&BackwardBuffers {
                gain: Some((&gain).into()),
                dx: Some(shape.rows(&dx)),
                ..BackwardBuffers::new(rows, shape.rows(&x), shape.rows(&dy), &statistics)
            })
            .unwrap(),
        ];
        let got = run(&context, &calls.each_ref(), &[&dx]);
        for channel in 0..shape.channels {
            let [mean, variance] = moments(shape, &data.x, channel);
            let rstd = 1.0 / variance.sqrt();
            let count = shape.values() as f64;
            let terms = || {
                shape
                    .channel(channel)
                    .map(|at| (f64::from(data.dy[at]), (f64::from(data.x[at]) - mean) * rstd))
            };
            let of_mean = terms().map(|(dy, _)| dy).sum::<f64>() / count;
            let of_product = terms().map(|(dy, xhat)| dy * xhat).sum::<f64>() / count;
            let factor = f64::from(data.gain[channel]) * rstd;
            let expected: Vec<f64> =
                terms().map(|(dy, xhat)| factor * (dy - of_mean - xhat * of_product)).collect();
            let got: Vec<u32> = shape.channel(channel).map(|at| got[0][at]).collect();
            let most = 4.0 * largest(&expected);
            for (got, expected) in got.iter().map(|bits| f64::from(f32::from_bits(*bits))).zip(&expected) {
                let is_close = (got - expected).abs() <= 1e-6 * most;
                assert!(
                    is_close,
                    "dx of channel {channel} of {shape:?}, {row_split}: {got:e} for {expected:e}"
                );
            }
        }
    }
}

/// An infinity of dy is one in dgain and dbias, and NaN in x leaves dbias as it is.
#[test]
fn sums_of_channels_are_as_arithmetic_has_them() {
    let context = context();
    for (shape, row_split) in [
        (Shape::first(2, 3, 32), RowSplit::Never),
        (Shape::first(12, 3, 4096), RowSplit::Never),
        (Shape::first(12, 3, 4096), RowSplit::Wide),
    ] {
        let mut data = Data::new(shape);
        let early = shape.place(0, 0, 1);
        data.dy[early] = f32::INFINITY;
        data.x[shape.place(1, 1, 3)] = f32::NAN;
        data.dy[shape.place(1, 1, 4)] = 2e31;
        let descriptor = LayerNormDescriptor { row_split, ..shape.descriptor() };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let [x, dy] = [&data.x, &data.dy].map(|values| buffer(&context, values));
        let statistics = buffer(&context, &vec![f32::NAN; 2 * shape.channels]);
        let [gain, dgain, dbias] = [(); 3].map(|()| buffer(&context, &vec![1.0; shape.channels]));
        let rows = shape.channels as u64;
        let calls = [
            norm.prepare_forward(&ForwardBuffers::statistics(rows, shape.rows(&x), &statistics)).unwrap(),
            norm.prepare_backward(&BackwardBuffers {
                gain: Some((&gain).into()),
                dgain: Some((&dgain).into()),
                dbias: Some((&dbias).into()),
                ..BackwardBuffers::new(rows, shape.rows(&x), shape.rows(&dy), &statistics)
            })
            .unwrap(),
        ];
        let got = run(&context, &calls.each_ref(), &[&dgain, &dbias]);
        let [dgain, dbias] =
            [&got[0], &got[1]].map(|bits| bits.iter().map(|bits| f32::from_bits(*bits)).collect::<Vec<_>>());
        let what = format!("{shape:?}, {row_split}: {dgain:?} {dbias:?}");
        let [mean, _] = moments(shape, &data.x, 0);
        let sign = if f64::from(data.x[early]) > mean { f32::INFINITY } else { f32::NEG_INFINITY };
        assert_eq!((dgain[0], dbias[0]), (sign, f32::INFINITY), "{what}");
        assert!(dgain[1].is_nan() && (dbias[1] / 2e31 - 1.0).abs() < 1e-6, "{what}");
        assert!(dgain[2].is_finite() && dbias[2].is_finite(), "{what}");
    }
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let context = context();
    let shape = Shape::first(4, 3, 16);
    let all = buffer(&context, &vec![0.0; shape.count()]);
    let [y, small] = [shape.count(), 6].map(|count| buffer(&context, &vec![0.0; count]));
    let running = Running::new((&small).into(), (&small).into());
    let rows = shape.channels as u64;
    let forward = ForwardBuffers {
        gain: Some((&small).into()),
        bias: Some((&small).into()),
        ..ForwardBuffers::new(rows, shape.rows(&all), shape.rows(&y))
    };
    let said = |descriptor: &LayerNormDescriptor<'_>, forward: &ForwardBuffers<'_>| -> String {
        let norm = LayerNorm::new(context.kernels(), descriptor).unwrap();
        norm.prepare_forward(forward).map_or_else(|error: Error| error.to_string(), |_| "fine".to_owned())
    };
    let descriptor = shape.descriptor();
    let given = ForwardBuffers { mean: Some((&small).into()), variance: Some((&small).into()), ..forward };
    assert_eq!(said(&descriptor, &given), "fine");
    let half = ForwardBuffers { variance: None, ..given };
    assert!(said(&descriptor, &half).contains("variance"), "{}", said(&descriptor, &half));
    let both = ForwardBuffers { running: Some(running), ..given };
    assert!(said(&descriptor, &both).contains("running.mean"), "{}", said(&descriptor, &both));
    let added = ForwardBuffers { residual: Some(shape.rows(&all)), ..given };
    assert!(said(&descriptor, &added).contains("residual"), "{}", said(&descriptor, &added));
    let rms = LayerNormDescriptor { normalization: Normalization::Rms, ..descriptor };
    assert!(said(&rms, &given).contains("only layer norm"), "{}", said(&rms, &given));
    let kept = |running| ForwardBuffers { running: Some(running), ..forward };
    for momentum in [-0.1, 1.5, f32::NAN] {
        let wrong = kept(Running { momentum, ..running });
        assert!(said(&descriptor, &wrong).contains("momentum"), "{}", said(&descriptor, &wrong));
    }
    // Both in one buffer, in the same place.
    let twice = kept(running);
    assert!(said(&descriptor, &twice).contains("overlap"), "{}", said(&descriptor, &twice));
    let one = LayerNormDescriptor::batch(3, 1, 1);
    let of_one = ForwardBuffers {
        x: BufferRows::at_element(&all, 0),
        y: Some(BufferRows::at_element(&y, 0)),
        ..kept(running)
    };
    assert!(said(&one, &of_one).contains("2 or more"), "{}", said(&one, &of_one));
    let odd = ForwardBuffers {
        x: BufferRows::at_element(&all, 0).with_stride(16).with_inner_columns(15, 48),
        ..forward
    };
    assert!(said(&descriptor, &odd).contains("x.inner_columns"), "{}", said(&descriptor, &odd));
    let groups = LayerNormDescriptor::group(6, 3, 32);
    let of_groups = ForwardBuffers { ..forward };
    assert!(said(&groups, &of_groups).contains("x.inner_columns"), "{}", said(&groups, &of_groups));
    let near = ForwardBuffers {
        x: BufferRows::at_element(&all, 0).with_stride(16).with_inner_columns(16, 40),
        ..forward
    };
    assert!(
        said(&descriptor, &near).contains("no two elements share a place"),
        "{}",
        said(&descriptor, &near)
    );
}

/// The same over rows of the host, for whoever has no buffers.
#[test]
fn a_context_keeps_statistics_and_takes_them() {
    let context: Context = context();
    let problem = Problem::batch(3, 4, 16);
    let x = values(1, 3 * 64);
    let [mean, variance] = [values(2, 3), vec![1.5, 0.5, 2.0]];
    let [gain, bias] = [values(3, 3), values(4, 3)];
    let inputs = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
        running: Some(Running { momentum: 1.0, ..Running::new(&mean[..], &variance[..]) }),
        ..ForwardInputs::new(3, Rows { data: &x, stride: 64 })
    };
    let trained = context.forward_blocking(&problem, &inputs).unwrap();
    let (mean, variance) = (trained.running_mean.unwrap(), trained.running_variance.unwrap());
    for channel in 0..3 {
        assert!((mean[channel] - trained.statistics[channel].mean).abs() < 1e-6);
        let unbiased = 64.0 / 63.0 / trained.statistics[channel].rstd.powi(2);
        assert!((variance[channel] - unbiased).abs() < 1e-4 * unbiased, "{variance:?}");
    }
    let inputs = ForwardInputs { mean: Some(&mean), variance: Some(&variance), running: None, ..inputs };
    let given = context.forward_blocking(&problem, &inputs).unwrap();
    for (got, (at, x)) in given.y.iter().zip(x.iter().enumerate()) {
        let channel = at / 64;
        let expected =
            gain[channel] * (x - mean[channel]) / (variance[channel] + 1e-5).sqrt() + bias[channel];
        assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
    }
}
