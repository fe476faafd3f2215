//! A gate: `sum = residual + gate * x` is normalized, with a gate of each sample or token as a chunk of the
//! tensor that has scale and shift too, or of each column. Against the formulas in float64, written out here.

mod support;

use half::{bf16, f16};
use support::{
    assert_close, buffer, buffer_of_bytes, context, context_with, mixed_values, recorded, run, run_bytes,
    wide,
};
use wgpu_layernorm::plan::{AdapterKind, RowSplit};
use wgpu_layernorm::{
    Activation, Affine, BackwardBuffers, BackwardInputs, BufferRows, BufferVector, Channels, Context, Dtype,
    Element, ForwardBuffers, ForwardInputs, Gradient, LayerNorm, LayerNormDescriptor, Normalization,
    Prepared, Problem, Real, Rows, wgpu,
};

const EPS: f32 = 1e-6;

/// What gain and bias are beside the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    /// There are none.
    Nothing,
    /// Scale and shift of each sample, chunks of the gate's tensor.
    Modulation,
    /// One gain and one bias of each column.
    Affine,
}

/// Whose the gate is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Sample,
    /// One row for all.
    Column,
}

#[derive(Clone, Copy, Debug)]
struct Gated {
    samples: usize,
    tokens: usize,
    cols: usize,
    beside: Beside,
    whose: Whose,
    normalization: Normalization,
    row_split: RowSplit,
    parameter_gradient: Gradient,
}

/// Chunks of the modulation's rows, in this order.
const SHIFT: usize = 0;
const SCALE: usize = 1;
const GATE: usize = 2;
const CHUNKS: usize = 3;

impl Gated {
    const fn new(samples: usize, tokens: usize, cols: usize, beside: Beside) -> Self {
        Self {
            samples,
            tokens,
            cols,
            beside,
            whose: Whose::Sample,
            normalization: Normalization::Layer,
            row_split: RowSplit::Never,
            parameter_gradient: Gradient::Overwrite,
        }
    }

    const fn rows(self) -> usize {
        self.samples * self.tokens
    }

    const fn count(self) -> usize {
        self.rows() * self.cols
    }

    fn rows_of<T>(self, data: &[T]) -> Rows<'_, T> {
        Rows { data, stride: self.cols }
    }

    /// Rows of the tensor that the gate is a chunk of.
    fn modulations(self) -> usize {
        if self.whose == Whose::Sample { self.samples } else { 1 }
    }

    fn sample_of(self, row: usize) -> usize {
        if self.whose == Whose::Sample { row / self.tokens } else { 0 }
    }

    const fn chunk(self, sample: usize, chunk: usize) -> usize {
        (sample * CHUNKS + chunk) * self.cols
    }

    fn of(self, buffer: &wgpu::Buffer, chunk: usize) -> BufferVector<'_> {
        let whole = BufferVector::at_element(buffer, self.chunk(0, chunk) as u64);
        match self.whose {
            Whose::Sample => whole.with_row_stride((CHUNKS * self.cols) as u64),
            Whose::Column => whole,
        }
    }

    fn problem(self, dtype: Dtype) -> Problem {
        let [samples, cols] = [self.samples, self.cols].map(|count| u32::try_from(count).unwrap());
        let channels = match (self.whose, self.beside) {
            (Whose::Column, _) => None,
            (Whose::Sample, Beside::Affine) => Some(Channels::of_gates(samples, cols)),
            (Whose::Sample, _) => Some(Channels::of_samples(samples, cols)),
        };
        let affine = match self.beside {
            Beside::Nothing => Affine::None,
            Beside::Modulation => Affine::ZeroCenteredGainBias,
            Beside::Affine => Affine::GainBias,
        };
        Problem {
            cols,
            dtype,
            parameter_dtype: Dtype::F32,
            normalization: self.normalization,
            affine,
            channels,
            eps: EPS,
            ..Problem::default()
        }
    }

    fn norm(self, context: &Context, dtype: Dtype) -> LayerNorm {
        let problem = self.problem(dtype);
        let descriptor = LayerNormDescriptor {
            cols: problem.cols,
            dtype,
            parameter_dtype: Some(problem.parameter_dtype),
            normalization: problem.normalization,
            affine: problem.affine,
            channels: problem.channels,
            eps: EPS,
            row_split: self.row_split,
            ..LayerNormDescriptor::default()
        };
        LayerNorm::new(context.kernels(), &descriptor).unwrap()
    }
}

/// What a call is given.
#[derive(Clone)]
struct Data {
    x: Vec<f64>,
    residual: Vec<f64>,
    dy: Vec<f64>,
    dsum: Vec<f64>,
    /// Shift, scale and gate of each sample.
    modulation: Vec<f32>,
    gain: Vec<f32>,
    bias: Vec<f32>,
}

