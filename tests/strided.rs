//! Rows inside outer ones and columns apart: heads inside a fused projection, in place; the channels of
//! images that have them first.

mod support;

use support::{buffer, context, run, values};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::reference::{self, BackwardInputs, BackwardOutputs, ForwardInputs, ForwardOutputs};
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, Context, Error, ForwardBuffers, LayerNorm, LayerNormDescriptor,
    Normalization, Rows, RowsMut, WarmOptions,
};

/// Where rows lie: element `offset + row / inner_rows * outer + row % inner_rows * stride + column *
/// column_stride`.
#[derive(Clone, Copy)]
struct Strides {
    rows: usize,
    cols: usize,
    offset: usize,
    inner_rows: usize,
    outer: usize,
    stride: usize,
    column_stride: usize,
}

impl Strides {
    /// The channels of each position of `[samples, channels, positions]`.
    const fn channels(samples: usize, channels: usize, positions: usize) -> Self {
        Self {
            rows: samples * positions,
            cols: channels,
            offset: 0,
            inner_rows: positions,
            outer: channels * positions,
            stride: 1,
            column_stride: positions,
        }
    }

    /// Heads of `dim` values from `offset` on, inside rows of `width`.
    const fn heads(tokens: usize, width: usize, heads: usize, dim: usize, offset: usize) -> Self {
        Self {
            rows: tokens * heads,
            cols: dim,
            offset,
            inner_rows: heads,
            outer: width,
            stride: dim,
            column_stride: 1,
        }
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..self.rows).flat_map(move |row| {
            let outer = row / self.inner_rows * self.outer;
            let start = self.offset + outer + row % self.inner_rows * self.stride;
            (0..self.cols).map(move |column| start + column * self.column_stride)
        })
    }

    fn gather<T: Copy>(self, all: &[T]) -> Vec<T> {
        self.places().map(|place| all[place]).collect()
    }

    fn of(self, buffer: &wgpu::Buffer) -> BufferRows<'_> {
        BufferRows::at_element(buffer, self.offset as u64)
            .with_stride(self.stride as u64)
            .with_column_stride(self.column_stride as u64)
            .with_inner_rows(self.inner_rows as u64, self.outer as u64)
    }
}

fn norm(context: &Context, cols: usize, normalization: Normalization, row_split: RowSplit) -> LayerNorm {
    let cols = u32::try_from(cols).unwrap();
    let affine = Affine::GainBias;
    let descriptor =
        LayerNormDescriptor { cols, normalization, affine, row_split, ..LayerNormDescriptor::default() };
    LayerNorm::new(context.kernels(), &descriptor).unwrap()
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|bits| f32::from_bits(*bits)).collect()
}

/// Within 4 units of the largest value of a row, or of all where `cols` is their number.
fn assert_close(what: &str, got: &[f32], expected: &[f64], cols: usize) {
    assert_eq!(got.len(), expected.len());
    for (row, (got, expected)) in got.chunks(cols).zip(expected.chunks(cols)).enumerate() {
        let most = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
        for (got, expected) in got.iter().zip(expected) {
            let units = (f64::from(*got) - expected).abs() / most * f64::from(1 << 24);
            assert!(units <= 4.0, "{what}, row {row}: {got} is not {expected}, {units} units off");
        }
    }
}

