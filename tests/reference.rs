//! The CPU reference against torch, against its own definition, and against itself laid out differently.

use bytemuck::Pod;
use half::{bf16, f16};
use safetensors::SafeTensors;
use std::path::Path;
use wgpu_layernorm::reference::{
    BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs, backward, forward,
};
use wgpu_layernorm::{Affine, Dtype, Element, Gradient, Normalization, Problem, Real, Rows, RowsMut};

/// The bound on one rounding in float64.
const UNIT: f64 = f64::EPSILON / 2.0;

/// Roundings that add up on the way to a result, on both sides together. A sum of n values has n of them, but
/// of both signs and mostly smaller than the bound: with up to 384 columns, less than 2 were seen in any
/// result.
const ROUNDINGS: f64 = 4.0;

const AFFINES: [Affine; 3] = [Affine::None, Affine::Gain, Affine::GainBias];

/// One call's inputs, without gaps between the rows. gain and bias are those of the affine.
struct Inputs<T, P> {
    problem: Problem,
    x: Vec<T>,
    residual: Option<Vec<T>>,
    dy: Vec<T>,
    gain: Option<Vec<P>>,
    bias: Option<Vec<P>>,
}

/// Everything that the reference computes, in one type. mean and rstd are float64 in any case.
struct Results<O> {
    y: Vec<O>,
    mean: Vec<f64>,
    rstd: Vec<f64>,
    dx: Vec<O>,
    dgain: Vec<O>,
    dbias: Vec<O>,
}

impl<T: Element, P: Element> Inputs<T, P> {
    fn cols(&self) -> usize {
        self.problem.cols as usize
    }

    fn rows(&self) -> usize {
        self.x.len() / self.cols()
    }

    /// y, the sum (x without a residual) and the statistics.
    fn forward<O: Real>(&self) -> (Vec<O>, Vec<T>, Vec<[f64; 2]>) {
        let stride = self.cols();
        let mut y = vec![O::from_f64(0.0); self.x.len()];
        let mut sum = self.x.clone();
        let mut statistics = vec![[0.0; 2]; self.rows()];
        let inputs = ForwardInputs {
            residual: self.residual.as_ref().map(|data| Rows { data, stride }),
            gain: self.gain.as_deref(),
            bias: self.bias.as_deref(),
            ..ForwardInputs::new(self.rows(), Rows { data: &self.x, stride })
        };
        let outputs = ForwardOutputs {
            y: RowsMut { data: &mut y, stride },
            sum: self.residual.as_ref().map(|_| RowsMut { data: &mut sum, stride }),
            statistics: Some(&mut statistics),
            running: None,
        };
        forward(&self.problem, &inputs, outputs).unwrap();
        (y, sum, statistics)
    }

    fn results<O: Real>(&self) -> Results<O> {
        let stride = self.cols();
        let (y, sum, statistics) = self.forward();
        let zeros = |length| vec![O::from_f64(0.0); length];
        let parameter = |present| if present { zeros(stride) } else { Vec::new() };
        let mut dx = zeros(self.x.len());
        let mut dgain = parameter(self.gain.is_some());
        let mut dbias = parameter(self.bias.is_some());
        let inputs = BackwardInputs {
            gain: self.gain.as_deref(),
            ..BackwardInputs::new(self.rows(), Rows { data: &sum, stride }, Rows { data: &self.dy, stride })
        };
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut dx, stride }),
            dgain: self.gain.is_some().then_some(&mut dgain[..]),
            dbias: self.bias.is_some().then_some(&mut dbias[..]),
            dgate_input: None,
            drow_gain: None,
            dx_gradient: Gradient::Overwrite,
            parameter_gradient: Gradient::Overwrite,
            ..BackwardOutputs::default()
        };
        backward(&self.problem, &inputs, outputs).unwrap();
        let column = |i: usize| statistics.iter().map(|values| values[i]).collect();
        Results { y, mean: column(0), rstd: column(1), dx, dgain, dbias }
    }
}

/// The tensors of one safetensors file.
struct File(Vec<u8>);

