//! Modulation (adaLN): a gain and a bias for each sample, as scale and shift are, often chunks of one tensor.
//! Against the formulas in float64, written out here.

mod support;

use half::{bf16, f16};
use support::{assert_close, buffer, buffer_of_bytes, context, mixed_values, recorded, run, run_bytes, wide};
use wgpu_layernorm::plan::{AdapterKind, Backward, Forward, RowSplit};
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, BufferVector, Channels, Context, Dtype, Element, ForwardBuffers,
    Gradient, LayerNorm, LayerNormDescriptor, Normalization, Prepared, WarmOptions, wgpu,
};

const EPS: f32 = 1e-6;

/// Rows of samples, and the rows of a tensor whose chunks are shift, scale and more.
#[derive(Clone, Copy, Debug)]
struct Modulated {
    samples: usize,
    tokens: usize,
    cols: usize,
    chunks: usize,
    normalization: Normalization,
    row_split: RowSplit,
}

/// Where scale and shift begin among the chunks.
const SHIFT: usize = 0;
const SCALE: usize = 1;

impl Modulated {
    const fn new(samples: usize, tokens: usize, cols: usize, chunks: usize) -> Self {
        let (normalization, row_split) = (Normalization::Layer, RowSplit::Never);
        Self { samples, tokens, cols, chunks, normalization, row_split }
    }

    const fn rows(self) -> usize {
        self.samples * self.tokens
    }

    const fn chunk(self, sample: usize, chunk: usize) -> usize {
        (sample * self.chunks + chunk) * self.cols
    }

    fn of(self, buffer: &wgpu::Buffer, chunk: usize) -> BufferVector<'_> {
        BufferVector::at_element(buffer, self.chunk(0, chunk) as u64)
            .with_row_stride((self.chunks * self.cols) as u64)
    }

    fn norm(self, context: &Context, dtype: Dtype) -> LayerNorm {
        let [samples, cols] = [self.samples, self.cols].map(|count| u32::try_from(count).unwrap());
        let descriptor = LayerNormDescriptor {
            cols,
            dtype,
            parameter_dtype: Some(Dtype::F32),
            normalization: self.normalization,
            affine: Affine::ZeroCenteredGainBias,
            channels: Some(Channels::of_samples(samples, cols)),
            eps: EPS,
            row_split: self.row_split,
            ..LayerNormDescriptor::default()
        };
        LayerNorm::new(context.kernels(), &descriptor).unwrap()
    }
}

#[derive(Debug)]
struct Expected {
    y: Vec<f64>,
    statistics: Vec<f64>,
    dx: Vec<f64>,
    /// As `modulation` lies, with dscale and dshift in place of what is there.
    gradients: Vec<f64>,
}

/// `y = (1 + scale) * xhat + shift`, row by row, and the gradients of it.
fn expected(of: Modulated, x: &[f64], dy: &[f64], modulation: &[f32], before: &[f32]) -> Expected {
    let Modulated { tokens, cols, .. } = of;
    let centered = if of.normalization == Normalization::Layer { 1.0 } else { 0.0 };
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / cols as f64;
    let mut all = Expected {
        y: Vec::new(),
        statistics: Vec::new(),
        dx: Vec::new(),
        gradients: before.iter().map(|value| f64::from(*value)).collect(),
    };
    for sample in 0..of.samples {
        for chunk in [SHIFT, SCALE] {
            all.gradients[of.chunk(sample, chunk)..][..cols].fill(0.0);
        }
    }
    for (row, (x, dy)) in x.chunks(cols).zip(dy.chunks(cols)).enumerate() {
        let sample = row / tokens;
        let chunk = |which: usize| &modulation[of.chunk(sample, which)..][..cols];
        let mean = centered * mean_of(x);
        let squares: Vec<f64> = x.iter().map(|x| (x - mean).powi(2)).collect();
        let rstd = 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt();
        let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * rstd).collect();
        let factors: Vec<f64> = chunk(SCALE).iter().map(|scale| 1.0 + f64::from(*scale)).collect();
        let dxhat: Vec<f64> = dy.iter().zip(&factors).map(|(dy, factor)| dy * factor).collect();
        let products: Vec<f64> = dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat).collect();
        let means = [centered * mean_of(&dxhat), mean_of(&products)];
        for c in 0..cols {
            all.y.push(xhat[c] * factors[c] + f64::from(chunk(SHIFT)[c]));
            all.dx.push(rstd * (dxhat[c] - means[0] - xhat[c] * means[1]));
            all.gradients[of.chunk(sample, SCALE) + c] += dy[c] * xhat[c];
            all.gradients[of.chunk(sample, SHIFT) + c] += dy[c];
        }
        all.statistics.extend([mean, rstd]);
    }
    all
}

