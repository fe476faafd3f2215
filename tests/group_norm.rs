//! Group norm and instance norm, with gain and bias for each channel: on the CPU and on the device, against
//! PyTorch, by difference quotients, and over buffers.

mod support;

use half::{bf16, f16};
use safetensors::SafeTensors;
use support::{buffer, context, context_with, mixed_values as values, recorded, run};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, Channels, Context, Dtype, Element, Error, ForwardBuffers, Gradient,
    LayerNorm, LayerNormDescriptor, Normalization, Prepared, Problem, Rows, RowsMut, adapters, wgpu,
};

fn problem(channels: u32, groups: u32, spatial: u32) -> Problem {
    LayerNormDescriptor::group(channels, groups, spatial).problem()
}

/// What a call reads: data `[samples, channels, spatial]`, and a value of gain and bias for each channel.
struct Data<T, P> {
    x: Vec<T>,
    dy: Vec<T>,
    gain: Vec<P>,
    bias: Vec<P>,
}

impl<T: Element, P: Element> Data<T, P> {
    fn new(problem: &Problem, samples: usize) -> Self {
        let channels = problem.channels.unwrap();
        let count = samples * (channels.count * channels.spatial) as usize;
        let rounded =
            |seed, count| values(seed, count).into_iter().map(|value| T::from_f64(value.into())).collect();
        let parameters = |seed| {
            values(seed, channels.count as usize).into_iter().map(|value| P::from_f64(value.into())).collect()
        };
        Self { x: rounded(1, count), dy: rounded(2, count), gain: parameters(3), bias: parameters(4) }
    }

    fn inputs<'a>(&'a self, problem: &Problem) -> (ForwardInputs<'a, T, P>, BackwardInputs<'a, T, P>) {
        let stride = problem.cols as usize;
        let (rows, dense) = (self.x.len() / stride, |data| Rows { data, stride });
        let gain = problem.affine.has_gain().then_some(&self.gain[..]);
        let bias = problem.affine.has_bias().then_some(&self.bias[..]);
        let forward = ForwardInputs { gain, bias, ..ForwardInputs::new(rows, dense(&self.x)) };
        (forward, BackwardInputs { gain, ..BackwardInputs::new(rows, dense(&self.x), dense(&self.dy)) })
    }
}

/// y, mean and rstd of each row, dx, dgain and dbias, those that there are.
#[derive(Clone, Debug, Default)]
struct Results {
    y: Vec<f64>,
    statistics: Vec<f64>,
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

fn on_cpu<T: Element, P: Element>(problem: &Problem, data: &Data<T, P>) -> Results {
    let (stride, count) = (problem.cols as usize, problem.parameters() as usize);
    let (mut y, mut dx) = (vec![0.0; data.x.len()], vec![0.0; data.x.len()]);
    let (mut dgain, mut dbias) = (vec![0.0; count], vec![0.0; count]);
    let mut statistics = vec![[0.0; 2]; data.x.len() / stride];
    let (forward, backward) = data.inputs(problem);
    let outputs = ForwardOutputs {
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride })
    };
    reference::forward(problem, &forward, outputs).unwrap();
    let outputs = BackwardOutputs::<f64, f64> {
        dx: Some(RowsMut { data: &mut dx, stride }),
        dgain: problem.affine.has_gain().then_some(&mut dgain),
        dbias: problem.affine.has_bias().then_some(&mut dbias),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, &backward, outputs).unwrap();
    let (has_gain, has_bias) = (problem.affine.has_gain(), problem.affine.has_bias());
    Results {
        y,
        statistics: statistics.concat(),
        dx,
        dgain: if has_gain { dgain } else { vec![] },
        dbias: if has_bias { dbias } else { vec![] },
    }
}

