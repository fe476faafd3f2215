//! Whether a row's bits depend on the rows beside it, by [`RowSplit`], on every adapter.

use wgpu_layernorm::plan::{Kernel, RowSplit};
use wgpu_layernorm::{
    BackwardInputs, BackwardResult, Context, ForwardBuffers, ForwardInputs, ForwardResult, Problem, Rows,
    adapters, wgpu,
};

const COLS: usize = 20_000;
const ROWS: usize = 70;

fn problem() -> Problem {
    Problem { cols: 20_000, ..Problem::default() }
}

/// Numbers of which no two sums in different order are likely to be the same.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 1e6 - 7.0;
    (0..u32::try_from(count).unwrap()).map(value).collect()
}

/// The forward and the dx of backward over `rows` rows from `first` on.
fn run(context: &Context, first: usize, rows: usize) -> (ForwardResult<f32>, BackwardResult<f32, f32>) {
    let (x, dy) = (values(ROWS * COLS, 1), values(ROWS * COLS, 77));
    let (gain, bias) = (values(COLS, 5), values(COLS, 6));
    let of = |data| Rows { data: &Vec::as_slice(data)[first * COLS..(first + rows) * COLS], stride: COLS };
    let forward =
        ForwardInputs { gain: Some(&gain[..]), bias: Some(&bias[..]), ..ForwardInputs::new(rows, of(&x)) };
    let backward = BackwardInputs { gain: Some(&gain[..]), ..BackwardInputs::new(rows, of(&x), of(&dy)) };
    (
        context.forward_blocking(&problem(), &forward).unwrap(),
        context.backward_blocking(&problem(), &backward).unwrap(),
    )
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Bits of y and of dx of the rows from `first` on.
fn rows_of(
    results: &(ForwardResult<f32>, BackwardResult<f32, f32>),
    rows: std::ops::Range<usize>,
) -> [Vec<u32>; 2] {
    let range = rows.start * COLS..rows.end * COLS;
    [&results.0.y, &results.1.dx].map(|values| bits(&values[range.clone()]))
}

fn contexts() -> Vec<Context> {
    let contexts: Vec<_> = pollster::block_on(adapters())
        .iter()
        .map(|adapter| pollster::block_on(Context::open(adapter)).unwrap())
        .collect();
    assert!(
        !contexts.is_empty(),
        "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu"
    );
    contexts
}

#[test]
fn rows_beside_a_row_do_not_change_its_bits() {
    for context in contexts() {
        for split in [RowSplit::Never, RowSplit::Wide] {
            let context = context.clone().with_row_split(split);
            let all = run(&context, 0, ROWS);
            for (first, rows) in [(0, 1), (ROWS - 1, 1), (3, 5)] {
                let alone = rows_of(&run(&context, first, rows), 0..rows);
                assert_eq!(alone, rows_of(&all, first..first + rows), "{split:?}, {rows} rows from {first}");
            }
        }
    }
}

#[test]
fn rows_too_wide_for_registers_are_split_by_choice_whatever_their_number() {
    for context in contexts() {
        let kernels = |split, rows: u64, problem: &Problem| {
            let norm = context.clone().with_row_split(split).layer_norm(problem).unwrap();
            let size = rows * 4 * u64::from(problem.cols);
            let usage = wgpu::BufferUsages::STORAGE;
            let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
            let [x, y] = [(); 2].map(|()| context.device().create_buffer(&descriptor));
            let plans = norm.plan_forward(&ForwardBuffers::new(rows, &x, &y)).unwrap();
            plans.iter().map(|plan| plan.kernel).collect::<Vec<_>>()
        };
        let wide = Problem { affine: wgpu_layernorm::Affine::None, ..problem() };
        let narrow = Problem { cols: 64, ..wide };
        let split = [Kernel::ForwardSplitStatistics, Kernel::ForwardSplitApply];
        let most = RowSplit::most_rows(context.caps().kind);
        for rows in [1, most, most + 1] {
            assert_eq!(kernels(RowSplit::Never, rows, &wide), [Kernel::ForwardStreamed]);
            assert_eq!(kernels(RowSplit::Never, rows, &narrow), [Kernel::ForwardCached]);
            assert_eq!(kernels(RowSplit::Wide, rows, &wide), split);
            assert_eq!(kernels(RowSplit::Wide, rows, &narrow), [Kernel::ForwardCached]);
        }
    }
}
