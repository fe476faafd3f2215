//! Rows with a gain each, and with it weight norm: on the CPU and on the device, against PyTorch, by hand,
//! and by difference quotients.

mod support;

use half::{bf16, f16};
use safetensors::SafeTensors;
use support::{buffer, context, mixed_values as values, run};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, Context, Dtype, Element, Error, ForwardBuffers, Gradient, LayerNorm,
    LayerNormDescriptor, Normalization, Problem, Rows, RowsMut,
};

/// A weight `[..]` whose index `dim` has a norm and a gain each; values in the order of the file.
struct Weight {
    shape: Vec<usize>,
    dim: usize,
}

impl Weight {
    fn rows(&self) -> usize {
        self.shape[self.dim]
    }

    fn cols(&self) -> usize {
        self.shape.iter().product::<usize>() / self.rows()
    }

    /// The elements of each row in turn.
    fn places(&self) -> Vec<usize> {
        let after: usize = self.shape[self.dim + 1..].iter().product();
        let before: usize = self.shape[..self.dim].iter().product();
        let (rows, shape) = (self.rows(), (before, after));
        (0..rows)
            .flat_map(|row| {
                (0..shape.0).flat_map(move |i| (0..shape.1).map(move |j| (i * rows + row) * shape.1 + j))
            })
            .collect()
    }
}

fn problem<T: Element>(normalization: Normalization, cols: usize) -> Problem {
    Problem {
        cols: u32::try_from(cols).unwrap(),
        dtype: T::DTYPE,
        parameter_dtype: T::DTYPE,
        normalization,
        affine: Affine::None,
        eps: normalization.usual_eps(),
        ..Problem::default()
    }
}

/// The inputs of both directions, rows one after the other.
fn inputs<'a, T: Element>(
    stride: usize,
    [x, dy]: [&'a [T]; 2],
    row_gain: &'a [f32],
) -> (ForwardInputs<'a, T, T>, BackwardInputs<'a, T, T>) {
    let dense = |data| Rows { data, stride };
    let (rows, row_gain) = (row_gain.len(), Some(row_gain));
    let forward = ForwardInputs { row_gain, ..ForwardInputs::new(rows, dense(x)) };
    (forward, BackwardInputs { row_gain, ..BackwardInputs::new(rows, dense(x), dense(dy)) })
}

/// y, dx and the gradient of the gains, in float64.
fn on_cpu<T: Element>(
    problem: &Problem,
    x: &[T],
    dy: &[T],
    row_gain: &[f32],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (rows, stride) = (row_gain.len(), problem.cols as usize);
    let (mut y, mut dx, mut drow_gain) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; rows]);
    let (forward, backward) = inputs(stride, [x, dy], row_gain);
    reference::forward(problem, &forward, ForwardOutputs::new(RowsMut { data: &mut y, stride })).unwrap();
    let outputs = BackwardOutputs::<f64, f64> {
        dx: Some(RowsMut { data: &mut dx, stride }),
        drow_gain: Some(&mut drow_gain),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, &backward, outputs).unwrap();
    (y, dx, drow_gain)
}

/// The same on the device, rounded.
fn on_device<T: Element>(
    context: &Context,
    problem: &Problem,
    x: &[T],
    dy: &[T],
    row_gain: &[f32],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (forward, backward) = inputs(problem.cols as usize, [x, dy], row_gain);
    let forward = context.forward_blocking(problem, &forward).unwrap();
    let backward = context.backward_blocking(problem, &backward).unwrap();
    let wide = |values: Vec<T>| values.into_iter().map(|value| value.to_f64()).collect();
    let drow_gain = backward.drow_gain.unwrap().into_iter().map(f64::from).collect();
    (wide(forward.y), wide(backward.dx), drow_gain)
}

/// Each value within a share of the largest.
fn assert_close(what: &str, got: &[f64], expected: &[f64], share: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let most = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= share * most, "{what}: {got} is not {expected}");
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    dim: usize,
    dtype: String,
}

