//! Where tensors may lie: statistics side by side or apart, slices and bindings of wgpu's own. The bits are
//! the same.

mod support;

use support::{buffer, context, context_with, run, values};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    BackwardBuffers, BufferRows, BufferStatistics, BufferVector, Context, ForwardBuffers, LayerNorm,
    LayerNormDescriptor, Normalization,
};

/// Cached, streamed and split rows.
const SHAPES: [(usize, usize, RowSplit); 4] = [
    (21, 24, RowSplit::Never),
    (21, 23, RowSplit::Never),
    (5, 9001, RowSplit::Never),
    (5, 9000, RowSplit::Wide),
];

fn norm(
    context: &Context,
    cols: usize,
    row_split: RowSplit,
    make: fn(u32) -> LayerNormDescriptor<'static>,
) -> LayerNorm {
    let descriptor = LayerNormDescriptor { row_split, ..make(u32::try_from(cols).unwrap()) };
    LayerNorm::new(context.kernels(), &descriptor).unwrap()
}

/// Where statistics lie in their buffer, in elements.
#[derive(Clone, Copy, Debug)]
enum Where {
    SideBySide(usize),
    Apart { mean: usize, rstd: usize },
}

impl Where {
    fn of(self, buffer: &wgpu::Buffer) -> BufferStatistics<'_> {
        let at = |offset| BufferVector::at_element(buffer, offset as u64);
        match self {
            Self::SideBySide(first) => BufferStatistics::side_by_side(at(first)),
            Self::Apart { mean, rstd } => BufferStatistics::apart(at(mean), at(rstd)),
        }
    }

    /// The elements of a row's mean and rstd.
    const fn elements(self, row: usize) -> [usize; 2] {
        match self {
            Self::SideBySide(first) => [first + 2 * row, first + 2 * row + 1],
            Self::Apart { mean, rstd } => [mean + row, rstd + row],
        }
    }
}

/// The bits of y, dx, dgain and dbias, and of each row's mean and rstd. Nothing else is written where they
/// lie.
fn bits(context: &Context, norm: &LayerNorm, rows: usize, place: Where) -> Vec<Vec<u32>> {
    let cols = norm.problem().cols as usize;
    let has_bias = norm.problem().affine.has_bias();
    let [x, dy, y, dx] = [1, 2, 3, 4].map(|seed| buffer(context, &values(seed, rows * cols)));
    let [gain, bias, dgain, dbias] = [5, 6, 7, 8].map(|seed| buffer(context, &values(seed, cols)));
    let before = values(9, 3 * rows + 400);
    let statistics = buffer(context, &before);
    let forward = norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: has_bias.then_some((&bias).into()),
        statistics: Some(place.of(&statistics)),
        ..ForwardBuffers::new(rows as u64, &x, &y)
    });
    let backward = norm.prepare_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        dbias: has_bias.then_some((&dbias).into()),
        ..BackwardBuffers::new(rows as u64, &x, &dy, place.of(&statistics))
    });
    let calls = [forward.unwrap(), backward.unwrap()];
    let mut all = run(context, &[&calls[0], &calls[1]], &[&y, &dx, &dgain, &dbias, &statistics]);
    let statistics = all.pop().unwrap();
    let elements: Vec<usize> = (0..rows).flat_map(|row| place.elements(row)).collect();
    let mut unwritten = (0..before.len()).filter(|at| !elements.contains(at));
    assert!(unwritten.all(|at| statistics[at] == before[at].to_bits()), "{place:?}: written outside of it");
    all.push(elements.iter().map(|at| statistics[*at]).collect());
    all
}

/// Statistics apart, mean first and rstd first, give the bits of those side by side.
fn check_apart(context: &Context, norm: &LayerNorm, rows: usize, which: &str) {
    let far = rows + 77;
    let expected = bits(context, norm, rows, Where::SideBySide(3));
    for (mean, rstd) in [(0, rows), (3, far), (far, 3), (rows, 0)] {
        let place = Where::Apart { mean, rstd };
        assert!(bits(context, norm, rows, place) == expected, "{which}: {place:?}");
    }
}