fn on_device<T: Element, P: Element>(context: &Context, problem: &Problem, data: &Data<T, P>) -> Results {
    fn wide<V: Element>(values: &[V]) -> Vec<f64> {
        values.iter().map(|value| value.to_f64()).collect()
    }
    let (forward, backward) = data.inputs(problem);
    let forward = context.forward_blocking(problem, &forward).unwrap();
    let backward = context.backward_blocking(problem, &backward).unwrap();
    let statistics = forward.statistics.iter().flat_map(|row| [row.mean, row.rstd]).map(f64::from).collect();
    Results {
        y: wide(&forward.y),
        statistics,
        dx: wide(&backward.dx),
        dgain: wide(&backward.dgain.unwrap_or_default()),
        dbias: wide(&backward.dbias.unwrap_or_default()),
    }
}

/// Each value within a share of `most`.
fn assert_close(what: &str, got: &[f64], expected: &[f64], most: f64, share: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let allowed = share * most;
        let units = (got - expected).abs() / allowed;
        let is_right = (got - expected).abs() <= allowed;
        assert!(is_right, "{what} at {i}: {got} is not {expected}, {units:.2} times what is allowed");
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0_f64, |most, value| most.max(value.abs()))
}

/// Units of 2^-24 of the terms, and a place of 16 bits where those are stored.
fn share(dtype: Dtype) -> f64 {
    let unit = 4.0 / f64::from(1 << 24);
    match dtype {
        Dtype::F32 => unit,
        dtype => unit + dtype.unit_roundoff(),
    }
}

/// Sums of the sizes of the terms of dgain and of dbias, the largest of all channels.
fn terms_of_sums<T: Element, P: Element>(
    problem: &Problem,
    data: &Data<T, P>,
    statistics: &[f64],
) -> [f64; 2] {
    let Channels { count, groups, spatial, .. } = problem.channels.unwrap();
    let (mut dgain, mut dbias) = (vec![0.0; count as usize], vec![0.0; count as usize]);
    for (i, (x, dy)) in data.x.iter().zip(&data.dy).enumerate() {
        let row = i / problem.cols as usize;
        let channel =
            row % groups as usize * (count / groups) as usize + i % problem.cols as usize / spatial as usize;
        let xhat = (x.to_f64() - statistics[2 * row]) * statistics[2 * row + 1];
        dgain[channel] += (dy.to_f64() * xhat).abs();
        dbias[channel] += dy.to_f64().abs();
    }
    [largest(&dgain), largest(&dbias)]
}

/// The device against the reference. Rows of a value or two have a dx that is nothing beside its terms.
fn check<T: Element, P: Element>(context: &Context, problem: &Problem, samples: usize) {
    let data = Data::<T, P>::new(problem, samples);
    let (expected, got) = (on_cpu(problem, &data), on_device(context, problem, &data));
    let what = |name: &str| format!("{}: {name} of {samples} samples of {problem:?}", context.description());
    let (rows, parameters) = (share(T::DTYPE), share(P::DTYPE));
    let most_rstd = expected.statistics.chunks(2).map(|row| row[1]).fold(0.0, f64::max);
    let most_dx = largest(&expected.dx).max(most_rstd * 4.0);
    assert_close(&what("y"), &got.y, &expected.y, largest(&expected.y), rows);
    assert_close(&what("dx"), &got.dx, &expected.dx, most_dx, rows);
    let [of_dgain, of_dbias] = terms_of_sums(problem, &data, &expected.statistics);
    assert_close(&what("dgain"), &got.dgain, &expected.dgain, of_dgain, parameters);
    assert_close(&what("dbias"), &got.dbias, &expected.dbias, of_dbias, parameters);
}

fn contexts() -> Vec<Context> {
    pollster::block_on(adapters())
        .iter()
        .map(|adapter| pollster::block_on(Context::open(adapter)).unwrap())
        .collect()
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    affine: String,
    channels: u32,
    groups: u32,
    spatial: u32,
    eps: f32,
}