impl File {
    /// `path` starts in tests/.
    fn read(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
        Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    fn metadata(&self, key: &str) -> String {
        let (_, metadata) = SafeTensors::read_metadata(&self.0).unwrap();
        metadata.metadata().as_ref().unwrap()[key].clone()
    }
}

/// The tensor's values, or nothing if there is no such tensor.
fn find<V: Pod>(tensors: &SafeTensors<'_>, name: &str) -> Option<Vec<V>> {
    let tensor = tensors.tensor(name).ok()?;
    assert_eq!(tensor.dtype().bitsize(), 8 * size_of::<V>(), "{name}");
    Some(tensor.data().chunks(size_of::<V>()).map(bytemuck::pod_read_unaligned).collect())
}

fn get<V: Pod>(tensors: &SafeTensors<'_>, name: &str) -> Vec<V> {
    find(tensors, name).unwrap_or_else(|| panic!("no tensor {name}"))
}

fn largest<V: Real>(values: &[V]) -> f64 {
    values.iter().map(|value| value.to_f64().abs()).fold(0.0, f64::max)
}

/// Each value within `tolerance(index)` of the expected one.
fn assert_close<A: Real, B: Real>(what: &str, has: &[A], expected: &[B], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(has.len(), expected.len(), "{what}: length");
    for (i, (has, expected)) in has.iter().zip(expected).enumerate() {
        let (has, expected) = (has.to_f64(), expected.to_f64());
        let (error, tolerance) = ((has - expected).abs(), tolerance(i));
        // Not `error > tolerance`, which NaN would pass.
        assert!(
            error <= tolerance,
            "{what} [{i}]: {has:e} instead of {expected:e}, off by {error:e} > {tolerance:e}"
        );
    }
}

/// What one rounding to float64, of anything on the way, can do to a result: the size of an error, by output,
/// to be multiplied by the number of roundings that add up.
///
/// Take one row. The mean, and each x less the mean, is off by UNIT * max|x|, so xhat is off by `of_xhat` =
/// UNIT * (max|x| * rstd + max|xhat|), and rstd by as many standard deviations, `of_rstd` = UNIT * (max|x| *
/// rstd + 1), relative to itself. What follows is multiplication with, and sums of, values of the sizes
/// written here.
struct Sensitivity {
    cols: usize,
    mean: Vec<f64>,
    rstd: Vec<f64>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dgain: f64,
    dbias: f64,
}

impl Sensitivity {
    fn of<T: Element, P: Element>(inputs: &Inputs<T, P>) -> Self {
        let cols = inputs.cols();
        let plain = Inputs::<T, P> {
            problem: Problem { affine: Affine::None, ..inputs.problem },
            x: inputs.x.clone(),
            residual: inputs.residual.clone(),
            dy: Vec::new(),
            gain: None,
            bias: None,
        };
        let (xhat, sum, statistics) = plain.forward::<f64>();
        let gain = inputs.gain.as_deref().map_or(1.0, largest);
        let bias = inputs.bias.as_deref().map_or(0.0, largest);
        let mut result =
            Self { cols, mean: vec![], rstd: vec![], y: vec![], dx: vec![], dgain: 0.0, dbias: 0.0 };
        for (((xhat, x), dy), [_, rstd]) in
            xhat.chunks(cols).zip(sum.chunks(cols)).zip(inputs.dy.chunks(cols)).zip(statistics)
        {
            let (x, xhat, dy) = (largest(x), largest(xhat), largest(dy));
            let of_rstd = UNIT * (x * rstd + 1.0);
            let of_xhat = UNIT * (x * rstd + xhat);
            result.mean.push(UNIT * x);
            result.rstd.push(of_rstd * rstd);
            result.y.push(of_xhat * gain + UNIT * bias);
            // L2 takes out the sum of a row's dxhat * xhat where the others take out the mean.
            let terms = if inputs.problem.normalization == Normalization::L2 { cols as f64 } else { 1.0 };
            result.dx.push((of_rstd + of_xhat * xhat * terms) * rstd * dy * gain);
            result.dgain += of_xhat * dy;
            result.dbias += UNIT * dy;
        }
        result
    }