impl Data {
    fn new<T: Element>(of: Gated) -> Self {
        let rows = |seed| {
            mixed_values(seed, of.count())
                .into_iter()
                .map(|value| T::from_f64(value.into()).to_f64())
                .collect()
        };
        let mut modulation = mixed_values(5, of.modulations() * CHUNKS * of.cols);
        // Where training begins a gate is 0.
        modulation[of.chunk(0, GATE)] = 0.0;
        let [gain, bias] = [6, 7].map(|seed| mixed_values(seed, of.cols));
        Self { x: rows(1), residual: rows(2), dy: rows(3), dsum: rows(4), modulation, gain, bias }
    }
}

#[derive(Clone, Debug, Default)]
struct Expected {
    sum: Vec<f64>,
    y: Vec<f64>,
    statistics: Vec<f64>,
    dx: Vec<f64>,
    dbranch: Vec<f64>,
    /// As `modulation` lies.
    modulation: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

/// Row by row, with the sum rounded to `T`.
fn expected<T: Element>(of: Gated, data: &Data) -> Expected {
    let cols = of.cols;
    let centered = if of.normalization == Normalization::Layer { 1.0 } else { 0.0 };
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / cols as f64;
    let mut all = Expected {
        modulation: vec![0.0; data.modulation.len()],
        dgain: vec![0.0; cols],
        dbias: vec![0.0; cols],
        ..Expected::default()
    };
    for row in 0..of.rows() {
        let sample = of.sample_of(row);
        let chunk = |which| of.chunk(sample, which);
        let of_row = |values: &[f64]| -> Vec<f64> { values[row * cols..][..cols].to_vec() };
        let (x, residual, dy, dsum) =
            (of_row(&data.x), of_row(&data.residual), of_row(&data.dy), of_row(&data.dsum));
        let gates = &data.modulation[chunk(GATE)..][..cols];
        let sum: Vec<f64> =
            (0..cols).map(|c| T::from_f64(residual[c] + f64::from(gates[c]) * x[c]).to_f64()).collect();
        let mean = centered * mean_of(&sum);
        let squares: Vec<f64> = sum.iter().map(|sum| (sum - mean).powi(2)).collect();
        let rstd = 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt();
        let xhat: Vec<f64> = sum.iter().map(|sum| (sum - mean) * rstd).collect();
        let factor = |c: usize| match of.beside {
            Beside::Nothing => 1.0,
            Beside::Modulation => 1.0 + f64::from(data.modulation[chunk(SCALE) + c]),
            Beside::Affine => f64::from(data.gain[c]),
        };
        let summand = |c: usize| match of.beside {
            Beside::Nothing => 0.0,
            Beside::Modulation => f64::from(data.modulation[chunk(SHIFT) + c]),
            Beside::Affine => f64::from(data.bias[c]),
        };
        let dxhat: Vec<f64> = (0..cols).map(|c| dy[c] * factor(c)).collect();
        let products: Vec<f64> = dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat).collect();
        let means = [centered * mean_of(&dxhat), mean_of(&products)];
        for c in 0..cols {
            all.y.push(xhat[c] * factor(c) + summand(c));
            let dx = rstd * (dxhat[c] - means[0] - xhat[c] * means[1]) + dsum[c];
            all.dx.push(dx);
            all.dbranch.push(f64::from(gates[c]) * dx);
            all.modulation[chunk(GATE) + c] += dx * x[c];
            if of.beside == Beside::Modulation {
                all.modulation[chunk(SCALE) + c] += dy[c] * xhat[c];
                all.modulation[chunk(SHIFT) + c] += dy[c];
            }
            all.dgain[c] += dy[c] * xhat[c];
            all.dbias[c] += dy[c];
        }
        all.sum.extend(sum);
        all.statistics.extend([mean, rstd]);
    }
    all
}

/// What forward and backward are over.
struct Tensors {
    x: wgpu::Buffer,
    residual: wgpu::Buffer,
    sum: wgpu::Buffer,
    y: wgpu::Buffer,
    statistics: wgpu::Buffer,
    dy: wgpu::Buffer,
    dsum: wgpu::Buffer,
    dx: wgpu::Buffer,
    dbranch: wgpu::Buffer,
    modulation: wgpu::Buffer,
    gradients: wgpu::Buffer,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    dgain: wgpu::Buffer,
    dbias: wgpu::Buffer,
}

/// What gradients of parameters had before.
const BEFORE: u32 = 9;