#[test]
fn group_norm_comes_out_as_from_pytorch() {
    let bytes = include_bytes!("vectors/torch.safetensors");
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let vectors = metadata.metadata().as_ref().unwrap()["group_norms"].clone();
    let vectors: Vec<Vector> = serde_json::from_str(&vectors).unwrap();
    assert_eq!(vectors.len(), 6);
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    for context in contexts() {
        for Vector { name, affine, channels, groups, spatial, eps } in &vectors {
            let raw = |tensor: &str| tensors.tensor(&format!("{name}.{tensor}")).unwrap();
            let narrow = |tensor: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(raw(tensor).data()) };
            let wide = |tensor: &str| -> Vec<f64> { bytemuck::pod_collect_to_vec(raw(tensor).data()) };
            let affine: Affine = affine.parse().unwrap();
            let problem = Problem { affine, eps: *eps, ..problem(*channels, *groups, *spatial) };
            let bias = if affine.has_bias() { narrow("bias") } else { vec![] };
            let data = Data { x: narrow("x"), dy: narrow("dy"), gain: narrow("gain"), bias };
            let (mean, rstd) = (wide("mean"), wide("rstd"));
            let statistics: Vec<f64> =
                mean.iter().zip(&rstd).flat_map(|(mean, rstd)| [*mean, *rstd]).collect();
            let most_rstd = largest(&rstd);
            // PyTorch rounds to float64 what it takes apart again.
            let cancelled = data.x.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max) * most_rstd;
            for (how, results, share) in [
                ("on the CPU", on_cpu(&problem, &data), 1e-14 * cancelled.max(1.0)),
                ("on the device", on_device(&context, &problem, &data), share(Dtype::F32)),
            ] {
                let what = |tensor: &str| format!("{tensor} of {name} {how}, {}", context.description());
                assert_close(&what("y"), &results.y, &wide("y"), largest(&wide("y")), share);
                let most = largest(&mean).max(most_rstd);
                assert_close(&what("statistics"), &results.statistics, &statistics, most, share);
                let most_dx = largest(&wide("dx")).max(most_rstd);
                assert_close(&what("dx"), &results.dx, &wide("dx"), most_dx, share);
                let [of_dgain, of_dbias] = terms_of_sums(&problem, &data, &statistics);
                assert_close(&what("dgain"), &results.dgain, &wide("dgain"), of_dgain, share);
                let dbias = if affine.has_bias() { wide("dbias") } else { vec![] };
                assert_close(&what("dbias"), &results.dbias, &dbias, of_dbias, share);
            }
        }
    }
}

/// Channels that vec4s fit and that they do not, one value a channel and many; groups of a thread, of
/// several, held and streamed.
#[test]
fn every_shape_of_channels_comes_out_as_on_the_cpu() {
    for context in contexts() {
        for (channels, groups, spatial, samples) in [
            (1, 1, 1, 3),
            (2, 2, 1, 5),
            (6, 2, 1, 4),
            (6, 3, 7, 3),
            (8, 2, 4, 9),
            (8, 8, 49, 2),
            (32, 8, 64, 3),
            (12, 1, 100, 2),
            (16, 4, 1024, 2),
            (3, 3, 20_001, 2),
            (40, 2, 1156, 1),
        ] {
            let problem = problem(channels, groups, spatial);
            check::<f32, f32>(&context, &problem, samples);
        }
    }
}

#[test]
fn channels_go_with_every_storage_norm_and_affine() {
    for context in contexts() {
        for (spatial, groups, affine, normalization) in [
            (16, 2, Affine::Gain, Normalization::Layer),
            (5, 3, Affine::ZeroCenteredGainBias, Normalization::Layer),
            (3, 3, Affine::GainBias, Normalization::Rms),
            (8, 6, Affine::None, Normalization::Layer),
            (3000, 3, Affine::ZeroCenteredGain, Normalization::L2),
        ] {
            let problem = Problem { affine, normalization, ..problem(6, groups, spatial) };
            check::<f32, f32>(&context, &problem, 3);
            let of = |dtype, parameter_dtype| Problem { dtype, parameter_dtype, ..problem };
            check::<f16, f16>(&context, &of(Dtype::F16, Dtype::F16), 3);
            check::<bf16, f32>(&context, &of(Dtype::Bf16, Dtype::F32), 3);
        }
    }
}