    /// Each value as near to the expected one as the errors of float64 and, where the expected ones are in
    /// float32, one rounding of each to float32 allow.
    fn assert_close<A: Real, B: Real>(&self, name: &str, has: &Results<A>, expected: &Results<B>) {
        // mean and rstd are float64 on this side, so that only the expected ones are rounded.
        let stored = if size_of::<B>() == 8 { 0.0 } else { Dtype::F32.unit_roundoff() };
        let of_f64 = |what: &str, has: &[f64], expected: &[f64], sensitivity: &[f64]| {
            assert_close(&format!("{name} {what}"), has, expected, |row| {
                ROUNDINGS * sensitivity[row] + stored * has[row].abs()
            });
        };
        of_f64("mean", &has.mean, &expected.mean, &self.mean);
        of_f64("rstd", &has.rstd, &expected.rstd, &self.rstd);
        let both = |what: &str, has: &[A], expected: &[B], sensitivity: &dyn Fn(usize) -> f64| {
            assert_close(&format!("{name} {what}"), has, expected, |i| {
                let sizes = has[i].to_f64().abs() + expected[i].to_f64().abs();
                ROUNDINGS * sensitivity(i) + stored * sizes
            });
        };
        both("y", &has.y, &expected.y, &|i| self.y[i / self.cols]);
        both("dx", &has.dx, &expected.dx, &|i| self.dx[i / self.cols]);
        both("dgain", &has.dgain, &expected.dgain, &|_| self.dgain);
        both("dbias", &has.dbias, &expected.dbias, &|_| self.dbias);
    }
}

/// What a trained transformer's norms see, and what torch makes of it in float64, rounded to f32: see
/// tests/fixtures/README.md.
#[test]
fn the_norms_of_a_trained_model_come_out_as_from_pytorch() {
    let file = File::read("fixtures/minilm_layer_norms.safetensors");
    let tensors = file.tensors();
    let eps: f32 = file.metadata("eps").parse().unwrap();
    let names = tensors.names();
    let mut norms: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".x")).collect();
    norms.sort_unstable();
    assert_eq!(norms.len(), 13);
    for norm in norms {
        let tensor = |name: &str| get::<f32>(&tensors, &format!("{norm}.{name}"));
        let wide = |name: &str| tensor(name).into_iter().map(f64::from).collect();
        let gain = tensor("gain");
        let inputs = Inputs {
            problem: Problem { cols: u32::try_from(gain.len()).unwrap(), eps, ..Problem::default() },
            x: tensor("x"),
            residual: None,
            dy: tensor("dy"),
            gain: Some(gain),
            bias: Some(tensor("bias")),
        };
        let expected = Results {
            y: tensor("y"),
            mean: wide("mean"),
            rstd: wide("rstd"),
            dx: tensor("dx"),
            dgain: tensor("dgain"),
            dbias: tensor("dbias"),
        };
        // Both sides are float64, rounded once to f32: what is left is one rounding of each, relative to the
        // value itself, and the float64 errors, which matter only next to zero.
        Sensitivity::of(&inputs).assert_close(norm, &inputs.results::<f32>(), &expected);
    }
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    normalization: String,
    affine: String,
    dtype: String,
    parameter_dtype: String,
    rows: usize,
    cols: u32,
    eps: f32,
}

/// See tests/vectors/README.md.
#[test]
fn every_variant_comes_out_as_from_pytorch() {
    let file = File::read("vectors/torch.safetensors");
    let tensors = file.tensors();
    let cases: Vec<Case> = serde_json::from_str(&file.metadata("cases")).unwrap();
    assert!(cases.len() > 90);
    for case in cases {
        match (case.dtype.as_str(), case.parameter_dtype.as_str()) {
            ("f32", "f32") => check_case::<f32, f32>(&tensors, &case),
            ("f16", "f32") => check_case::<f16, f32>(&tensors, &case),
            ("f16", "f16") => check_case::<f16, f16>(&tensors, &case),
            ("bf16", "f32") => check_case::<bf16, f32>(&tensors, &case),
            ("bf16", "bf16") => check_case::<bf16, bf16>(&tensors, &case),
            types => panic!("{types:?}"),
        }
    }
}