fn narrow<T: Element>(seed: u32, count: usize) -> Vec<T> {
    mixed_values(seed, count).into_iter().map(|value| T::from_f64(value.into())).collect()
}

/// What forward and backward are over, with scale, shift and their gradients as chunks of one tensor each.
struct Tensors {
    /// x, dy, y and dx.
    rows: [wgpu::Buffer; 4],
    modulation: wgpu::Buffer,
    gradients: wgpu::Buffer,
    statistics: wgpu::Buffer,
}

impl Tensors {
    fn new(
        context: &Context,
        of: Modulated,
        rows: [wgpu::Buffer; 4],
        [modulation, gradients]: [&[f32]; 2],
    ) -> Self {
        let [modulation, gradients] = [modulation, gradients].map(|values| buffer(context, values));
        Self { rows, modulation, gradients, statistics: buffer(context, &mixed_values(5, 2 * of.rows())) }
    }

    /// Forward, and backward from its statistics.
    fn prepare(&self, of: Modulated, norm: &LayerNorm) -> [Prepared; 2] {
        let Self { rows: [x, dy, y, dx], modulation, gradients, statistics } = self;
        let rows = of.rows() as u64;
        let forward = norm.prepare_forward(&ForwardBuffers {
            gain: Some(of.of(modulation, SCALE)),
            bias: Some(of.of(modulation, SHIFT)),
            statistics: Some(statistics.into()),
            ..ForwardBuffers::new(rows, x, y)
        });
        let backward = norm.prepare_backward(&BackwardBuffers {
            gain: Some(of.of(modulation, SCALE)),
            dx: Some(dx.into()),
            dgain: Some(of.of(gradients, SCALE)),
            dbias: Some(of.of(gradients, SHIFT)),
            ..BackwardBuffers::new(rows, x, dy, statistics)
        });
        [forward.unwrap(), backward.unwrap()]
    }
}

/// Forward and backward.
fn check<T: Element>(context: &Context, of: Modulated) {
    let count = of.rows() * of.cols;
    let (x, dy) = (narrow::<T>(1, count), narrow::<T>(2, count));
    let in_chunks = of.samples * of.chunks * of.cols;
    let (modulation, before) = (mixed_values(3, in_chunks), mixed_values(4, in_chunks));
    let expected = expected(of, &wide(&x), &wide(&dy), &modulation, &before);
    let upload = |values: &[T]| buffer_of_bytes(context, bytemuck::cast_slice(values));
    let rows = [&x, &dy, &x, &x].map(|values| upload(values));
    let tensors = Tensors::new(context, of, rows, [&modulation, &before]);
    let [forward, backward] = tensors.prepare(of, &of.norm(context, T::DTYPE));
    let Tensors { rows: [_, _, y, dx], gradients, statistics, .. } = &tensors;
    if of.row_split == RowSplit::Never {
        assert_eq!((forward.dispatch_count(), backward.dispatch_count()), (1, 2), "{of:?}");
    }
    let outputs = [y, dx, statistics, gradients];
    let after = run_bytes(context, &[&forward, &backward], &outputs);
    let rows_of = |bytes: &[u8]| -> Vec<f64> { wide(&bytemuck::pod_collect_to_vec::<u8, T>(bytes)[..count]) };
    let floats = |bytes: &[u8]| -> Vec<f64> { wide(&bytemuck::pod_collect_to_vec::<u8, f32>(bytes)) };
    // A rounding of the storage, and some of float32.
    let share = 2.0 * T::DTYPE.unit_roundoff() + 1e-6;
    assert_close(&format!("y of {of:?}"), &rows_of(&after[0]), &expected.y, share);
    assert_close(&format!("dx of {of:?}"), &rows_of(&after[1]), &expected.dx, share);
    assert_close(&format!("statistics of {of:?}"), &floats(&after[2]), &expected.statistics, 1e-6);
    // With what lies between the chunks.
    assert_close(&format!("gradients of {of:?}"), &floats(&after[3]), &expected.gradients, 1e-5);
}

/// The six chunks of a diffusion transformer, three of a single block, one sample, as many samples as tokens;
/// a modulation for each token; odd columns, and rows of two columns.
const SHAPES: [Modulated; 6] = [
    Modulated::new(2, 37, 64, 6),
    Modulated::new(3, 5, 384, 3),
    Modulated::new(1, 21, 37, 2),
    Modulated::new(8, 8, 7, 2),
    Modulated::new(50, 1, 48, 6),
    Modulated::new(4, 9, 2, 2),
];