/// Each gradient against the central difference quotient of `loss = sum(dy * y)`, in float64 on both sides.
#[test]
fn gradients_are_those_of_forward() {
    const STEP: f32 = 1.0 / 4096.0;
    for (channels, groups, spatial) in [(4, 2, 3), (3, 3, 2), (5, 1, 1)] {
        let problem = Problem { eps: 0.125, ..problem(channels, groups, spatial) };
        let mut data = Data::<f32, f32>::new(&problem, 2);
        for values in [&mut data.x, &mut data.dy, &mut data.gain, &mut data.bias] {
            values.iter_mut().for_each(|value| *value = (*value / STEP).round() * STEP);
        }
        let loss = |data: &Data<f32, f32>| -> f64 {
            on_cpu(&problem, data).y.iter().zip(&data.dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        let results = on_cpu(&problem, &data);
        let mut check = |what: &str, of: fn(&mut Data<f32, f32>) -> &mut Vec<f32>, got: &[f64]| {
            let quotients: Vec<f64> = (0..got.len())
                .map(|i| {
                    let mut moved = |by: f32| {
                        of(&mut data)[i] += by;
                        let loss = loss(&data);
                        of(&mut data)[i] -= by;
                        loss
                    };
                    (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP)
                })
                .collect();
            assert_close(&format!("{what}, {problem:?}"), got, &quotients, largest(&quotients), 1e-5);
        };
        check("dx", |data| &mut data.x, &results.dx);
        check("dgain", |data| &mut data.gain, &results.dgain);
        check("dbias", |data| &mut data.bias, &results.dbias);
    }
}

/// A NaN in a group makes that group NaN, and the gradients of its own channels.
#[test]
fn what_is_not_finite_stays_in_its_group() {
    for context in contexts() {
        let problem = problem(6, 3, 5);
        let mut data = Data::<f32, f32>::new(&problem, 2);
        data.x[10 + 3] = f32::NAN;
        data.dy[30 + 27] = f32::INFINITY;
        let (expected, got) = (on_cpu(&problem, &data), on_device(&context, &problem, &data));
        for (what, got, expected) in [
            ("y", &got.y, &expected.y),
            ("dx", &got.dx, &expected.dx),
            ("dgain", &got.dgain, &expected.dgain),
            ("dbias", &got.dbias, &expected.dbias),
        ] {
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let is_close = (got - expected).abs() < 1e-4 || got == expected;
                assert!(is_close || (got.is_nan() && expected.is_nan()), "{what} at {i}: {got}, {expected}");
            }
        }
        assert!(got.dgain[2].is_nan() && got.dgain[4].is_finite() && got.dbias[5].is_infinite());
    }
}

/// The tensors of both directions on the device.
struct Buffers {
    x: wgpu::Buffer,
    dy: wgpu::Buffer,
    y: wgpu::Buffer,
    dx: wgpu::Buffer,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    dgain: wgpu::Buffer,
    dbias: wgpu::Buffer,
    statistics: wgpu::Buffer,
}

impl Buffers {
    /// Of the data's rows as `laid` lays them out; y and dx hold x before the call, dgain and dbias `before`.
    fn new(
        context: &Context,
        data: &Data<f32, f32>,
        before: &[f32],
        laid: impl Fn(&[f32]) -> Vec<f32>,
    ) -> Self {
        let [x, y, dx] = [(); 3].map(|()| buffer(context, &laid(&data.x)));
        let [dgain, dbias] = [(); 2].map(|()| buffer(context, before));
        Self {
            x,
            dy: buffer(context, &laid(&data.dy)),
            y,
            dx,
            gain: buffer(context, &data.gain),
            bias: buffer(context, &data.bias),
            dgain,
            dbias,
            // Of no more rows than values.
            statistics: buffer(context, &vec![0.0; 2 * data.x.len()]),
        }
    }

    fn forward<'a>(
        &'a self,
        rows: u64,
        place: impl Fn(&'a wgpu::Buffer) -> BufferRows<'a>,
    ) -> ForwardBuffers<'a> {
        ForwardBuffers {
            gain: Some((&self.gain).into()),
            bias: Some((&self.bias).into()),
            statistics: Some((&self.statistics).into()),
            ..ForwardBuffers::new(rows, place(&self.x), place(&self.y))
        }
    }

    fn backward<'a>(
        &'a self,
        rows: u64,
        place: impl Fn(&'a wgpu::Buffer) -> BufferRows<'a>,
    ) -> BackwardBuffers<'a> {
        BackwardBuffers {
            gain: Some((&self.gain).into()),
            dx: Some(place(&self.dx)),
            dgain: Some((&self.dgain).into()),
            dbias: Some((&self.dbias).into()),
            ..BackwardBuffers::new(rows, place(&self.x), place(&self.dy), &self.statistics)
        }
    }

    /// y, dx, dgain and dbias after the calls.
    fn run(&self, context: &Context, calls: &[&Prepared]) -> [Vec<f64>; 4] {
        let outputs = [&self.y, &self.dx, &self.dgain, &self.dbias];
        let wide = |bits: &Vec<u32>| bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect();
        let results: Vec<Vec<f64>> = run(context, calls, &outputs).iter().map(wide).collect();
        results.try_into().unwrap()
    }
}

