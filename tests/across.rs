//! Rows side by side with their columns apart, of which an access has four: channel-wise norms of samples
//! that have their channels first.

mod support;

use support::{buffer, context, mixed_values, run};
use wgpu_layernorm::plan::{AdapterKind, Backward, Caps, Forward, Plan, Span, Strides};
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, Channels, Context, ForwardBuffers, Gradient, Kernels,
    KernelsDescriptor, LayerNorm, LayerNormDescriptor, Normalization, Problem, Rows, RowsMut, WarmOptions,
};

/// `[samples, channels, positions]`, with a row for each position of each sample.
#[derive(Clone, Copy)]
struct Shape {
    samples: usize,
    channels: usize,
    positions: usize,
}

impl Shape {
    const fn rows(self) -> usize {
        self.samples * self.positions
    }

    const fn length(self) -> usize {
        self.rows() * self.channels
    }

    fn of(self, buffer: &wgpu::Buffer) -> BufferRows<'_> {
        BufferRows::at_element(buffer, 0)
            .with_stride(1)
            .with_column_stride(self.positions as u64)
            .with_inner_rows(self.positions as u64, (self.channels * self.positions) as u64)
    }

    /// A value's row and column.
    const fn place(self, i: usize) -> (usize, usize) {
        let (sample, in_sample) =
            (i / (self.channels * self.positions), i % (self.channels * self.positions));
        (sample * self.positions + in_sample % self.positions, in_sample / self.positions)
    }

    /// The values, row by row.
    fn by_row(self, all: &[f32]) -> Vec<f32> {
        let mut rows = vec![0.0; all.len()];
        for (i, value) in all.iter().enumerate() {
            let (row, column) = self.place(i);
            rows[row * self.channels + column] = *value;
        }
        rows
    }
}

/// What forward and backward write, a value for each bit pattern.
struct Results {
    y: Vec<f32>,
    statistics: Vec<f32>,
    dx: Vec<f32>,
    dgain: Vec<f32>,
    dbias: Vec<f32>,
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|bits| f32::from_bits(*bits)).collect()
}

fn norm(context: &Context, kind: AdapterKind, channels: usize, normalization: Normalization) -> LayerNorm {
    let descriptor = KernelsDescriptor { ladder: Some(kind), ..KernelsDescriptor::default() };
    let kernels = Kernels::with(context.device(), context.queue(), &descriptor);
    let cols = u32::try_from(channels).unwrap();
    let affine = Affine::GainBias;
    let descriptor = LayerNormDescriptor { cols, normalization, affine, ..LayerNormDescriptor::default() };
    LayerNorm::new(&kernels, &descriptor).unwrap()
}

fn results(context: &Context, norm: &LayerNorm, shape: Shape, [x, dy]: [&[f32]; 2]) -> Results {
    let [x, dy] = [x, dy].map(|values| buffer(context, values));
    let [gain, bias] = [5, 6].map(|seed| buffer(context, &mixed_values(seed, shape.channels)));
    let [y, dx] = [7, 8].map(|seed| buffer(context, &mixed_values(seed, shape.length())));
    let [dgain, dbias] = [9, 10].map(|seed| buffer(context, &mixed_values(seed, shape.channels)));
    let statistics = buffer(context, &mixed_values(11, 2 * shape.rows()));
    let forward = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        statistics: Some((&statistics).into()),
        ..ForwardBuffers::new(shape.rows() as u64, shape.of(&x), shape.of(&y))
    };
    let backward = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(shape.of(&dx)),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(shape.rows() as u64, shape.of(&x), shape.of(&dy), &statistics)
    };
    assert!(norm.plan_forward(&forward).unwrap().iter().all(Plan::is_across));
    assert!(norm.plan_backward(&backward).unwrap()[0].is_across());
    let [forward, backward] =
        [norm.prepare_forward(&forward).unwrap(), norm.prepare_backward(&backward).unwrap()];
    let got = run(context, &[&forward, &backward], &[&y, &statistics, &dx, &dgain, &dbias]);
    let [y, statistics, dx, dgain, dbias] = &got[..] else { unreachable!() };
    Results {
        y: shape.by_row(&floats(y)),
        statistics: floats(statistics),
        dx: shape.by_row(&floats(dx)),
        dgain: floats(dgain),
        dbias: floats(dbias),
    }
}