/// Forward and backward over tensors that lie so, against the reference over the same rows one after the
/// other.
fn check(context: &Context, strides: Strides, length: usize, norm: &LayerNorm, in_place: bool) {
    let Strides { rows, cols, .. } = strides;
    let which = format!("{rows} rows of {cols}, in place: {in_place}");
    let all: [Vec<f32>; 4] = [1, 2, 3, 4].map(|seed| values(seed << 28, length));
    let [x, y, dy, dx] = all.each_ref().map(|values| buffer(context, values));
    let parameters: [Vec<f32>; 2] = [5, 6].map(|seed| values(seed, cols));
    let [gain, bias] = parameters.each_ref().map(|values| buffer(context, values));
    let [dgain, dbias] = [7, 8].map(|seed| buffer(context, &values(seed, cols)));
    let statistics = buffer(context, &values(9, 2 * rows));

    let problem = norm.problem();
    let x_rows = strides.gather(&all[0]);
    let mut expected = vec![0.0; rows * cols];
    let mut expected_statistics = vec![[0.0; 2]; rows];
    let dense = |data| Rows { data, stride: cols };
    let inputs = ForwardInputs {
        gain: Some(&parameters[0][..]),
        bias: Some(&parameters[1][..]),
        ..ForwardInputs::new(rows, dense(&x_rows[..]))
    };
    let outputs = ForwardOutputs {
        statistics: Some(&mut expected_statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut expected, stride: cols })
    };
    reference::forward(problem, &inputs, outputs).unwrap();

    let to = if in_place { &x } else { &y };
    let before = if in_place { &all[0] } else { &all[1] };
    let forward = norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        statistics: Some((&statistics).into()),
        ..ForwardBuffers::new(rows as u64, strides.of(&x), strides.of(to))
    });
    let [got, got_statistics] = &run(context, &[&forward.unwrap()], &[to, &statistics])[..] else {
        unreachable!()
    };
    assert_close(&format!("y of {which}"), &strides.gather(&floats(got)), &expected, cols);
    let rstd: Vec<f32> = floats(got_statistics).chunks(2).map(|pair| pair[1]).collect();
    let expected_rstd: Vec<f64> = expected_statistics.iter().map(|pair| pair[1]).collect();
    assert_close(&format!("rstd of {which}"), &rstd, &expected_rstd, 1);
    let mut is_row = vec![false; length];
    strides.places().for_each(|place| is_row[place] = true);
    let untouched = (0..length).all(|i| is_row[i] || got[i] == before[i].to_bits());
    assert!(untouched, "{which}: y is written between its rows");

    if in_place {
        return;
    }
    let dy_rows = strides.gather(&all[2]);
    let mut expected_dx = vec![0.0; rows * cols];
    let (mut expected_dgain, mut expected_dbias) = (vec![0.0; cols], vec![0.0; cols]);
    let inputs = BackwardInputs {
        gain: Some(&parameters[0][..]),
        ..BackwardInputs::new(rows, dense(&x_rows[..]), dense(&dy_rows[..]))
    };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut expected_dx, stride: cols }),
        dgain: Some(&mut expected_dgain),
        dbias: Some(&mut expected_dbias),
        ..BackwardOutputs::default()
    };
    reference::backward(problem, &inputs, outputs).unwrap();
    let backward = norm.prepare_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(strides.of(&dx)),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(rows as u64, strides.of(&x), strides.of(&dy), &statistics)
    });
    let got = run(context, &[&backward.unwrap()], &[&dx, &dgain, &dbias]);
    assert_close(&format!("dx of {which}"), &strides.gather(&floats(&got[0])), &expected_dx, cols);
    assert_close(&format!("dgain of {which}"), &floats(&got[1]), &expected_dgain, cols);
    assert_close(&format!("dbias of {which}"), &floats(&got[2]), &expected_dbias, cols);
    let untouched = (0..length).all(|i| is_row[i] || got[0][i] == all[3][i].to_bits());
    assert!(untouched, "{which}: dx is written between its rows");
}

const NORMS: [Normalization; 2] = [Normalization::Layer, Normalization::Rms];