/// Over buffers: wide groups shared by workgroups, gradients added to, and a call that is recorded with fewer
/// samples.
#[test]
fn calls_are_recorded_over_fewer_samples_and_added_to() {
    let context = context();
    for (channels, groups, spatial, row_split) in
        [(6, 3, 8, RowSplit::Never), (4, 2, 6001, RowSplit::Never), (4, 2, 6001, RowSplit::Wide)]
    {
        let problem = problem(channels, groups, spatial);
        let descriptor =
            LayerNormDescriptor { row_split, ..LayerNormDescriptor::group(channels, groups, spatial) };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let whole = Data::<f32, f32>::new(&problem, 3);
        let rows = 3 * u64::from(groups);
        let before = values(9, channels as usize);
        let buffers = Buffers::new(&context, &whole, &before, <[f32]>::to_vec);
        let forward = norm.prepare_forward(&buffers.forward(rows, BufferRows::from)).unwrap();
        let backward = BackwardBuffers {
            parameter_gradient: Gradient::Accumulate,
            ..buffers.backward(rows, BufferRows::from)
        };
        let backward = norm.prepare_backward(&backward).unwrap();
        for samples in [3, 1, 2, 0] {
            for gradient in [&buffers.dgain, &buffers.dbias] {
                context.queue().write_buffer(gradient, 0, bytemuck::cast_slice(&before));
            }
            let commands = recorded(&context, |pass| {
                for call in [&forward, &backward] {
                    call.record_rows(pass, samples * u64::from(groups)).unwrap();
                }
            });
            context.queue().submit([commands]);
            let [y, dx, dgain, dbias] = buffers.run(&context, &[]);
            let part = usize::try_from(samples).unwrap() * whole.x.len() / 3;
            let data = Data {
                x: whole.x[..part].to_vec(),
                dy: whole.dy[..part].to_vec(),
                ..Data::<f32, f32>::new(&problem, 0)
            };
            let expected = on_cpu(&problem, &data);
            let what = |name: &str| format!("{name} of {samples} samples, {row_split:?}, {problem:?}");
            let unit = share(Dtype::F32);
            assert_close(&what("y"), &y[..part], &expected.y, largest(&expected.y), unit);
            assert_close(&what("dx"), &dx[..part], &expected.dx, largest(&expected.dx), unit);
            let [of_dgain, of_dbias] = terms_of_sums(&problem, &data, &expected.statistics);
            let added = |sums: &[f64]| -> Vec<f64> {
                sums.iter().zip(&before).map(|(sum, before)| sum + f64::from(*before)).collect()
            };
            assert_close(&what("dgain"), &dgain, &added(&expected.dgain), of_dgain + 2.0, unit);
            assert_close(&what("dbias"), &dbias, &added(&expected.dbias), of_dbias + 2.0, unit);
        }
        let commands = recorded(&context, |pass| {
            let error = forward.record_rows(pass, 1).unwrap_err().to_string();
            let needs = format!("rows is 1, needs to be a multiple of the {groups} groups of a sample");
            assert_eq!(error, needs);
        });
        drop(commands);
    }
}

