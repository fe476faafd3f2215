// The sums of xhat, dxhat, dxhat * xhat and xhat * xhat over columns that do not fit the registers, for a
// block of rows.

// Accesses of a block, of ACCESS_ROWS rows each: what is loaded for a run serves all of them.
const BLOCK_ROWS: u32 = 4u;
// Steps of a run, whose gain a thread holds while it goes over the rows of a block.
const RUN_STEPS: u32 = 4u / PARTS;

// Of a slot's block: its first row by that of the workgroup's, and the end of the workgroup's rows.
struct Block {
    first: u32,
    slot: u32,
    end: u32,
}

fn row_of(block: Block, b: u32) -> u32 {
    return block_row(block.first, block.slot, b, BLOCK_ROWS);
}

// The statistics of the block's rows.
fn load_block_statistics(block: Block) -> array<RowStatistics, BLOCK_ROWS> {
    var saved: array<RowStatistics, BLOCK_ROWS>;
    for (var b = 0u; b < BLOCK_ROWS; b++) {
        if (row_of(block, b) < block.end) {
            saved[b] = load_statistics(row_of(block, b));
        }
    }
    return saved;
}

// A dxhat from here on makes the sum of dxhat NaN, and with it the row large (large_dxhat.wgsl). Below it no
// dx / rstd and no sum exceeds float32.
const LARGE_DXHAT: f32 = 0x1p103f;

// Over the thread's columns in steps first_step to end_step, of the same rows; 0 for rows that are not there.
// Needs: load_source, dz_of, load_parameters, times_gain_plus.
//
// Long sums are taken in runs, and the runs added up compensated: rounding errors of thousands of additions
// to one growing sum would show, most where the terms are alike.
fn walk_sums(
    block: Block,
    block_statistics: array<RowStatistics, BLOCK_ROWS>,
    first_step: u32,
    end_step: u32,
    thread: u32,
) -> array<WalkSums, BLOCK_ROWS> {
    var saved = block_statistics;
    var totals = array<WalkTotals, BLOCK_ROWS>();
    var count = vec4<f32>();
    // Of all four components together: four numbers a row would be 16 registers of a block of four.
    var largest = array<PerRow, BLOCK_ROWS>();
    for (var run_step = first_step; run_step < end_step; run_step += RUN_STEPS) {
        var parameters: array<Parameters, RUN_STEPS>;
        for (var i = 0u; i < RUN_STEPS; i++) {
            let step = run_step + i;
            parameters[i] = load_parameters(row_of(block, 0u), step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                count += select(vec4<f32>(), vec4<f32>(1.0), is_in);
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            let row = row_of(block, b);
            if (row < block.end) {
                var run_xhat = vec4<f32>();
                var run_dxhat = vec4<f32>();
                var run_squares = Compensated();
                var run_product = Compensated();
                for (var i = 0u; i < RUN_STEPS; i++) {
                    let step = run_step + i;
                    // Steps beyond the last are those of another workgroup, which may be at work on them.
                    let loaded_step = min(step, end_step - 1u);
                    var source_values = load_source(row, loaded_step, thread);
                    var dy_values = dz_of(row, loaded_step, thread, source_values, parameters[i], saved[b]);
                    var dxhat = times_gain_plus(parameters[i], dy_values, PerRow());
                    for (var part = 0u; part < PARTS; part++) {
                        let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                        let xhat = saved_xhat(source_values[part], saved[b]);
                        let row_xhat = select(vec4<f32>(), unfactored(xhat), is_in);
                        let row_dxhat = select(vec4<f32>(), dxhat[part], is_in);
                        run_xhat += row_xhat;
                        run_dxhat += row_dxhat;
                        if (SHOWS_RESIDUE) {
                            run_squares = add_compensated(run_squares, row_xhat * xhat);
                        }
                        if (WIDE_RANGE) {
                            largest[b] = max(largest[b], largest_component(abs(row_dxhat)));
                        }
                        run_product = add_compensated(run_product, row_dxhat * row_xhat);
                    }
                }
                let run = Sums(add_components(run_xhat), add_components(run_dxhat), add_components(run_product.sum));
                totals[b] = add_run(totals[b], run, add_components(run_squares.sum));
            }
        }
    }
    var sums: array<WalkSums, BLOCK_ROWS>;
    for (var b = 0u; b < BLOCK_ROWS; b++) {
        sums[b] = walk_sums_of(totals[b], add_components(count));
        if (WIDE_RANGE) {
            let nan = bits_if(largest[b] >= PerRow(LARGE_DXHAT));
            sums[b].sums[1] = of_row(or_nan(vec4<f32>(sums[b].sums[1]), nan));
        }
    }
    return sums;
}
