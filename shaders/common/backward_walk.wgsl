// The sums of xhat, dxhat, dxhat * xhat and xhat * xhat over columns that do not fit the registers, for a
// block of rows.

// Rows of a block: what is loaded for a run serves all of them.
const BLOCK_ROWS: u32 = 4u;
// Steps of a run, whose gain a thread holds while it goes over the rows of a block.
const RUN_STEPS: u32 = 4u / PARTS;

// The statistics of the block's rows, from first_row on and before end_row.
fn load_block_statistics(first_row: u32, end_row: u32) -> array<RowStatistics, BLOCK_ROWS> {
    var saved: array<RowStatistics, BLOCK_ROWS>;
    for (var b = 0u; b < BLOCK_ROWS; b++) {
        if (first_row + b < end_row) {
            saved[b] = load_statistics(first_row + b);
        }
    }
    return saved;
}

// A dxhat from here on makes the sum of dxhat NaN, and with it the row large (large_dxhat.wgsl). Below it no
// dx / rstd and no sum exceeds float32.
const LARGE_DXHAT: f32 = 0x1p103f;

// Over the thread's columns in steps first_step to end_step, of the same rows; 0 for rows that are not there.
// Needs: load_x, load_dz, load_parameters, times_gain_plus.
//
// Long sums are taken in runs, and the runs added up compensated: rounding errors of thousands of additions
// to one growing sum would show, most where the terms are alike.
fn walk_sums(
    first_row: u32,
    end_row: u32,
    block_statistics: array<RowStatistics, BLOCK_ROWS>,
    first_step: u32,
    end_step: u32,
    thread: u32,
) -> array<WalkSums, BLOCK_ROWS> {
    var saved = block_statistics;
    var totals = array<Compensated, BLOCK_ROWS>();
    var count = vec4<f32>();
    // Of all four components together: four numbers a row would be 16 registers of a block of four.
    var largest = array<f32, BLOCK_ROWS>();
    for (var run_step = first_step; run_step < end_step; run_step += RUN_STEPS) {
        var parameters: array<Parameters, RUN_STEPS>;
        for (var i = 0u; i < RUN_STEPS; i++) {
            let step = run_step + i;
            parameters[i] = load_parameters(first_row, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                count += select(vec4<f32>(), vec4<f32>(1.0), is_in);
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            let row = first_row + b;
            if (row >= end_row) {
                continue;
            }
            var run_xhat = vec4<f32>();
            var run_dxhat = vec4<f32>();
            var run_squares = Compensated();
            var run_product = Compensated();
            for (var i = 0u; i < RUN_STEPS; i++) {
                let step = run_step + i;
                // Steps beyond the last are those of another workgroup, which may be at work on them.
                let loaded_step = min(step, end_step - 1u);
                var x_values = load_x(row, loaded_step, thread);
                var dy_values = load_dz(row, loaded_step, thread, saved[b]);
                var dxhat = times_gain_plus(parameters[i], dy_values, 0.0);
                for (var part = 0u; part < PARTS; part++) {
                    let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                    let xhat = saved_xhat(x_values[part], saved[b]);
                    let row_xhat = select(vec4<f32>(), unfactored(xhat), is_in);
                    let row_dxhat = select(vec4<f32>(), dxhat[part], is_in);
                    run_xhat += row_xhat;
                    run_dxhat += row_dxhat;
                    if (SHOWS_RESIDUE) {
                        run_squares = add_compensated(run_squares, row_xhat * xhat);
                    }
                    if (WIDE_RANGE) {
                        let sizes = abs(row_dxhat);
                        largest[b] = max(largest[b], max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
                    }
                    run_product = add_compensated(run_product, row_dxhat * row_xhat);
                }
            }
            let run = Sums(add_components(run_xhat), add_components(run_dxhat), add_components(run_product.sum));
            totals[b] = add_compensated(totals[b], vec4<f32>(run, add_components(run_squares.sum)));
        }
    }
    var sums: array<WalkSums, BLOCK_ROWS>;
    for (var b = 0u; b < BLOCK_ROWS; b++) {
        sums[b] = WalkSums(totals[b].sum.xyz, totals[b].sum.w, add_components(count));
        if (WIDE_RANGE && largest[b] >= LARGE_DXHAT) {
            sums[b].sums.y = or_nan(totals[b].sum, 0xffffffffu).y;
        }
    }
    return sums;
}