/// Channels of a sample that have others between them in memory: half of a wider tensor.
#[test]
fn samples_may_lie_apart() {
    let context = context();
    let (channels, groups, spatial, samples) = (6_u32, 3_u32, 5_u32, 4_u64);
    let problem = problem(channels, groups, spatial);
    let norm =
        LayerNorm::new(context.kernels(), &LayerNormDescriptor::group(channels, groups, spatial)).unwrap();
    let data = Data::<f32, f32>::new(&problem, 4);
    let expected = on_cpu(&problem, &data);
    let (of_sample, apart) = ((channels * spatial) as usize, 41);
    let spread = |values: &[f32]| -> Vec<f32> {
        values.chunks(of_sample).flat_map(|sample| [sample, &[7.0; 11][..]].concat()).collect()
    };
    let (rows, buffers) = (samples * u64::from(groups), Buffers::new(&context, &data, &data.gain, spread));
    let place = |buffer| BufferRows::from(buffer).with_inner_rows(groups.into(), apart);
    let forward = buffers.forward(rows, place);
    let backward = norm.prepare_backward(&buffers.backward(rows, place)).unwrap();
    let [y, dx, dgain, dbias] = buffers.run(&context, &[&norm.prepare_forward(&forward).unwrap(), &backward]);
    let gathered = |values: &[f64]| -> Vec<f64> {
        values.chunks(of_sample + 11).flat_map(|sample| sample[..of_sample].to_vec()).collect()
    };
    for (what, got, expected) in [
        ("y", gathered(&y), &expected.y),
        ("dx", gathered(&dx), &expected.dx),
        ("dgain", dgain, &expected.dgain),
        ("dbias", dbias, &expected.dbias),
    ] {
        assert_close(what, &got, expected, largest(expected).max(10.0), share(Dtype::F32));
    }
    let between =
        |values: &[f64]| values.chunks(of_sample + 11).all(|sample| sample[of_sample..] == [7.0; 11]);
    assert!(between(&y) && between(&dx), "what lies between samples is left");

    let wrong = |buffer| BufferRows::from(buffer).with_inner_rows(2, 20);
    let wrong = ForwardBuffers { x: wrong(&buffers.x), y: Some(wrong(&buffers.y)), ..forward };
    let error = norm.prepare_forward(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "x.inner_rows is 2, needs to be 3, the groups of a sample");
}

#[test]
fn wrong_channels_are_refused_by_name() {
    let message = |problem: Problem| problem.validate().unwrap_err().to_string();
    let good = problem(6, 3, 5);
    assert_eq!(good.validate(), Ok(()));
    let with =
        |count, groups, spatial| Problem { channels: Some(Channels::new(count, groups, spatial)), ..good };
    for (problem, says) in [
        (with(6, 0, 5), "channels.groups is 0, needs to be 1 to 16777216"),
        (with(0, 3, 5), "channels.count is 0, needs to be 1 to 16777216"),
        (with(6, 3, 0), "channels.spatial is 0, needs to be 1 to 16777216"),
        (with(7, 3, 5), "channels.count is 7, needs to be a multiple of groups, 3"),
        (with(6, 3, 4), "cols is 10, needs to be 8: 2 channels of a group times 4 values"),
        (
            super_wide(),
            "cols is 4294967295, needs to be 281474976710656: 16777216 channels of a group times 16777216 values",
        ),
        (problem(7, 0, 5), "channels.groups is 0, needs to be 1 to 16777216"),
    ] {
        assert_eq!(message(problem), says);
    }
    let data = Data::<f32, f32>::new(&good, 2);
    let (forward, _) = data.inputs(&good);
    let mut y = vec![0.0_f64; 60];
    let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride: 10 });
    let error = reference::forward(&good, &ForwardInputs { rows: 4, ..forward }, outputs).unwrap_err();
    assert_eq!(error.to_string(), "rows is 4, needs to be a multiple of the 3 groups of a sample");
    let error = context().forward_blocking(&good, &ForwardInputs { rows: 4, ..forward }).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