impl Tensors {
    fn new<T: Element>(context: &Context, of: Gated, data: &Data) -> Self {
        let narrow = |values: &[f64]| -> Vec<T> { values.iter().map(|value| T::from_f64(*value)).collect() };
        let rows = |values: &[f64]| buffer_of_bytes(context, bytemuck::cast_slice(&narrow(values)));
        let floats = |values: &[f32]| buffer(context, values);
        // Something that no result is.
        let poison = || rows(&vec![77.0; of.count()]);
        Self {
            x: rows(&data.x),
            residual: rows(&data.residual),
            sum: poison(),
            y: poison(),
            statistics: floats(&vec![77.0; 2 * of.rows()]),
            dy: rows(&data.dy),
            dsum: rows(&data.dsum),
            dx: poison(),
            dbranch: poison(),
            modulation: floats(&data.modulation),
            gradients: floats(&mixed_values(BEFORE, data.modulation.len())),
            gain: floats(&data.gain),
            bias: floats(&data.bias),
            dgain: floats(&mixed_values(BEFORE, of.cols)),
            dbias: floats(&mixed_values(BEFORE, of.cols)),
        }
    }

    /// One of the modulation's rows, or one of columns.
    fn parameter<'a>(
        &self,
        of: Gated,
        modulation: &'a wgpu::Buffer,
        chunk: usize,
        own: &'a wgpu::Buffer,
    ) -> Option<BufferVector<'a>> {
        match of.beside {
            Beside::Nothing => None,
            Beside::Modulation => Some(of.of(modulation, chunk)),
            Beside::Affine => Some(own.into()),
        }
    }

    fn forward(&self, of: Gated) -> ForwardBuffers<'_> {
        ForwardBuffers {
            residual: Some((&self.residual).into()),
            gate: Some(of.of(&self.modulation, GATE)),
            gain: self.parameter(of, &self.modulation, SCALE, &self.gain),
            bias: self.parameter(of, &self.modulation, SHIFT, &self.bias),
            sum: Some((&self.sum).into()),
            statistics: Some((&self.statistics).into()),
            ..ForwardBuffers::new(of.rows() as u64, &self.x, &self.y)
        }
    }

    fn backward(&self, of: Gated) -> BackwardBuffers<'_> {
        BackwardBuffers {
            branch: Some((&self.x).into()),
            gate: Some(of.of(&self.modulation, GATE)),
            gain: self.parameter(of, &self.modulation, SCALE, &self.gain),
            dsum: Some((&self.dsum).into()),
            dx: Some((&self.dx).into()),
            dbranch: Some((&self.dbranch).into()),
            dgate: Some(of.of(&self.gradients, GATE)),
            dgain: self.parameter(of, &self.gradients, SCALE, &self.dgain),
            dbias: self.parameter(of, &self.gradients, SHIFT, &self.dbias),
            parameter_gradient: of.parameter_gradient,
            ..BackwardBuffers::new(of.rows() as u64, &self.sum, &self.dy, &self.statistics)
        }
    }

    fn prepare(&self, of: Gated, norm: &LayerNorm) -> [Prepared; 2] {
        let forward = norm.prepare_forward(&self.forward(of)).unwrap();
        let backward = norm.prepare_backward(&self.backward(of)).unwrap();
        [forward, backward]
    }
}

/// What the parameters' gradients are expected to be, with what was there.
fn added(of: Gated, gradients: &[f64], is_written: impl Fn(usize) -> bool) -> Vec<f64> {
    let before = mixed_values(BEFORE, gradients.len());
    let value = |i: usize| match (is_written(i), of.parameter_gradient) {
        (false, _) => f64::from(before[i]),
        (true, Gradient::Overwrite) => gradients[i],
        (true, Gradient::Accumulate) => f64::from(before[i]) + gradients[i],
    };
    (0..gradients.len()).map(value).collect()
}

/// Forward and backward.
fn check<T: Element>(context: &Context, of: Gated) {
    let data = Data::new::<T>(of);
    let expected = expected::<T>(of, &data);
    let tensors = Tensors::new::<T>(context, of, &data);
    let [forward, backward] = tensors.prepare(of, &of.norm(context, T::DTYPE));
    let outputs = [
        &tensors.sum,
        &tensors.y,
        &tensors.dx,
        &tensors.dbranch,
        &tensors.statistics,
        &tensors.gradients,
        &tensors.dgain,
        &tensors.dbias,
    ];
    let after = run_bytes(context, &[&forward, &backward], &outputs);
    let rows_of =
        |bytes: &[u8]| -> Vec<f64> { wide(&bytemuck::pod_collect_to_vec::<u8, T>(bytes)[..of.count()]) };
    let floats = |bytes: &[u8]| -> Vec<f64> { wide(&bytemuck::pod_collect_to_vec::<u8, f32>(bytes)) };
    // A sum of 16 bits that lies halfway between two may be rounded to either: one rounding of it, of y and
    // of gradients, and some of float32.
    let share = 2.0 * T::DTYPE.unit_roundoff() + 2e-6;
    let what = |tensor: &str| format!("{tensor} of {of:?} in {}", T::DTYPE);
    assert_close(&what("sum"), &rows_of(&after[0]), &expected.sum, share);
    assert_close(&what("y"), &rows_of(&after[1]), &expected.y, share);
    assert_close(&what("dx"), &rows_of(&after[2]), &expected.dx, share);
    assert_close(&what("dbranch"), &rows_of(&after[3]), &expected.dbranch, share);
    assert_close(&what("statistics"), &floats(&after[4]), &expected.statistics, share);
    // What lies between the chunks stays.
    let is_written = |i: usize| {
        let which = i / of.cols % CHUNKS;
        which == GATE || of.beside == Beside::Modulation
    };
    let of_parameters = share / 8.0 + 1e-5;
    let gradients = added(of, &expected.modulation, is_written);
    assert_close(&what("gradients"), &floats(&after[5]), &gradients, of_parameters);
    let is_own = |_| of.beside == Beside::Affine;
    assert_close(&what("dgain"), &floats(&after[6]), &added(of, &expected.dgain, is_own), of_parameters);
    assert_close(&what("dbias"), &floats(&after[7]), &added(of, &expected.dbias, is_own), of_parameters);
}