fn check_vector<T: Element>(context: &Context, tensors: &SafeTensors<'_>, vector: &Vector) {
    let raw = |name: &str| tensors.tensor(&format!("{}.{name}", vector.name)).unwrap();
    let wide = |name: &str| -> Vec<f64> { bytemuck::pod_collect_to_vec(raw(name).data()) };
    let weight = Weight { shape: raw("v").shape().to_vec(), dim: vector.dim };
    let places = weight.places();
    let rows_of = |name: &str| -> Vec<T> {
        let all: Vec<T> = bytemuck::pod_collect_to_vec(raw(name).data());
        places.iter().map(|place| all[*place]).collect()
    };
    let expected = |name: &str| -> Vec<f64> {
        let all = wide(name);
        places.iter().map(|place| all[*place]).collect()
    };
    let g: Vec<f32> = bytemuck::pod_collect_to_vec(raw("g").data());
    let problem = problem::<T>(Normalization::L2, weight.cols());
    let (v, dw) = (rows_of("v"), rows_of("dw"));
    let unit = match T::DTYPE {
        Dtype::F32 => 4.0 / f64::from(1 << 24),
        dtype => dtype.unit_roundoff(),
    };
    let of_gains = 4.0 / f64::from(1 << 24);
    for (how, (y, dx, drow_gain), share, share_of_gains) in [
        ("on the CPU", on_cpu(&problem, &v, &dw, &g), 1e-14, 1e-14),
        ("on the device", on_device(context, &problem, &v, &dw, &g), unit, 4.0 * of_gains),
    ] {
        let what = |name: &str| format!("{name} of {} {how}", vector.name);
        assert_close(&what("w"), &y, &expected("w"), share);
        assert_close(&what("dv"), &dx, &expected("dv"), share);
        assert_close(&what("dg"), &drow_gain, &wide("dg"), share_of_gains);
    }
}

#[test]
fn weight_norm_comes_out_as_from_pytorch() {
    let bytes = include_bytes!("vectors/torch.safetensors");
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let vectors = metadata.metadata().as_ref().unwrap()["weight_norms"].clone();
    let vectors: Vec<Vector> = serde_json::from_str(&vectors).unwrap();
    assert_eq!(vectors.len(), 5);
    let (context, tensors) = (context(), SafeTensors::deserialize(bytes).unwrap());
    for vector in vectors {
        match vector.dtype.as_str() {
            "f32" => check_vector::<f32>(&context, &tensors, &vector),
            "f16" => check_vector::<f16>(&context, &tensors, &vector),
            "bf16" => check_vector::<bf16>(&context, &tensors, &vector),
            dtype => panic!("{dtype}"),
        }
    }
}

/// Each gradient against the central difference quotient of `loss = sum(dy * y)`, in float64 on both sides.
#[test]
fn gradients_are_those_of_forward() {
    const STEP: f32 = 1.0 / 4096.0;
    let (rows, cols) = (3, 5);
    for normalization in Normalization::ALL {
        let problem = Problem { eps: 0.125, ..problem::<f32>(normalization, cols) };
        let grid = |seed, count| -> Vec<f32> {
            values(seed, count).iter().map(|value| (value / STEP).round() * STEP).collect()
        };
        let (x, dy, gains) = (grid(1, rows * cols), grid(2, rows * cols), grid(3, rows));
        let loss = |x: &[f32], gains: &[f32]| -> f64 {
            let (y, ..) = on_cpu(&problem, x, &dy, gains);
            y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
        };
        let quotient = |of: &dyn Fn(f32) -> f64| (of(STEP) - of(-STEP)) / f64::from(2.0 * STEP);
        let moved = |values: &[f32], i: usize, by: f32| {
            let mut values = values.to_vec();
            values[i] += by;
            values
        };
        let (_, dx, drow_gain) = on_cpu(&problem, &x, &dy, &gains);
        let by_x: Vec<f64> = (0..x.len()).map(|i| quotient(&|by| loss(&moved(&x, i, by), &gains))).collect();
        let by_gain: Vec<f64> = (0..rows).map(|i| quotient(&|by| loss(&x, &moved(&gains, i, by)))).collect();
        assert_close(&format!("dx, {normalization:?}"), &dx, &by_x, 1e-5);
        assert_close(&format!("drow_gain, {normalization:?}"), &drow_gain, &by_gain, 1e-9);
    }
}

/// Of a zero vector w, dv and dg are 0; of tiny and huge ones they are right; a gain of 0 has a gradient.
#[test]
fn degenerate_vectors_are_right() {
    let context = context();
    let problem = problem::<f32>(Normalization::L2, 2);
    let x = [0.0, 0.0, 3e-30, -4e-30, 3e30, 4e30, 3.0, 4.0, 3.0, f32::NAN];
    let dy = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    let gains = [2.0, 2.0, 2.0, 0.0, 2.0];
    for (y, dx, drow_gain) in
        [on_cpu(&problem, &x, &dy, &gains), on_device(&context, &problem, &x, &dy, &gains)]
    {
        assert_eq!((&y[..2], &dx[..2], drow_gain[0]), (&[0.0; 2][..], &[0.0; 2][..], 0.0));
        assert_close("tiny w", &y[2..4], &[1.2, -1.6], 1e-6);
        assert_close("tiny dv", &dx[2..4], &[0.64 * 4e29, 0.48 * 4e29], 1e-6);
        assert_close("huge w", &y[4..6], &[1.2, 1.6], 1e-6);
        assert_close("huge dv", &dx[4..6], &[0.64 * 4e-31, -0.48 * 4e-31], 1e-6);
        assert_close("dg", &drow_gain[1..4], &[0.6, 0.6, 0.6], 1e-6);
        assert_eq!((&y[6..8], &dx[6..8]), (&[0.0; 2][..], &[0.0; 2][..]), "g is 0");
        assert!(y[8..].iter().chain(&dx[8..]).chain(&drow_gain[4..]).all(|value| value.is_nan()));
    }
}