fn super_wide() -> Problem {
    problem(1 << 24, 1, 1 << 24)
}

/// Bindings that hold some rows of a sample, or one: calls are cut inside samples, in every kernel, dense and
/// apart.
#[test]
fn samples_are_cut_where_bindings_end() {
    // Rows of 512 and of 48,008 bytes, samples of three; then rows of one channel, half as wide, of six.
    for (groups, spatial, binding_bytes, row_split) in [
        (3_u32, 64, 4096, RowSplit::Never),
        (3, 64, 1024, RowSplit::Never),
        (3, 64, 768, RowSplit::Never),
        (3, 6001, 200_000, RowSplit::Never),
        (3, 6001, 200_000, RowSplit::Wide),
        (3, 6001, 50_000, RowSplit::Wide),
        (6, 64, 4096, RowSplit::Never),
        (6, 64, 768, RowSplit::Never),
        (6, 6001, 200_000, RowSplit::Never),
        (6, 6001, 50_000, RowSplit::Wide),
    ] {
        let context = context_with(|limits| limits.max_storage_buffer_binding_size = binding_bytes);
        let (channels, samples) = (6_u32, 11_u64);
        let problem = problem(channels, groups, spatial);
        let descriptor =
            LayerNormDescriptor { row_split, ..LayerNormDescriptor::group(channels, groups, spatial) };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let data = Data::<f32, f32>::new(&problem, 11);
        let expected = on_cpu(&problem, &data);
        let [of_dgain, of_dbias] = terms_of_sums(&problem, &data, &expected.statistics);
        let of_sample = (channels * spatial) as usize;
        for gap in [0, 4] {
            let spread = |values: &[f32]| -> Vec<f32> {
                values.chunks(of_sample).flat_map(|sample| [sample, &[7.0; 4][..gap]].concat()).collect()
            };
            let buffers = Buffers::new(&context, &data, &data.gain, spread);
            let rows = samples * u64::from(groups);
            let place = |buffer| match gap {
                0 => BufferRows::from(buffer),
                _ => BufferRows::from(buffer).with_inner_rows(groups.into(), (of_sample + gap) as u64),
            };
            let forward = buffers.forward(rows, place);
            let plans = norm.plan_forward(&forward).unwrap().len();
            assert_eq!(plans, if row_split == RowSplit::Wide { 2 } else { 1 });
            let forward = norm.prepare_forward(&forward).unwrap();
            assert!(forward.dispatch_count() > 3 * plans, "{} dispatches", forward.dispatch_count());
            let backward = norm.prepare_backward(&buffers.backward(rows, place)).unwrap();
            let [y, dx, dgain, dbias] = buffers.run(&context, &[&forward, &backward]);
            let gathered = |values: &[f64]| -> Vec<f64> {
                values.chunks(of_sample + gap).flat_map(|sample| sample[..of_sample].to_vec()).collect()
            };
            let unit = share(Dtype::F32);
            for (what, got, expected, most) in [
                ("y", gathered(&y), &expected.y, largest(&expected.y)),
                ("dx", gathered(&dx), &expected.dx, largest(&expected.dx)),
                ("dgain", dgain, &expected.dgain, of_dgain),
                ("dbias", dbias, &expected.dbias, of_dbias),
            ] {
                let what = format!(
                    "{what} of {groups} groups, bindings of {binding_bytes} bytes, {gap} between samples"
                );
                assert_close(&what, &got, expected, most, unit);
            }
        }
    }
}