const BESIDE: [Beside; 3] = [Beside::Nothing, Beside::Modulation, Beside::Affine];

/// Samples, tokens and columns of each kind: diffusion transformers, one sample, a gate for each token, odd
/// columns, rows of two.
const SHAPES: [(usize, usize, usize); 6] =
    [(2, 37, 64), (3, 5, 384), (1, 21, 37), (8, 8, 7), (50, 1, 48), (4, 9, 2)];

#[test]
fn a_gate_is_that_of_a_sample_or_token() {
    let context = context();
    for (samples, tokens, cols) in SHAPES {
        for beside in BESIDE {
            check::<f32>(&context, Gated::new(samples, tokens, cols, beside));
        }
    }
}

#[test]
fn gates_hold_in_every_type_and_norm() {
    let context = context();
    for beside in BESIDE {
        let of = Gated::new(3, 21, 96, beside);
        check::<f16>(&context, of);
        check::<bf16>(&context, Gated { cols: 37, ..of });
        check::<f32>(&context, Gated { parameter_gradient: Gradient::Accumulate, ..of });
        check::<f16>(&context, Gated { normalization: Normalization::Rms, ..Gated::new(50, 1, 48, beside) });
    }
}

#[test]
fn a_gate_of_each_column_serves_all_rows() {
    let context = context();
    for beside in BESIDE {
        let of = Gated { whose: Whose::Column, ..Gated::new(1, 37, 64, beside) };
        check::<f32>(&context, of);
        check::<bf16>(&context, Gated { cols: 37, ..of });
    }
}

/// Held and walked, by a workgroup and by several a row, with many slots a sample and with few; on what the
/// adapter has, and with the plans of a GPU.
#[test]
fn gates_hold_on_every_kernel() {
    let adapter = context();
    let gpu = adapter.clone().with_ladder(AdapterKind::Gpu);
    for context in [&adapter, &gpu] {
        for beside in BESIDE {
            check::<f32>(context, Gated::new(3, 300, 64, beside));
            check::<f32>(context, Gated::new(2, 9, 12_345, beside));
            check::<bf16>(context, Gated::new(2, 70, 1152, beside));
            check::<f32>(context, Gated { row_split: RowSplit::Wide, ..Gated::new(2, 5, 20_000, beside) });
        }
    }
}

/// What is not wanted is not made: dbranch and dgate of their own, and the rest without them, have the bits
/// that they have together. So has a sum that nobody wants written.
#[test]
fn each_gradient_has_its_bits_whatever_else_is_wanted() {
    let context = context();
    let of = Gated::new(3, 11, 100, Beside::Modulation);
    let data = Data::new::<f32>(of);
    let tensors = Tensors::new::<f32>(&context, of, &data);
    let norm = of.norm(&context, Dtype::F32);
    let [forward, backward] = tensors.prepare(of, &norm);
    let outputs = [&tensors.y, &tensors.dx, &tensors.dbranch, &tensors.gradients];
    let together = run(&context, &[&forward, &backward], &outputs);
    let all = tensors.backward(of);
    let without_sum = norm.prepare_forward(&ForwardBuffers { sum: None, ..tensors.forward(of) }).unwrap();
    let of_branch = BackwardBuffers { dx: None, dgate: None, branch: None, dgain: None, dbias: None, ..all };
    let of_gate = BackwardBuffers { dx: None, dbranch: None, gate: None, dgain: None, dbias: None, ..all };
    let of_rest = BackwardBuffers { dbranch: None, gate: None, dgate: None, branch: None, ..all };
    for (call, which) in [
        (without_sum, 0),
        (norm.prepare_backward(&of_rest).unwrap(), 1),
        (norm.prepare_backward(&of_branch).unwrap(), 2),
        (norm.prepare_backward(&of_gate).unwrap(), 3),
    ] {
        let poison = vec![77.0; of.count()];
        [&tensors.y, &tensors.dx, &tensors.dbranch]
            .iter()
            .for_each(|buffer| support::write(&context, buffer, &poison));
        let alone = run(&context, &[&call], &outputs);
        assert_eq!(alone[which], together[which], "output {which}");
    }
}