#[test]
fn channels_are_normalized_where_they_lie() {
    let context = context();
    // Held, streamed, split; one position, one channel, one sample.
    for (samples, channels, positions, row_split) in [
        (3, 24, 35, RowSplit::Never),
        (2, 96, 49, RowSplit::Never),
        (2, 3000, 5, RowSplit::Never),
        (2, 3000, 5, RowSplit::Wide),
        (4, 7, 1, RowSplit::Never),
        (1, 1, 9, RowSplit::Never),
        // Of whole accesses of four positions.
        (3, 24, 36, RowSplit::Never),
        (2, 96, 196, RowSplit::Never),
        (2, 3000, 8, RowSplit::Wide),
        (5, 7, 4, RowSplit::Never),
    ] {
        for normalization in NORMS {
            let strides = Strides::channels(samples, channels, positions);
            let norm = norm(&context, channels, normalization, row_split);
            let length = samples * channels * positions;
            check(&context, strides, length, &norm, false);
            check(&context, strides, length, &norm, true);
        }
    }
}

#[test]
fn heads_are_normalized_where_they_lie() {
    let context = context();
    // q of four heads and k of two beside v, of even and odd dimensions.
    for (dim, offset, heads) in [(32, 0, 4), (32, 128, 2), (7, 3, 3)] {
        for normalization in NORMS {
            let width = 8 * dim + 5 * usize::from(dim == 7);
            let strides = Strides::heads(5, width, heads, dim, offset);
            let norm = norm(&context, dim, normalization, RowSplit::Never);
            check(&context, strides, 5 * width, &norm, false);
            check(&context, strides, 5 * width, &norm, true);
        }
    }
}

/// The axis of a matrix that is not its last: weights `[in, out]` by output, whose rows are columns of the
/// matrix.
#[test]
fn a_row_may_be_a_column_of_a_matrix() {
    let context = context();
    let strides =
        Strides { rows: 33, cols: 20, offset: 0, inner_rows: 33, outer: 0, stride: 1, column_stride: 33 };
    let norm = norm(&context, 20, Normalization::L2, RowSplit::Never);
    check(&context, strides, 660, &norm, false);
    // One outer row is none.
    let x = buffer(&context, &values(1, 660));
    let y = buffer(&context, &values(2, 660));
    let plain = |buffer| BufferRows::at_element(buffer, 0).with_stride(1).with_column_stride(33);
    let bytes = |x: BufferRows<'_>, to| {
        let [gain, bias] = [5, 6].map(|seed| buffer(&context, &values(seed, 20)));
        let call = norm.prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            ..ForwardBuffers::new(33, x, to)
        });
        run(&context, &[&call.unwrap()], &[&y])
    };
    assert_eq!(bytes(plain(&x), plain(&y)), bytes(strides.of(&x), strides.of(&y)));
}

/// One inner row to an outer one: its own stride does not matter.
#[test]
fn a_head_may_be_alone() {
    let context = context();
    let strides =
        Strides { rows: 9, cols: 8, offset: 8, inner_rows: 1, outer: 24, stride: 0, column_stride: 1 };
    let norm = norm(&context, 8, Normalization::Layer, RowSplit::Never);
    check(&context, strides, 9 * 24, &norm, false);
    check(&context, strides, 9 * 24, &norm, true);
}

/// Two halves of a matrix's columns, each column a row, in one buffer.
#[test]
fn columns_beside_each_other_do_not_overlap() {
    let context = context();
    let descriptor = LayerNormDescriptor { affine: Affine::None, ..LayerNormDescriptor::layer(8) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let pool = buffer(&context, &values(1, 8 * 12));
    let half = |offset| BufferRows::at_element(&pool, offset).with_stride(1).with_column_stride(12);
    norm.prepare_forward(&ForwardBuffers::new(6, half(0), half(6))).unwrap();
    let error = norm.prepare_forward(&ForwardBuffers::new(6, half(0), half(5))).unwrap_err();
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
}

#[test]
fn heads_warmed_as_strided_compile_nothing_more() {
    let context = context();
    let norm = norm(&context, 32, Normalization::Layer, RowSplit::Never);
    let forward = wgpu_layernorm::plan::Forward::default();
    norm.warm(&WarmOptions {
        forward: &[forward],
        strides: wgpu_layernorm::plan::Strides::Rows,
        ..WarmOptions::default()
    })
    .unwrap();
    let warmed = context.kernels().pipelines();
    let strides = Strides::heads(5, 256, 4, 32, 0);
    let [x, y] = [1, 2].map(|seed| buffer(&context, &values(seed, 5 * 256)));
    let [gain, bias] = [5, 6].map(|seed| buffer(&context, &values(seed, 32)));
    let prepare = |x, y| {
        norm.prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            ..ForwardBuffers::new(20, x, y)
        })
        .unwrap()
    };
    prepare(strides.of(&x), strides.of(&y));
    assert_eq!(context.kernels().pipelines(), warmed);
    // Plain rows have a text of their own.
    prepare((&x).into(), (&y).into());
    assert_eq!(context.kernels().pipelines(), warmed + 1);
}