#[test]
fn scale_and_shift_are_chunks_of_one_tensor() {
    let context = context();
    for of in SHAPES {
        for normalization in [Normalization::Layer, Normalization::Rms] {
            let of = Modulated { normalization, ..of };
            check::<f32>(&context, of);
            check::<f16>(&context, of);
            check::<bf16>(&context, of);
        }
    }
}

/// Held and walked, by a workgroup and by several a row, with many slots a sample and with few; on what the
/// adapter has, and with the plans of a GPU.
#[test]
fn modulations_hold_on_every_kernel() {
    let adapter = context();
    let gpu = adapter.clone().with_ladder(AdapterKind::Gpu);
    for context in [&adapter, &gpu] {
        check::<f32>(context, Modulated::new(3, 700, 64, 6));
        check::<f32>(context, Modulated::new(2, 9, 12_345, 2));
        check::<bf16>(context, Modulated::new(2, 130, 1152, 6));
        check::<f32>(context, Modulated { row_split: RowSplit::Wide, ..Modulated::new(2, 5, 20_000, 2) });
    }
}

/// A sample has the bits that a call over it alone has, whose gain and bias all rows share.
#[test]
fn a_sample_has_the_bits_of_a_call_of_its_own() {
    let context = context();
    let of = Modulated::new(3, 11, 256, 6);
    let [x, modulation] = [(1, of.rows() * of.cols), (2, of.samples * of.chunks * of.cols)]
        .map(|(seed, count)| buffer(&context, &mixed_values(seed, count)));
    let [together, apart] = [3, 4].map(|seed| buffer(&context, &mixed_values(seed, of.rows() * of.cols)));
    let modulated = of.norm(&context, Dtype::F32).prepare_forward(&ForwardBuffers {
        gain: Some(of.of(&modulation, SCALE)),
        bias: Some(of.of(&modulation, SHIFT)),
        ..ForwardBuffers::new(of.rows() as u64, &x, &together)
    });
    let plain = LayerNormDescriptor {
        cols: 256,
        affine: Affine::ZeroCenteredGainBias,
        eps: EPS,
        ..LayerNormDescriptor::default()
    };
    let plain = LayerNorm::new(context.kernels(), &plain).unwrap();
    let of_samples: Vec<_> = (0..of.samples)
        .map(|sample| {
            let first = (sample * of.tokens * of.cols) as u64;
            let chunk = |which| BufferVector::at_element(&modulation, of.chunk(sample, which) as u64);
            let rows = |buffer| BufferRows::at_element(buffer, first);
            plain.prepare_forward(&ForwardBuffers {
                gain: Some(chunk(SCALE)),
                bias: Some(chunk(SHIFT)),
                ..ForwardBuffers::new(of.tokens as u64, rows(&x), rows(&apart))
            })
        })
        .collect::<Result<_, _>>()
        .unwrap();
    let calls: Vec<_> = of_samples.iter().chain([modulated.as_ref().unwrap()]).collect();
    let after = run(&context, &calls, &[&together, &apart]);
    assert_eq!(after[0], after[1]);
}

/// Fewer rows are fewer tokens of each sample, whose places stay.
#[test]
fn fewer_rows_are_fewer_tokens_of_each_sample() {
    let context = context();
    let of = Modulated::new(3, 40, 24, 2);
    let count = of.rows() * of.cols;
    let (x, dy) = (mixed_values(1, count), mixed_values(2, count));
    let in_chunks = of.samples * of.chunks * of.cols;
    let (modulation, before) = (mixed_values(3, in_chunks), mixed_values(4, in_chunks));
    let norm = of.norm(&context, Dtype::F32);
    let rows =
        [&x, &dy, &mixed_values(6, count), &mixed_values(7, count)].map(|values| buffer(&context, values));
    let tensors = Tensors::new(&context, of, rows, [&modulation, &before]);
    let [forward, backward] = tensors.prepare(of, &norm);
    let Tensors { rows: [_, _, y, dx], gradients, .. } = &tensors;
    for tokens in [17, 40, 1] {
        let is_there = |element: usize| element / of.cols % of.tokens < tokens;
        let first = |values: &[f32]| -> Vec<f64> {
            (0..count).filter(|i| is_there(*i)).map(|i| f64::from(values[i])).collect()
        };
        let fewer = Modulated { tokens, ..of };
        let expected = expected(fewer, &first(&x), &first(&dy), &modulation, &before);
        support::write(&context, y, &mixed_values(6, count));
        support::write(&context, gradients, &before);
        let commands = recorded(&context, |pass| {
            for call in [&forward, &backward] {
                call.record_rows(pass, fewer.rows() as u64).unwrap();
            }
        });
        context.queue().submit([commands]);
        let after = run(&context, &[], &[y, dx, gradients]);
        let [y, dx, gradients] =
            [0, 1, 2].map(|i| after[i].iter().map(|bits| f32::from_bits(*bits)).collect::<Vec<f32>>());
        assert_close("y", &first(&y), &expected.y, 1e-6);
        assert_close("dx", &first(&dx), &expected.dx, 1e-6);
        assert_close("gradients", &wide(&gradients), &expected.gradients, 1e-5);
        let untouched = mixed_values(6, count);
        assert!((0..count).filter(|i| !is_there(*i)).all(|i| y[i].to_bits() == untouched[i].to_bits()));
    }
}