/// dx that accumulates holds what reaches the sum on other ways: dbranch and dgate have it too.
#[test]
fn what_dx_accumulates_to_reaches_the_gate() {
    let context = context();
    let of = Gated::new(2, 9, 64, Beside::Nothing);
    let data = Data::new::<f32>(of);
    let tensors = Tensors::new::<f32>(&context, of, &data);
    let [forward, with_dsum] = tensors.prepare(of, &of.norm(&context, Dtype::F32));
    let outputs = [&tensors.dx, &tensors.dbranch, &tensors.gradients];
    let beside = run(&context, &[&forward, &with_dsum], &outputs);
    let in_place = BackwardBuffers {
        dsum: None,
        dx: Some((&tensors.dsum).into()),
        dx_gradient: Gradient::Accumulate,
        ..tensors.backward(of)
    };
    let in_place = of.norm(&context, Dtype::F32).prepare_backward(&in_place).unwrap();
    let after = run(&context, &[&in_place], &[&tensors.dsum, &tensors.dbranch, &tensors.gradients]);
    assert_eq!(after, beside);
}

/// Fewer rows are fewer tokens of each sample, whose places stay.
#[test]
fn fewer_rows_are_fewer_tokens_of_each_sample() {
    let context = context();
    for beside in BESIDE {
        let of = Gated::new(3, 40, 24, beside);
        let data = Data::new::<f32>(of);
        let tensors = Tensors::new::<f32>(&context, of, &data);
        let [forward, backward] = tensors.prepare(of, &of.norm(&context, Dtype::F32));
        for tokens in [17, 40, 1] {
            let is_there = |element: usize| element / of.cols % of.tokens < tokens;
            let first = |values: &[f64]| -> Vec<f64> {
                (0..of.count()).filter(|i| is_there(*i)).map(|i| values[i]).collect()
            };
            let fewer = Gated { tokens, ..of };
            let of_fewer = Data {
                x: first(&data.x),
                residual: first(&data.residual),
                dy: first(&data.dy),
                dsum: first(&data.dsum),
                ..data.clone()
            };
            let expected = expected::<f32>(fewer, &of_fewer);
            let untouched = vec![77.0; of.count()];
            [&tensors.y, &tensors.dx, &tensors.dbranch]
                .iter()
                .for_each(|buffer| support::write(&context, buffer, &untouched));
            let commands = recorded(&context, |pass| {
                for call in [&forward, &backward] {
                    call.record_rows(pass, fewer.rows() as u64).unwrap();
                }
            });
            context.queue().submit([commands]);
            let outputs = [&tensors.y, &tensors.dx, &tensors.dbranch, &tensors.gradients, &tensors.dgain];
            let after = run(&context, &[], &outputs);
            let [y, dx, dbranch, gradients, dgain] = [0, 1, 2, 3, 4]
                .map(|i| after[i].iter().map(|bits| f64::from(f32::from_bits(*bits))).collect::<Vec<f64>>());
            assert_close("y", &first(&y), &expected.y, 2e-6);
            assert_close("dx", &first(&dx), &expected.dx, 2e-6);
            assert_close("dbranch", &first(&dbranch), &expected.dbranch, 2e-6);
            let is_gate = |i: usize| i / of.cols % CHUNKS == GATE || beside == Beside::Modulation;
            assert_close("gradients", &gradients, &added(of, &expected.modulation, is_gate), 1e-5);
            let is_own = |_| beside == Beside::Affine;
            assert_close("dgain", &dgain, &added(of, &expected.dgain, is_own), 1e-5);
            let stay = (0..of.count()).filter(|i| !is_there(*i));
            assert!(stay.into_iter().all(|i| y[i] == 77.0 && dx[i] == 77.0 && dbranch[i] == 77.0));
        }
    }
}

/// Of any number of samples and tokens a call has the pipelines of one.
#[test]
fn samples_and_tokens_share_pipelines() {
    // On a GPU the sums of few samples are added up by other kernels than those of many.
    let context = context().with_ladder(AdapterKind::Software);
    check::<f32>(&context, Gated::new(2, 37, 64, Beside::Modulation));
    let compiled = context.kernels().pipelines();
    assert_eq!(compiled, 3);
    check::<f32>(&context, Gated::new(7, 3, 64, Beside::Modulation));
    assert_eq!(context.kernels().pipelines(), compiled);
}