#[test]
fn statistics_have_the_same_bits_apart() {
    let context = context();
    for (rows, cols, row_split) in SHAPES {
        for make in [LayerNormDescriptor::layer, LayerNormDescriptor::rms] {
            let norm = norm(&context, cols, row_split, make);
            let which = format!("{rows} rows of {cols}, {row_split:?}, {:?}", norm.problem().normalization);
            check_apart(&context, &norm, rows, &which);
            if norm.problem().normalization == Normalization::Layer && rows == 21 {
                check_apart(&context, &norm, 1, &which);
            }
        }
    }
}

/// Rows that are cut into several dispatches: each has a window of its own over both.
#[test]
fn statistics_are_apart_in_every_dispatch_of_a_call() {
    // The window of one row reaches from its mean to its rstd, 300 elements, and a whole alignment more.
    let context = context_with(|limits| limits.max_storage_buffer_binding_size = 2048);
    let norm = norm(&context, 64, RowSplit::Never, LayerNormDescriptor::layer);
    let rows = 150;
    let expected = bits(&context, &norm, rows, Where::SideBySide(0));
    for (mean, rstd) in [(1, 301), (301, 1)] {
        let place = Where::Apart { mean, rstd };
        assert!(bits(&context, &norm, rows, place) == expected, "{place:?}");
    }
    // What no binding reaches over is refused.
    let statistics = buffer(&context, &[0.0; 2048]);
    let x = buffer(&context, &[0.0; 64]);
    let apart = Where::Apart { mean: 0, rstd: 1000 }.of(&statistics);
    let error = norm.prepare_forward(&ForwardBuffers::statistics(1, &x, apart)).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(
        error.to_string(),
        "storage buffer binding size in bytes is 2048 on this device, needs at least 4004 for one row of statistics"
    );
}

/// x, y, mean and rstd of an allocator's pool, by its slices and bindings: x between mean and rstd.
#[test]
fn slices_and_bindings_are_taken_as_they_are() {
    let context = context();
    let (rows, cols) = (21, 24);
    let norm = norm(&context, cols, RowSplit::Never, LayerNormDescriptor::layer);
    let bytes = (rows * cols * 4) as u64;
    let (x_at, y_at) = (100, 100 + bytes + 4);
    let (rstd_at, gain_at, mean_at) = (0, y_at + bytes, y_at + bytes + 2 * 4 * cols as u64);
    let image = values(1, 4096);
    let run_over = |pool: &wgpu::Buffer, buffers: ForwardBuffers<'_>| {
        let call = norm.prepare_forward(&buffers).unwrap();
        run(&context, &[&call], &[pool]).remove(0)
    };
    let by_elements = buffer(&context, &image);
    let vector = |buffer, bytes: u64| BufferVector::at_element(buffer, bytes / 4);
    let expected = run_over(
        &by_elements,
        ForwardBuffers {
            gain: Some(vector(&by_elements, gain_at)),
            bias: Some(vector(&by_elements, gain_at + 4 * cols as u64)),
            statistics: Some(BufferStatistics::apart(
                vector(&by_elements, mean_at),
                vector(&by_elements, rstd_at),
            )),
            ..ForwardBuffers::new(
                rows as u64,
                BufferRows::at_element(&by_elements, x_at / 4),
                BufferRows::at_element(&by_elements, y_at / 4),
            )
        },
    );
    let pool = buffer(&context, &image);
    let binding = |offset, size| wgpu::BufferBinding { buffer: &pool, offset, size };
    let slice = |offset: u64, size: usize| pool.slice(offset..offset + size as u64);
    let got = run_over(
        &pool,
        ForwardBuffers {
            gain: Some(binding(gain_at, None).into()),
            bias: Some(BufferVector::at_byte(&pool, gain_at + 4 * cols as u64)),
            statistics: Some(BufferStatistics::apart(slice(mean_at, 4 * rows), slice(rstd_at, 4 * rows))),
            ..ForwardBuffers::new(
                rows as u64,
                slice(x_at, rows * cols * 4),
                binding(y_at, wgpu::BufferSize::new(bytes)),
            )
        },
    );
    assert!(got == expected);
    let before: Vec<u32> = image.iter().map(|value| value.to_bits()).collect();
    assert!(expected != before, "something is written");
}