/// Weights `[in, out]` of which each column is a row, held, streamed and split; gradients overwritten and
/// added to.
#[test]
fn weights_are_normalized_along_their_first_axis() {
    let context = context();
    for (cols, rows, row_split) in
        [(20, 33, RowSplit::Never), (9000, 3, RowSplit::Never), (9000, 3, RowSplit::Wide)]
    {
        let weight = Weight { shape: vec![cols, rows], dim: 1 };
        let problem = problem::<f32>(Normalization::L2, cols);
        let descriptor =
            LayerNormDescriptor { row_split, ..LayerNormDescriptor::l2(u32::try_from(cols).unwrap()) };
        let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
        let (v, dw, g) = (values(1, cols * rows), values(2, cols * rows), values(3, rows));
        let before = values(4, rows);
        let places = weight.places();
        let gather = |all: &[f32]| -> Vec<f32> { places.iter().map(|place| all[*place]).collect() };
        let (y, dx, drow_gain) = on_cpu(&problem, &gather(&v), &gather(&dw), &g);
        let [v, dw, w, dv] = [&v, &dw, &v, &v].map(|values| buffer(&context, values));
        let statistics = buffer(&context, &values(5, 2 * rows));
        let (g, dg) = (buffer(&context, &g), buffer(&context, &before));
        let place = |buffer| BufferRows::at_element(buffer, 0).with_stride(1).with_column_stride(rows as u64);
        let forward = norm.prepare_forward(&ForwardBuffers {
            row_gain: Some((&g).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(rows as u64, place(&v), place(&w))
        });
        for gradient in [Gradient::Overwrite, Gradient::Accumulate] {
            let backward = norm.prepare_backward(&BackwardBuffers {
                row_gain: Some((&g).into()),
                dx: Some(place(&dv)),
                drow_gain: Some((&dg).into()),
                parameter_gradient: gradient,
                ..BackwardBuffers::new(rows as u64, place(&v), place(&dw), &statistics)
            });
            context.queue().write_buffer(&dg, 0, bytemuck::cast_slice(&before));
            let calls = [forward.as_ref().unwrap(), &backward.unwrap()];
            let results = run(&context, &calls, &[&w, &dv, &dg]);
            let wide = |bits: &[u32]| -> Vec<f64> {
                bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect()
            };
            let rows_of = |bits: &[u32]| -> Vec<f64> {
                let all = wide(bits);
                places.iter().map(|place| all[*place]).collect()
            };
            let which = format!("{cols}x{rows}, {row_split:?}, {gradient:?}");
            assert_close(&format!("w of {which}"), &rows_of(&results[0]), &y, 4.0 / f64::from(1 << 24));
            assert_close(&format!("dv of {which}"), &rows_of(&results[1]), &dx, 4.0 / f64::from(1 << 24));
            let added = |i: usize| match gradient {
                Gradient::Overwrite => drow_gain[i],
                Gradient::Accumulate => drow_gain[i] + f64::from(before[i]),
            };
            let expected: Vec<f64> = (0..rows).map(added).collect();
            assert_close(&format!("dg of {which}"), &wide(&results[2]), &expected, 1e-5);
        }
    }
}

/// dy of which sums may exceed float32 on the way, held, streamed and split, with dx and without.
#[test]
fn a_large_gradient_of_y_leaves_that_of_the_gain_right() {
    let context = context();
    for (cols, row_split) in [(64, RowSplit::Never), (9000, RowSplit::Never), (9000, RowSplit::Wide)] {
        for normalization in [Normalization::Layer, Normalization::L2] {
            let problem = problem::<f32>(normalization, cols);
            let affine = Affine::None;
            let descriptor = LayerNormDescriptor {
                row_split,
                normalization,
                affine,
                eps: normalization.usual_eps(),
                ..LayerNormDescriptor::layer(problem.cols)
            };
            let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
            let x = values(1, 2 * cols);
            let mut dy = values(2, 2 * cols);
            (dy[0], dy[cols / 2], dy[cols + 1]) = (3e31, -1e31, 3e38);
            let (xhat, dx, drow_gain) = on_cpu(&problem, &x, &dy, &[1.0, 1e-30]);
            let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            let most = [0, cols].map(|first| {
                let of_row: Vec<f64> = dy[first..first + cols].iter().map(|dy| f64::from(*dy)).collect();
                largest(&xhat[..cols]) * largest(&of_row)
            });
            let [x, dy, dv] = [&x, &dy, &x].map(|values| buffer(&context, values));
            let g = buffer(&context, &[1.0, 1e-30]);
            let (dg, statistics) = (buffer(&context, &[0.0; 2]), buffer(&context, &[0.0; 4]));
            let forward = norm.prepare_forward(&ForwardBuffers::statistics(2, &x, &statistics)).unwrap();
            let both = BackwardBuffers {
                row_gain: Some((&g).into()),
                dx: Some((&dv).into()),
                drow_gain: Some((&dg).into()),
                ..BackwardBuffers::new(2, &x, &dy, &statistics)
            };
            for with_dx in [true, false] {
                let dx_there = both.dx.filter(|_| with_dx);
                let backward = norm.prepare_backward(&BackwardBuffers { dx: dx_there, ..both }).unwrap();
                let results = run(&context, &[&forward, &backward], &[&dg, &dv]);
                let wide = |bits: &[u32]| -> Vec<f64> {
                    bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect()
                };
                let which = format!("{cols} columns, {row_split:?}, {normalization:?}, dx: {with_dx}");
                let got = wide(&results[0]);
                for row in 0..2 {
                    let (got, expected) = (got[row], drow_gain[row]);
                    // xhat is off by a share of the row's largest.
                    assert!((got - expected).abs() <= 1e-6 * most[row], "dg of {which}: {got} {expected}");
                }
                if with_dx {
                    assert_close(&format!("dv of {which}"), &wide(&results[1])[..cols], &dx[..cols], 1e-6);
                }
            }
        }
    }
}

#[test]
fn wrong_calls_are_refused() {
    let context = context();
    let [x, y, g] = [64, 64, 8].map(|count| buffer(&context, &values(1, count)));
    let statistics = buffer(&context, &values(1, 16));
    let make = |descriptor| LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let (weight, layer) = (make(LayerNormDescriptor::l2(8)), make(LayerNormDescriptor::rms(8)));
    let forward = |rows| ForwardBuffers { row_gain: Some((&g).into()), ..ForwardBuffers::new(rows, &x, &y) };
    weight.prepare_forward(&forward(8)).unwrap();
    let error = layer.prepare_forward(&ForwardBuffers { gain: Some((&g).into()), ..forward(8) }).unwrap_err();
    assert!(matches!(error, Error::UnusedBuffer { buffer: "row_gain", .. }), "{error}");
    let short = buffer(&context, &values(1, 7));
    let error = weight
        .prepare_forward(&ForwardBuffers { row_gain: Some((&short).into()), ..forward(8) })
        .unwrap_err();
    assert!(matches!(error, Error::BufferTooSmall { buffer: "row_gain", has: 28, needs: 32, .. }), "{error}");
    let over = ForwardBuffers { y: None, statistics: Some((&statistics).into()), ..forward(8) };
    let error = weight.prepare_forward(&over).unwrap_err();
    assert!(matches!(error, Error::UnusedBuffer { buffer: "row_gain", .. }), "{error}");
    let backward = BackwardBuffers {
        dx: Some((&y).into()),
        drow_gain: Some((&short).into()),
        ..BackwardBuffers::new(7, &x, &x, &statistics)
    };
    let error = weight.prepare_backward(&backward).unwrap_err();
    assert!(matches!(error, Error::MissingBuffer { buffer: "row_gain", .. }), "{error}");
    // Without dx the gains are not needed.
    weight.prepare_backward(&BackwardBuffers { dx: None, ..backward }).unwrap();
    let refused = reference::forward(
        &Problem { affine: Affine::Gain, ..problem::<f32>(Normalization::Rms, 2) },
        &ForwardInputs {
            gain: Some(&[1.0_f32; 2][..]),
            row_gain: Some(&[1.0]),
            ..ForwardInputs::new(1, Rows { data: &[1.0_f32, 2.0], stride: 2 })
        },
        ForwardOutputs::new(RowsMut { data: &mut [0.0_f64; 2], stride: 2 }),
    );
    assert!(matches!(refused, Err(Error::UnusedBuffer { buffer: "row_gain", .. })), "{refused:?}");
}