#[derive(Debug, serde::Deserialize)]
struct Vector {
    name: String,
    normalization: String,
    affine: String,
    samples: u32,
    tokens: u32,
    cols: u32,
    eps: f32,
    modulated: bool,
}

#[test]
fn gated_sums_come_out_as_from_pytorch() {
    let bytes = include_bytes!("vectors/torch.safetensors");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let vectors = metadata.metadata().as_ref().unwrap()["gated_sums"].clone();
    let vectors: Vec<Vector> = serde_json::from_str(&vectors).unwrap();
    assert_eq!(vectors.len(), 5);
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let context = context();
    for vector in &vectors {
        let (name, cols) = (&vector.name, vector.cols as usize);
        let raw = |tensor: &str| tensors.tensor(&format!("{name}.{tensor}"));
        let narrow = |tensor: &str| -> Vec<f32> {
            raw(tensor).map_or_else(|_| vec![], |tensor| bytemuck::pod_collect_to_vec(tensor.data()))
        };
        let exact = |tensor: &str| -> Vec<f64> {
            raw(tensor).map_or_else(|_| vec![], |tensor| bytemuck::pod_collect_to_vec(tensor.data()))
        };
        let affine: Affine = vector.affine.parse().unwrap();
        let problem = Problem {
            cols: vector.cols,
            normalization: vector.normalization.parse().unwrap(),
            affine: if vector.modulated { Affine::ZeroCenteredGainBias } else { affine },
            channels: Some(match affine {
                Affine::None => Channels::of_samples(vector.samples, vector.cols),
                _ => Channels::of_gates(vector.samples, vector.cols),
            }),
            eps: vector.eps,
            ..Problem::default()
        };
        let modulation = narrow("modulation");
        let chunk = |which: usize| -> Vec<f32> {
            modulation.chunks(cols).skip(which).step_by(CHUNKS).flatten().copied().collect()
        };
        let (gate, [scale, shift]) = (chunk(GATE), [chunk(SCALE), chunk(SHIFT)]);
        let (own_gain, own_bias) = (narrow("gain"), narrow("bias"));
        let (gain, bias) = if vector.modulated { (scale, shift) } else { (own_gain, own_bias) };
        let rows = (vector.samples * vector.tokens) as usize;
        let dense = |data| Rows { data, stride: cols };
        let [x, residual, dy, dsum, sum] = ["x", "residual", "dy", "dsum", "sum"].map(narrow);
        let forward = ForwardInputs {
            residual: Some(dense(&residual)),
            gate: Some(&gate),
            gain: problem.affine.has_gain().then_some(&gain[..]),
            bias: problem.affine.has_bias().then_some(&bias[..]),
            ..ForwardInputs::new(rows, dense(&x))
        };
        let forward = context.forward_blocking(&problem, &forward).unwrap();
        let backward = BackwardInputs {
            dsum: Some(dense(&dsum)),
            branch: Some(dense(&x)),
            gate: Some(&gate),
            gain: problem.affine.has_gain().then_some(&gain[..]),
            ..BackwardInputs::new(rows, dense(&sum), dense(&dy))
        };
        let backward = context.backward_blocking(&problem, &backward).unwrap();
        let dmodulation = exact("dmodulation");
        let gradient = |which: usize| -> Vec<f64> {
            dmodulation.chunks(cols).skip(which).step_by(CHUNKS).flatten().copied().collect()
        };
        let what = |tensor: &str| format!("{tensor} of {name}");
        let share = 1e-6;
        assert_close(&what("sum"), &wide(&forward.sum.unwrap()), &wide(&sum), share);
        assert_close(&what("y"), &wide(&forward.y), &exact("y"), share);
        assert_close(&what("dx"), &wide(&backward.dx), &exact("dx"), share);
        assert_close(&what("dbranch"), &wide(&backward.dbranch.unwrap()), &exact("dbranch"), share);
        assert_close(&what("dgate"), &wide(&backward.dgate.unwrap()), &gradient(GATE), 4.0 * share);
        let of_affine = |tensor, which| if vector.modulated { gradient(which) } else { exact(tensor) };
        let dgain = wide(&backward.dgain.unwrap_or_default());
        assert_close(&what("dgain"), &dgain, &of_affine("dgain", SCALE), 4.0 * share);
        let dbias = wide(&backward.dbias.unwrap_or_default());
        assert_close(&what("dbias"), &dbias, &of_affine("dbias", SHIFT), 4.0 * share);
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| f32::from_f64(*value)).collect()
}