fn check_case<T: Element, P: Element>(tensors: &SafeTensors<'_>, case: &Case) {
    fn find_named<V: Copy>(all: &[V], name: impl Fn(&V) -> &'static str, wanted: &str) -> V {
        *all.iter().find(|value| name(value) == wanted).unwrap()
    }
    let name = |tensor: &str| format!("{}.{tensor}", case.name);
    let inputs = Inputs::<T, P> {
        problem: Problem {
            cols: case.cols,
            dtype: T::DTYPE,
            parameter_dtype: P::DTYPE,
            normalization: find_named(&Normalization::ALL, |value| value.name(), &case.normalization),
            affine: find_named(&AFFINES, |value| value.name(), &case.affine),
            eps: case.eps,
            ..Problem::default()
        },
        x: get(tensors, &name("x")),
        residual: find(tensors, &name("residual")),
        dy: get(tensors, &name("dy")),
        gain: find(tensors, &name("gain")),
        bias: find(tensors, &name("bias")),
    };
    assert_eq!(inputs.rows(), case.rows, "{}", case.name);
    let expected = Results::<f64> {
        y: get(tensors, &name("y")),
        mean: get(tensors, &name("mean")),
        rstd: get(tensors, &name("rstd")),
        dx: get(tensors, &name("dx")),
        dgain: find(tensors, &name("dgain")).unwrap_or_default(),
        dbias: find(tensors, &name("dbias")).unwrap_or_default(),
    };
    Sensitivity::of(&inputs).assert_close(&case.name, &inputs.results::<f64>(), &expected);
    if inputs.residual.is_some() {
        let (_, sum, _) = inputs.forward::<f64>();
        let expected: Vec<T> = get(tensors, &name("sum"));
        assert_close(&name("sum"), &sum, &expected, |_| 0.0);
    }
    // What is rounded to the storage type is what was compared.
    let (y, ..) = inputs.forward::<T>();
    let (unrounded, ..) = inputs.forward::<f64>();
    let rounded: Vec<T> = unrounded.into_iter().map(T::from_f64).collect();
    assert_close(&name("rounded y"), &y, &rounded, |_| 0.0);
}

/// Values on a grid of 2^-16 in [-2, 2), each exact in float32 with one step added or taken away.
fn on_grid(seed: u32, length: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        // Numerical Recipes' generator; its upper half is random enough for test data.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 14) as f32 - 131_072.0) * STEP
    };
    (0..length).map(|_| next()).collect()
}

/// The step of the difference quotients, 2^-16.
const STEP: f32 = 1.0 / 65_536.0;

/// Each gradient against the central difference quotient of `loss = sum(dy * y)`, y from forward.
#[test]
fn gradients_are_the_slopes_of_forward() {
    for normalization in Normalization::ALL {
        for affine in AFFINES {
            for cols in [1, 2, 3, 8, 17] {
                check_slopes(normalization, affine, cols);
            }
        }
    }
}