#[test]
fn wrong_strides_are_refused() {
    let context = context();
    let norm = LayerNorm::new(
        context.kernels(),
        &LayerNormDescriptor { affine: Affine::None, ..LayerNormDescriptor::layer(8) },
    )
    .unwrap();
    let [x, y] = [1, 2].map(|seed| buffer(&context, &values(seed, 256)));
    let rows = |buffer| BufferRows::at_element(buffer, 0);
    let refused = |rows: u64, x: BufferRows<'_>, y: BufferRows<'_>, parts: &[&str]| {
        let error = norm.prepare_forward(&ForwardBuffers::new(rows, x, y)).unwrap_err();
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text} has not all of {parts:?}");
        error
    };
    let heads = |buffer| rows(buffer).with_inner_rows(4, 40);
    norm.prepare_forward(&ForwardBuffers::new(20, heads(&x), heads(&y))).unwrap();
    // x inside outer rows, y not.
    norm.prepare_forward(&ForwardBuffers::new(20, heads(&x), &y)).unwrap();
    refused(20, rows(&x).with_inner_rows(0, 40), heads(&y), &["x.inner_rows", "0", "1 or more"]);
    refused(20, rows(&x).with_inner_rows(4, 31), heads(&y), &["x.outer_stride", "31", "32"]);
    refused(20, rows(&x).with_stride(7).with_inner_rows(4, 40), heads(&y), &["x.stride", "7", "8"]);
    refused(4, rows(&x).with_stride(1).with_column_stride(3), heads(&y), &["x.column_stride", "3", "4"]);
    refused(8, heads(&x), rows(&y).with_inner_rows(2, 40), &["y.inner_rows", "4, as x has", "2"]);
    // More elements than 64 bits can say, on one axis or several.
    let most = rows(&x).with_stride(u64::MAX).with_column_stride(u64::MAX - 1).with_inner_rows(1, u64::MAX);
    refused(u64::MAX, most, heads(&y), &["x.", "18446744073709551615"]);
    refused(u64::MAX, rows(&x).with_stride(u64::MAX), rows(&y), &["x", "18446744073709551615", "1024"]);
    // The last outer row's last row ends at 6 * 40 + 32, beyond 256; of 25 rows the last outer row has one.
    refused(28, heads(&x), heads(&y), &["x", "1088", "1024"]);
    norm.prepare_forward(&ForwardBuffers::new(25, heads(&x), heads(&y))).unwrap();
    // In one buffer, in each other's gaps: neither wgpu nor a kernel minds.
    let later = BufferRows::at_element(&x, 16).with_inner_rows(2, 40);
    let first = rows(&x).with_inner_rows(2, 40);
    norm.prepare_forward(&ForwardBuffers::new(10, first, later)).unwrap();
    let shifted = BufferRows::at_element(&x, 15).with_inner_rows(2, 40);
    let error = refused(10, first, shifted, &["overlap"]);
    assert!(matches!(error, Error::Overlap { written: "y", other: "x", .. }), "{error:?}");
}