/// Each gradient of the reference against central differences of the sum over `dy * y + dsum * sum`, both of
/// its own forward.
#[test]
fn the_reference_has_the_gradients_of_its_forward() {
    use wgpu_layernorm::RowsMut;
    use wgpu_layernorm::reference::{self, BackwardOutputs, ForwardOutputs};
    for beside in BESIDE {
        let of = Gated::new(2, 3, 6, beside);
        let problem = of.problem(Dtype::F32);
        let data = Data::new::<f32>(of);
        let chunk = |which: usize| -> Vec<f32> {
            data.modulation.chunks(of.cols).skip(which).step_by(CHUNKS).flatten().copied().collect()
        };
        let (gain, bias) = match beside {
            Beside::Modulation => (chunk(SCALE), chunk(SHIFT)),
            _ => (data.gain.clone(), data.bias.clone()),
        };
        let has_affine = beside != Beside::Nothing;
        let inputs = [narrow(&data.x), narrow(&data.residual), chunk(GATE), gain, bias];
        let (dy, dsum) = (narrow(&data.dy), narrow(&data.dsum));
        let run = |[x, residual, gate, gain, bias]: &[Vec<f32>; 5]| {
            let (mut y, mut sum) = (vec![0.0_f64; of.count()], vec![0.0_f32; of.count()]);
            let inputs = ForwardInputs {
                gate: Some(gate),
                gain: has_affine.then_some(&gain[..]),
                bias: has_affine.then_some(&bias[..]),
                ..ForwardInputs::with_residual(of.rows(), of.rows_of(x), of.rows_of(residual))
            };
            let outputs = ForwardOutputs {
                sum: Some(RowsMut { data: &mut sum, stride: of.cols }),
                ..ForwardOutputs::new(RowsMut { data: &mut y, stride: of.cols })
            };
            reference::forward(&problem, &inputs, outputs).unwrap();
            (y, sum)
        };
        let loss = |inputs: &[Vec<f32>; 5]| -> f64 {
            let (y, sum) = run(inputs);
            let of_y: f64 = y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum();
            let of_sum: f64 =
                sum.iter().zip(&dsum).map(|(sum, dsum)| f64::from(*sum) * f64::from(*dsum)).sum();
            of_y + of_sum
        };
        let (_, sum) = run(&inputs);
        let parameters = problem.parameters() as usize;
        let mut dx = vec![0.0; of.count()];
        let mut dbranch = vec![0.0; of.count()];
        let mut dgate = vec![0.0; problem.gates() as usize];
        let (mut dgain, mut dbias) = (vec![0.0; parameters], vec![0.0; parameters]);
        let backward = BackwardInputs {
            dsum: Some(of.rows_of(&dsum)),
            branch: Some(of.rows_of(&inputs[0])),
            gate: Some(&inputs[2]),
            gain: has_affine.then_some(&inputs[3][..]),
            ..BackwardInputs::new(of.rows(), of.rows_of(&sum), of.rows_of(&dy))
        };
        let outputs = BackwardOutputs::<f64, f64> {
            dx: Some(RowsMut { data: &mut dx, stride: of.cols }),
            dbranch: Some(RowsMut { data: &mut dbranch, stride: of.cols }),
            dgate: Some(&mut dgate),
            dgain: has_affine.then_some(&mut dgain),
            dbias: has_affine.then_some(&mut dbias),
            ..BackwardOutputs::default()
        };
        reference::backward(&problem, &backward, outputs).unwrap();
        let gradients = [dbranch, dx, dgate, dgain, dbias];
        let count = if has_affine { 5 } else { 3 };
        for (which, gradient) in gradients.iter().enumerate().take(count) {
            for (i, gradient) in gradient.iter().enumerate() {
                // The sum is rounded to float32, which a small step would not show.
                let step = 1.0 / 64.0;
                let moved = |by: f32| {
                    let mut inputs = inputs.clone();
                    inputs[which][i] += by;
                    loss(&inputs)
                };
                let [near, far] = [step, 2.0 * step].map(|step| moved(step) - moved(-step));
                // Of fourth order.
                let difference = (8.0 * near - far) / (12.0 * f64::from(step));
                let most = 1e-3 * gradient.abs().max(1.0);
                assert!(
                    (difference - gradient).abs() <= most,
                    "{beside:?}: gradient {which} at {i} is {gradient}, by differences {difference}"
                );
            }
        }
    }
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let context = context();
    let of = Gated::new(4, 5, 16, Beside::Affine);
    let data = Data::new::<f32>(of);
    let tensors = Tensors::new::<f32>(&context, of, &data);
    let norm = of.norm(&context, Dtype::F32);
    let forward = |buffers: ForwardBuffers<'_>| norm.prepare_forward(&buffers).unwrap_err().to_string();
    let backward = |buffers: BackwardBuffers<'_>| norm.prepare_backward(&buffers).unwrap_err().to_string();
    let (of_forward, of_backward) = (tensors.forward(of), tensors.backward(of));
    let stride = |stride| Some(of.of(&tensors.modulation, GATE).with_row_stride(stride));
    let gain = BufferVector::from(&tensors.gain).with_row_stride(20);
    let over_dx = BackwardBuffers { dbranch: of_backward.dx, ..of_backward };
    for (error, says) in [
        (
            forward(ForwardBuffers { residual: None, sum: None, ..of_forward }),
            ["residual", "residual + gate * x"],
        ),
        (
            forward(ForwardBuffers { gate: stride(15), ..of_forward }),
            ["gate.row_stride is 15", "at least cols, 16"],
        ),
        (forward(ForwardBuffers { gate: stride(1000), ..of_forward }), ["gate has 768 bytes", "needs 12192"]),
        // All samples share it.
        (forward(ForwardBuffers { gain: Some(gain), ..of_forward }), ["gain.row_stride is 20", "else one"]),
        (forward(ForwardBuffers { rows: 18, ..of_forward }), ["rows is 18", "a multiple of 4"]),
        (backward(BackwardBuffers { gate: None, ..of_backward }), ["gate", "dbranch is it times dx"]),
        (backward(BackwardBuffers { branch: None, ..of_backward }), ["branch", "dgate is the sum"]),
        (backward(BackwardBuffers { dgate: None, ..of_backward }), ["branch", "dgate on branch"]),
        (backward(BackwardBuffers { dbranch: None, ..of_backward }), ["gate", "dbranch does on gate"]),
        (backward(BackwardBuffers { given_statistics: true, ..of_backward }), ["given_statistics", "false"]),
        (backward(over_dx), ["dx", "dbranch"]),
    ] {
        assert!(says.iter().all(|part| error.contains(part)), "{error}: {says:?}");
    }
    let rows = BufferRows::at_element(&tensors.x, 0);
    let descriptor = LayerNormDescriptor {
        activation: Activation::Silu,
        affine: Affine::None,
        ..LayerNormDescriptor::layer(16)
    };
    let silu = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let gated = ForwardBuffers {
        residual: Some(rows),
        gate: Some((&tensors.gain).into()),
        ..ForwardBuffers::new(20, rows, &tensors.y)
    };
    let error = silu.prepare_forward(&gated).unwrap_err().to_string();
    assert!(error.contains("gate") && error.contains("Activation::None"), "{error}");
    let groups = LayerNorm::new(context.kernels(), &LayerNormDescriptor::group(8, 2, 4)).unwrap();
    let gain = Some((&tensors.gain).into());
    let error =
        groups.prepare_forward(&ForwardBuffers { gain, bias: gain, ..gated }).unwrap_err().to_string();
    assert!(error.contains("gate") && error.contains("channels"), "{error}");
    let channels = Some(Channels::of_gates(4, 1));
    let error =
        LayerNorm::new(context.kernels(), &LayerNormDescriptor { channels, ..LayerNormDescriptor::rms(1) })
            .unwrap_err()
            .to_string();
    assert!(error.contains("2 or more columns"), "{error}");
}