fn check_slopes(normalization: Normalization, affine: Affine, cols: u32) {
    let n = cols as usize;
    let mut inputs = Inputs::<f32, f32> {
        problem: Problem { cols, normalization, affine, eps: 0.1, ..Problem::default() },
        x: on_grid(1, 3 * n),
        residual: None,
        dy: on_grid(2, 3 * n),
        gain: affine.has_gain().then(|| on_grid(3, n)),
        bias: affine.has_bias().then(|| on_grid(4, n)),
    };
    let name = format!("{} {} {cols}", normalization.name(), affine.name());
    let results = inputs.results::<f64>();
    let loss = |inputs: &Inputs<f32, f32>| -> f64 {
        inputs.forward::<f64>().0.iter().zip(&inputs.dy).map(|(y, dy)| y * f64::from(*dy)).sum()
    };
    let mut slopes = |values: fn(&mut Inputs<f32, f32>) -> &mut [f32]| -> Vec<f64> {
        (0..values(&mut inputs).len())
            .map(|i| {
                let mut loss_at = |offset: f32| {
                    let value = values(&mut inputs)[i];
                    values(&mut inputs)[i] = value + offset;
                    let loss = loss(&inputs);
                    values(&mut inputs)[i] = value;
                    loss
                };
                (loss_at(STEP) - loss_at(-STEP)) / (2.0 * f64::from(STEP))
            })
            .collect()
    };
    let by_x = slopes(|inputs| &mut inputs.x);
    let by_gain = slopes(|inputs| inputs.gain.as_deref_mut().unwrap_or_default());
    let by_bias = slopes(|inputs| inputs.bias.as_deref_mut().unwrap_or_default());

    // The loss is a sum of rows * cols terms, each off by a few roundings, twice, divided by 2 steps.
    let size: f64 = results.y.iter().zip(&inputs.dy).map(|(y, dy)| (y * f64::from(*dy)).abs()).sum::<f64>();
    let bias = inputs.bias.as_deref().map_or(0.0, largest);
    let rounding = 8.0 * UNIT * (size + bias * inputs.dy.len() as f64 + 1.0) / f64::from(STEP);
    // By gain and bias the loss is linear, so that the quotient has no other error.
    assert_close(&format!("{name}: dgain"), &results.dgain, &by_gain, |_| rounding);
    assert_close(&format!("{name}: dbias"), &results.dbias, &by_bias, |_| rounding);
    // By one x, with t = step * rstd, w = dxhat, u = xhat, n cols, a row's loss is
    //     (sum(w * u) + c1 * t) / sqrt(1 - 2 * z * r * t + (r * t)^2),   r <= 1 / sqrt(n), |z| <= 1, |c1| <= |w|:
    // the numerator is linear, and the variance quadratic. 1 / sqrt is the generating function of the
    // Legendre polynomials, sum(P_k(z) * (r * t)^k), none of which exceeds 1; so, with |u| <= sqrt(n), the
    // coefficient of t^3 is at most |w| * sqrt(n) * r^3 + |w| * r^2 <= 2 * |w| / n, and the quotient's first
    // error rstd * t^2 times that. The next, of t^4, is 2^-32 of it; the factor 1.01 is for it. L2: r = 1 and
    // |u| = 1 give 2 * |w|.
    let truncation = |row: usize| {
        let w: f64 = (row * n..row * n + n)
            .map(|i| f64::from(inputs.dy[i] * inputs.gain.as_ref().map_or(1.0, |gain| gain[i % n])).powi(2))
            .sum::<f64>()
            .sqrt();
        let rstd = results.rstd[row];
        let count = if normalization == Normalization::L2 { 1.0 } else { f64::from(cols) };
        1.01 * rstd * (f64::from(STEP) * rstd).powi(2) * 2.0 * w / count
    };
    assert_close(&format!("{name}: dx"), &results.dx, &by_x, |i| truncation(i / n) + rounding);
}

/// `values` with rows `stride` apart, NaN between them.
fn spread(values: &[f32], cols: usize, stride: usize) -> Vec<f32> {
    let mut rows: Vec<f32> = values
        .chunks(cols)
        .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(f32::NAN, stride - cols)))
        .collect();
    rows.truncate(rows.len() - (stride - cols));
    rows
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Rows enough for several in a block, and for a last block that is not full.
fn many_rows(cols: u32) -> Inputs<f32, f32> {
    let n = cols as usize;
    Inputs {
        problem: Problem { cols, ..Problem::default() },
        x: on_grid(5, 1100 * n),
        residual: Some(on_grid(6, 1100 * n)),
        dy: on_grid(7, 1100 * n),
        gain: Some(on_grid(8, n)),
        bias: Some(on_grid(9, n)),
    }
}