/// Instance norm of `[samples, spatial, channels]`: rows side by side, and their columns apart.
#[test]
fn channels_of_instance_norm_may_come_last() {
    let context = context();
    let (channels, spatial, samples) = (6_usize, 5_usize, 4_usize);
    let group = LayerNormDescriptor::group(6, 6, 5);
    let (problem, norm) = (group.problem(), LayerNorm::new(context.kernels(), &group).unwrap());
    let data = Data::<f32, f32>::new(&problem, samples);
    let expected = on_cpu(&problem, &data);
    // The place of each value of the other order.
    let places: Vec<usize> = (0..samples * channels * spatial)
        .map(|i| (i / (channels * spatial), i / spatial % channels, i % spatial))
        .map(|(n, c, s)| (n * spatial + s) * channels + c)
        .collect();
    let last = |values: &[f32]| -> Vec<f32> {
        let mut all = vec![0.0; values.len()];
        values.iter().zip(&places).for_each(|(value, place)| all[*place] = *value);
        all
    };
    let (rows, buffers) = ((samples * channels) as u64, Buffers::new(&context, &data, &data.gain, last));
    let place = |buffer| {
        let rows = BufferRows::from(buffer).with_stride(1).with_column_stride(channels as u64);
        rows.with_inner_rows(channels as u64, (spatial * channels) as u64)
    };
    let forward = norm.prepare_forward(&buffers.forward(rows, place)).unwrap();
    let backward = norm.prepare_backward(&buffers.backward(rows, place)).unwrap();
    let [y, dx, dgain, dbias] = buffers.run(&context, &[&forward, &backward]);
    let first = |values: &[f64]| -> Vec<f64> { places.iter().map(|place| values[*place]).collect() };
    for (what, got, expected) in [
        ("y", first(&y), &expected.y),
        ("dx", first(&dx), &expected.dx),
        ("dgain", dgain, &expected.dgain),
        ("dbias", dbias, &expected.dbias),
    ] {
        assert_close(what, &got, expected, largest(expected).max(10.0), share(Dtype::F32));
    }
}

/// Batch norm in training is instance norm of one sample, the batch, whose channels come last.
#[test]
fn batch_norm_of_a_batch_is_one_sample() {
    let context = context();
    let (samples, channels) = (37_usize, 6_usize);
    let descriptor = LayerNormDescriptor::group(6, 6, 37);
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let (x, gain, bias) = (values(1, samples * channels), values(2, channels), values(3, channels));
    let expected: Vec<f64> = (0..samples * channels)
        .map(|i| {
            let of_channel = || (0..samples).map(|n| f64::from(x[n * channels + i % channels]));
            let mean = of_channel().sum::<f64>() / samples as f64;
            let variance = of_channel().map(|x| (x - mean).powi(2)).sum::<f64>() / samples as f64;
            let xhat = (f64::from(x[i]) - mean) / (variance + f64::from(descriptor.eps)).sqrt();
            f64::from(gain[i % channels]) * xhat + f64::from(bias[i % channels])
        })
        .collect();
    let [x, y, gain, bias] = [&x, &x, &gain, &bias].map(|values| buffer(&context, values));
    let place = |buffer| BufferRows::from(buffer).with_stride(1).with_column_stride(channels as u64);
    let forward = norm
        .prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            ..ForwardBuffers::new(channels as u64, place(&x), place(&y))
        })
        .unwrap();
    let results = run(&context, &[&forward], &[&y]);
    let got: Vec<f64> = results[0].iter().map(|bits| f64::from(f32::from_bits(*bits))).collect();
    assert_close("y", &got, &expected, largest(&expected), share(Dtype::F32));
}