/// The largest error of each row, or of all, in units of its largest value; with what is added to it last, of
/// which the largest is `bias`, in units of the largest term that there may be.
fn units(got: &[f32], expected: &[f64], cols: usize, bias: f64) -> f64 {
    let of_row = |(got, expected): (&[f32], &[f64])| {
        let most = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
        let errors = got.iter().zip(expected).map(|(got, expected)| (f64::from(*got) - expected).abs());
        errors.fold(0.0, f64::max) / (most + 2.0 * bias) * f64::from(1 << 24)
    };
    got.chunks(cols).zip(expected.chunks(cols)).map(of_row).fold(0.0, f64::max)
}

const KINDS: [AdapterKind; 2] = [AdapterKind::Software, AdapterKind::Gpu];

/// More columns than the threads of a row have, and fewer; several dispatch blocks; a part of one.
const SHAPES: [Shape; 5] = [
    Shape { samples: 3, channels: 100, positions: 52 },
    Shape { samples: 2, channels: 256, positions: 196 },
    Shape { samples: 5, channels: 7, positions: 4 },
    Shape { samples: 1, channels: 5, positions: 12 },
    Shape { samples: 1, channels: 2049, positions: 64 },
];

#[test]
fn channels_are_normalized_where_they_lie() {
    let context = context();
    for (kind, shape) in KINDS.into_iter().flat_map(|kind| SHAPES.map(|shape| (kind, shape))) {
        for (normalization, mean) in
            [(Normalization::Layer, 0.0), (Normalization::Layer, 1e4), (Normalization::Rms, 0.0)]
        {
            let norm = norm(&context, kind, shape.channels, normalization);
            let x: Vec<f32> = mixed_values(1, shape.length()).iter().map(|value| value + mean).collect();
            let dy = mixed_values(2, shape.length());
            let got = results(&context, &norm, shape, [&x, &dy]);
            let which = format!("{kind:?}, {normalization:?}, {} channels, mean {mean}", shape.channels);

            let (rows, cols) = (shape.rows(), shape.channels);
            let [x, dy] = [shape.by_row(&x), shape.by_row(&dy)];
            let [gain, bias] = [5, 6].map(|seed| mixed_values(seed, cols));
            let mut y = vec![0.0; rows * cols];
            let mut statistics = vec![[0.0; 2]; rows];
            fn dense(data: &[f32], stride: usize) -> Rows<'_, f32> {
                Rows { data, stride }
            }
            let inputs = ForwardInputs {
                gain: Some(&gain[..]),
                bias: Some(&bias[..]),
                ..ForwardInputs::new(rows, dense(&x, cols))
            };
            let outputs = ForwardOutputs {
                statistics: Some(&mut statistics),
                ..ForwardOutputs::new(RowsMut { data: &mut y, stride: cols })
            };
            reference::forward(norm.problem(), &inputs, outputs).unwrap();
            assert!(
                units(&got.y, &y, cols, 2.0) <= 4.0,
                "y of {which}: {} units",
                units(&got.y, &y, cols, 2.0)
            );
            let rstd: Vec<f32> = got.statistics.chunks(2).map(|pair| pair[1]).collect();
            let expected: Vec<f64> = statistics.iter().map(|pair| pair[1]).collect();
            assert!(units(&rstd, &expected, 1, 0.0) <= 4.0, "rstd of {which}");

            let mut dx = vec![0.0; rows * cols];
            let (mut dgain, mut dbias) = (vec![0.0; cols], vec![0.0; cols]);
            let inputs = BackwardInputs {
                gain: Some(&gain[..]),
                ..BackwardInputs::new(rows, dense(&x, cols), dense(&dy, cols))
            };
            let outputs = BackwardOutputs {
                dx: Some(RowsMut { data: &mut dx, stride: cols }),
                dgain: Some(&mut dgain),
                dbias: Some(&mut dbias),
                ..BackwardOutputs::default()
            };
            reference::backward(norm.problem(), &inputs, outputs).unwrap();
            assert!(
                units(&got.dx, &dx, cols, 0.0) <= 4.0,
                "dx of {which}: {} units",
                units(&got.dx, &dx, cols, 0.0)
            );
            assert!(units(&got.dgain, &dgain, cols, 0.0) <= 4.0, "dgain of {which}");
            assert!(units(&got.dbias, &dbias, cols, 0.0) <= 4.0, "dbias of {which}");
        }
    }
}