#[test]
fn rows_apart_give_the_same_bits_and_keep_what_is_between() {
    let inputs = many_rows(13);
    let (rows, cols) = (inputs.rows(), inputs.cols());
    let (y, sum, statistics) = inputs.forward::<f32>();
    let results = inputs.results::<f32>();

    let (x, residual) = (spread(&inputs.x, cols, 17), spread(inputs.residual.as_ref().unwrap(), cols, 14));
    let (mut y_apart, mut sum_apart) = (vec![f32::NAN; x.len()], vec![f32::NAN; residual.len()]);
    let mut statistics_apart = vec![[0.0; 2]; rows];
    let forward_inputs = ForwardInputs {
        residual: Some(Rows { data: &residual, stride: 14 }),
        gain: inputs.gain.as_deref(),
        bias: inputs.bias.as_deref(),
        ..ForwardInputs::new(rows, Rows { data: &x, stride: 17 })
    };
    let outputs = ForwardOutputs {
        y: RowsMut { data: &mut y_apart, stride: 17 },
        sum: Some(RowsMut { data: &mut sum_apart, stride: 14 }),
        statistics: Some(&mut statistics_apart),
        running: None,
    };
    forward(&inputs.problem, &forward_inputs, outputs).unwrap();
    assert_eq!(bits(&y_apart), bits(&spread(&y, cols, 17)));
    assert_eq!(bits(&sum_apart), bits(&spread(&sum, cols, 14)));
    assert_eq!(statistics_apart, statistics);

    let dy = spread(&inputs.dy, cols, 20);
    let (mut dx_apart, mut dgain, mut dbias) =
        (vec![f32::NAN; x.len()], vec![0_f32; cols], vec![0_f32; cols]);
    let backward_inputs = BackwardInputs {
        gain: inputs.gain.as_deref(),
        ..BackwardInputs::new(rows, Rows { data: &sum_apart, stride: 14 }, Rows { data: &dy, stride: 20 })
    };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx_apart, stride: 17 }),
        dgain: Some(&mut dgain),
        dbias: Some(&mut dbias),
        ..BackwardOutputs::default()
    };
    backward(&inputs.problem, &backward_inputs, outputs).unwrap();
    assert_eq!(bits(&dx_apart), bits(&spread(&results.dx, cols, 17)));
    assert_eq!((dgain, dbias), (results.dgain, results.dbias));
}

/// Slices may be longer than their rows, whatever comes after.
#[test]
fn only_the_first_rows_are_read_and_written() {
    let mut inputs = many_rows(5);
    let (rows, cols) = (inputs.rows() - 1, 5);
    let end = rows * cols;
    inputs.x[end] = f32::NAN;
    let (mut y, mut dx) = (vec![7_f32; end + cols], vec![7_f32; end + cols]);
    let (mut statistics, mut dgain) = (vec![[7.0; 2]; rows + 1], vec![7_f32; cols + 1]);
    let inputs_of_forward = ForwardInputs {
        gain: inputs.gain.as_deref(),
        bias: inputs.bias.as_deref(),
        ..ForwardInputs::new(rows, Rows { data: &inputs.x, stride: cols })
    };
    let outputs = ForwardOutputs {
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride: cols })
    };
    forward(&inputs.problem, &inputs_of_forward, outputs).unwrap();
    let inputs_of_backward = BackwardInputs {
        gain: inputs.gain.as_deref(),
        ..BackwardInputs::new(
            rows,
            Rows { data: &inputs.x, stride: cols },
            Rows { data: &inputs.dy, stride: cols },
        )
    };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx, stride: cols }),
        dgain: Some(&mut dgain),
        ..BackwardOutputs::default()
    };
    backward(&inputs.problem, &inputs_of_backward, outputs).unwrap();
    assert!(y[..end].iter().chain(&dx[..end]).chain(&dgain[..cols]).all(|value| value.is_finite()));
    assert!(y[end..].iter().chain(&dx[end..]).chain(&dgain[cols..]).all(|value| *value == 7.0));
    assert_eq!(statistics[rows], [7.0; 2]);
}

/// A row's result is its own, whatever rows come with it.
#[test]
fn a_row_alone_gives_the_same_bits() {
    let inputs = many_rows(13);
    let results = inputs.results::<f64>();
    for row in [0, 17, 1099] {
        let part = row * 13..row * 13 + 13;
        let alone = Inputs {
            problem: inputs.problem,
            x: inputs.x[part.clone()].to_vec(),
            residual: inputs.residual.as_ref().map(|residual| residual[part.clone()].to_vec()),
            dy: inputs.dy[part.clone()].to_vec(),
            gain: inputs.gain.clone(),
            bias: inputs.bias.clone(),
        }
        .results::<f64>();
        assert_eq!((&alone.y[..], &alone.dx[..]), (&results.y[part.clone()], &results.dx[part]), "row {row}");
    }
}

#[cfg(feature = "rayon")]
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Wide enough that the other threads wake up before the first has done it all.
    let inputs = many_rows(200);
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let results = pool.install(|| inputs.results::<f64>());
        (results.y, results.mean, results.rstd, results.dx, results.dgain, results.dbias)
    };
    let expected = with_threads(1);
    for threads in [2, 3, 8] {
        assert!(with_threads(threads) == expected, "{threads} threads");
    }
}