/// WebGPU's default of eight storage buffers is enough for a gated sum with gain and bias, and for its
/// gradients but for one of gain and dsum; more is an error that says what the device lacks.
#[test]
fn eight_storage_buffers_are_enough_for_most() {
    let context = context_with(|limits| limits.max_storage_buffers_per_shader_stage = 8);
    check_fits(&context, Beside::Nothing, |all| BackwardBuffers { dsum: None, ..all }, None);
    check_fits(&context, Beside::Affine, |all| BackwardBuffers { dsum: None, ..all }, Some("9"));
    check_fits(&context, Beside::Modulation, |all| BackwardBuffers { dsum: None, dx: None, ..all }, None);
    check_fits(&context, Beside::Modulation, |all| all, Some("10"));
}

fn check_fits(
    context: &Context,
    beside: Beside,
    of_all: impl for<'a> Fn(BackwardBuffers<'a>) -> BackwardBuffers<'a>,
    lacks: Option<&str>,
) {
    let of = Gated::new(2, 5, 16, beside);
    let tensors = Tensors::new::<f32>(context, of, &Data::new::<f32>(of));
    let norm = of.norm(context, Dtype::F32);
    norm.prepare_forward(&tensors.forward(of)).unwrap();
    match (norm.prepare_backward(&of_all(tensors.backward(of))), lacks) {
        (Ok(_), None) => {}
        (Err(error), Some(needs)) => {
            let says =
                format!("storage buffers per shader stage is 8 on this device, needs at least {needs}");
            assert!(error.to_string().contains(&says), "{error}");
        }
        (result, _) => panic!("{beside:?}: {:?}", result.map(|_| ())),
    }
}