/// Of a value by its column.
type Change<'a> = &'a dyn Fn(usize, f32) -> f32;

/// A row that is not finite, whose squares overflow or underflow, or whose gradient does, beside sound ones:
/// their bits stay.
#[test]
fn rows_of_an_access_do_not_matter_to_each_other() {
    let context = context();
    let shape = Shape { samples: 2, channels: 40, positions: 24 };
    for kind in KINDS {
        let norm = norm(&context, kind, shape.channels, Normalization::Layer);
        let [x, dy] = [1, 2].map(|seed| mixed_values(seed, shape.length()));
        let sound = results(&context, &norm, shape, [&x, &dy]);
        let with = |values: &[f32], row: usize, change: Change<'_>| -> Vec<f32> {
            let changed = |(i, value): (usize, &f32)| match shape.place(i) {
                (of, column) if of == row => change(column, *value),
                _ => *value,
            };
            values.iter().enumerate().map(changed).collect()
        };
        let huge = |_: usize, value: f32| value * 1e30;
        let tiny = |_: usize, value: f32| value * 1e-36;
        let nan = |column: usize, value: f32| if column == 3 { f32::NAN } else { value };
        let largest = |column: usize, _: f32| if column.is_multiple_of(2) { 3e38 } else { -3e38 };
        let changes: [(&[f32], usize, Change<'_>); 4] =
            [(&x, 0, &huge), (&x, 0, &tiny), (&x, 0, &nan), (&dy, 1, &largest)];
        for (number, (values, of, change)) in changes.into_iter().enumerate() {
            for row in [0, 5, 30, 47] {
                let changed = with(values, row, change);
                let inputs = if of == 0 { [&changed[..], &dy[..]] } else { [&x[..], &changed[..]] };
                let got = results(&context, &norm, shape, inputs);
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
                for (what, cols, got, sound) in [
                    ("y", shape.channels, &got.y, &sound.y),
                    ("statistics", 2, &got.statistics, &sound.statistics),
                    ("dx", shape.channels, &got.dx, &sound.dx),
                ] {
                    for other in (0..shape.rows()).filter(|other| *other != row) {
                        let part = other * cols..(other + 1) * cols;
                        let which = format!("{what} of row {other} beside {row}, change {number}, {kind:?}");
                        assert_eq!(bits(&got[part.clone()]), bits(&sound[part]), "{which}");
                    }
                }
                // What the row itself has is finite where it is.
                let own = &got.dx[row * shape.channels..(row + 1) * shape.channels];
                assert_eq!(own.iter().all(|value| value.is_nan()), number == 2, "dx, change {number}");
            }
        }
    }
}

/// With fewer rows the results are those of a call of so many; an access has no part of its rows.
#[test]
fn rows_change_by_whole_accesses() {
    let context = context();
    let shape = Shape { samples: 2, channels: 24, positions: 40 };
    let norm = LayerNorm::new(context.kernels(), &LayerNormDescriptor::layer(24)).unwrap();
    let x = buffer(&context, &mixed_values(1, shape.length()));
    let ones = buffer(&context, &[1.0; 24]);
    let call = |rows, y| ForwardBuffers {
        gain: Some((&ones).into()),
        bias: Some((&ones).into()),
        ..ForwardBuffers::new(rows, shape.of(&x), shape.of(y))
    };
    let before = mixed_values(2, shape.length());
    let [whole, part] = [(); 2].map(|()| buffer(&context, &before));
    let prepared = norm.prepare_forward(&call(80, &whole)).unwrap();
    let expected = norm.prepare_forward(&call(44, &part)).unwrap();
    let commands = support::recorded(&context, |pass| {
        let error = prepared.record_rows(pass, 42).unwrap_err().to_string();
        assert_eq!(
            error,
            "rows is 42, needs to be a multiple of 4: rows that lie side by side share accesses"
        );
        prepared.record_rows(pass, 44).unwrap();
    });
    context.queue().submit([commands]);
    let got = run(&context, &[], &[&whole]);
    assert_eq!(got, run(&context, &[&expected], &[&part]));
    let untouched = (0..shape.length()).filter(|i| shape.place(*i).0 >= 44);
    assert!(untouched.into_iter().all(|i| got[0][i] == before[i].to_bits()));
}

/// A binding that holds a part of a sample's positions cuts the call, between accesses.
#[test]
fn a_call_is_cut_between_accesses() {
    let shape = Shape { samples: 2, channels: 8, positions: 64 };
    let [x, dy] = [1, 2].map(|seed| mixed_values(seed, shape.length()));
    let whole_context = context();
    let whole_norm = norm(&whole_context, AdapterKind::Software, shape.channels, Normalization::Layer);
    let whole = results(&whole_context, &whole_norm, shape, [&x, &dy]);
    // All but the last column of a sample, and 30 positions of that: 28 are whole accesses.
    let bytes = 4 * (7 * 64 + 30);
    let cut_context = support::context_with(|limits| limits.max_storage_buffer_binding_size = bytes);
    let cut_norm = norm(&cut_context, AdapterKind::Software, shape.channels, Normalization::Layer);
    let cut = results(&cut_context, &cut_norm, shape, [&x, &dy]);
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&cut.y), bits(&whole.y));
    assert_eq!(bits(&cut.statistics), bits(&whole.statistics));
    assert_eq!(bits(&cut.dx), bits(&whole.dx));
    for (cut, whole) in [(&cut.dgain, &whole.dgain), (&cut.dbias, &whole.dbias)] {
        let whole: Vec<f64> = whole.iter().map(|value| f64::from(*value)).collect();
        assert!(units(cut, &whole, shape.channels, 0.0) <= 4.0);
    }
}