#[test]
fn any_number_of_samples_shares_what_was_warmed() {
    // On a GPU the sums of few samples are added up by other kernels than those of many.
    let context = context().with_ladder(AdapterKind::Software);
    let overwrite = Some(Gradient::Overwrite);
    Modulated::new(2, 1, 64, 6)
        .norm(&context, Dtype::F32)
        .warm(&WarmOptions {
            forward: &[Forward { statistics: true, ..Forward::default() }],
            backward: &[Backward {
                dx: overwrite,
                dgain: overwrite,
                dbias: overwrite,
                ..Backward::default()
            }],
            sums_apart: true,
            ..WarmOptions::default()
        })
        .unwrap();
    let warmed = context.kernels().pipelines();
    assert_eq!(warmed, 3);
    check::<f32>(&context, Modulated::new(2, 37, 64, 6));
    assert_eq!(context.kernels().pipelines(), warmed);
    check::<f32>(&context, Modulated::new(7, 3, 64, 6));
    assert_eq!(context.kernels().pipelines(), warmed);
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let context = context();
    let of = Modulated::new(4, 5, 16, 2);
    let norm = of.norm(&context, Dtype::F32);
    let x = buffer(&context, &mixed_values(1, 20 * 16));
    let modulation = buffer(&context, &mixed_values(2, 4 * 32));
    let with = |rows: u64, x: BufferRows<'_>, gain: BufferVector<'_>| {
        let buffers = ForwardBuffers {
            gain: Some(gain),
            bias: Some(of.of(&modulation, SHIFT)),
            ..ForwardBuffers::new(rows, x, x)
        };
        norm.prepare_forward(&buffers).unwrap_err().to_string()
    };
    let rows = || BufferRows::at_element(&x, 0);
    let scale = || of.of(&modulation, SCALE);
    for (error, says) in [
        (with(18, rows(), scale()), ["rows is 18", "a multiple of 4: as many of each sample"]),
        (with(20, rows().with_inner_rows(4, 64), scale()), ["x.inner_rows is 4", "needs to be none"]),
        (with(20, rows(), scale().with_row_stride(15)), ["gain.row_stride is 15", "at least cols, 16"]),
        (with(20, rows(), scale().with_row_stride(100)), ["gain", "1328"]),
    ] {
        assert!(says.iter().all(|part| error.contains(part)), "{error}: {says:?}");
    }
    let plain = LayerNormDescriptor { affine: Affine::None, ..LayerNormDescriptor::rms(16) };
    let plain = LayerNorm::new(context.kernels(), &plain).unwrap();
    let row_gain = Some(BufferVector::at_element(&modulation, 0).with_row_stride(2));
    let buffers = ForwardBuffers { row_gain, ..ForwardBuffers::new(20, rows(), rows()) };
    let error = plain.prepare_forward(&buffers).unwrap_err().to_string();
    assert!(error.contains("row_gain.row_stride is 2"), "{error}");
    let plain = LayerNorm::new(context.kernels(), &LayerNormDescriptor::rms(16)).unwrap();
    let error = plain
        .prepare_forward(&ForwardBuffers { gain: Some(scale()), ..ForwardBuffers::new(20, rows(), rows()) })
        .unwrap_err()
        .to_string();
    assert!(error.contains("gain.row_stride is 32") && error.contains("channels"), "{error}");
    let channels = Some(Channels::of_samples(4, 1));
    let descriptor = LayerNormDescriptor { channels, ..LayerNormDescriptor::rms(1) };
    let error = LayerNorm::new(context.kernels(), &descriptor).unwrap_err().to_string();
    assert!(error.contains("2 or more columns"), "{error}");
}