/// Plans that other hosts launch have no check in their shaders.
#[test]
fn dispatches_have_whole_accesses_of_rows_side_by_side() {
    let problem = Problem::layer(24);
    let caps = Caps::webgpu_default();
    let plan = Plan::forward_across(&problem, Forward::default(), &caps).unwrap();
    let across = Span { stride: 1, cols: 24, column_stride: 40, inner_rows: 40, ..Span::default() };
    let across = Span { outer_stride: 24 * 40, ..across };
    assert_eq!(plan.dispatches(80, &[across; 2], &caps).unwrap().len(), 1);
    assert_eq!(plan.launch(&caps).rows_multiple, 4);
    for (rows, span, says) in [
        (42, across, "rows is 42, needs to be a multiple of 4"),
        (40, Span { offset: 1, ..across }, "the span of a tensor of rows"),
        (40, Span { stride: 24, cols: 24, ..Span::default() }, "rows side by side"),
    ] {
        let error = plan.dispatches(rows, &[across, span], &caps).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let heads = Problem { channels: Some(Channels::of_heads(4, 24)), ..problem };
    let error = Plan::forward_across(&heads, Forward::default(), &caps).unwrap_err().to_string();
    assert!(error.contains("rows side by side") && error.contains("channels"), "{error}");
}

#[test]
fn what_was_warmed_compiles_nothing_more_whatever_the_alignment() {
    let context = context();
    let shape = Shape { samples: 2, channels: 24, positions: 40 };
    let norm = norm(&context, AdapterKind::Software, shape.channels, Normalization::Layer);
    let overwrite = Some(Gradient::Overwrite);
    norm.warm(&WarmOptions {
        forward: &[Forward { statistics: true, ..Forward::default() }],
        backward: &[Backward { dx: overwrite, dgain: overwrite, dbias: overwrite, ..Backward::default() }],
        strides: Strides::Across,
        ..WarmOptions::default()
    })
    .unwrap();
    let warmed = norm.kernels().pipelines();
    let values = mixed_values(1, shape.length());
    results(&context, &norm, shape, [&values, &values]);
    assert_eq!(norm.kernels().pipelines(), warmed);
}
