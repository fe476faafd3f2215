// Backward for rows that do not fit the registers: two reads of x and of dy, one write of dx.
//
//     slot        the threads of one row, walking blocks slot, slot + slots, ... of BLOCK_ROWS rows each
//     workgroup   rows_per_workgroup slots, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// The first walk takes the three sums over the columns of each row of a block. The second goes over the columns once
// for the whole block: a thread adds up BLOCK_ROWS rows of its columns before it updates the slot's partial sums in
// memory, where they stay from block to block. Only the thread that owns a column touches its sums.
//
// Needs: walk_sums, load_x, load_dy, load_parameters, times_gain_plus, write_dx, update_partials, row_sum (1 call a row).

const BLOCK_ROWS: u32 = 4u;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    if (first_slot >= params.slots) {
        return;
    }

    let partial_row = first_slot + slot_in_workgroup;
    var is_first = partial_row >= params.earlier_partial_rows;
    var half = 0u;
    for (var first_block = first_slot; first_block * BLOCK_ROWS < params.rows; first_block += params.slots) {
        let first_row = (first_block + slot_in_workgroup) * BLOCK_ROWS;
        var saved: array<RowStatistics, BLOCK_ROWS>;
        var means: array<RowMeans, BLOCK_ROWS>;
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            // Threads without a row repeat the last one, so that all take part in the sums.
            let row = min(first_row + b, params.rows - 1u);
            saved[b] = load_statistics(row);
            let sums = walk_sums(row, saved[b], 0u, STEPS, thread);
            means[b] = row_means(row_sum(invocation, sums, half), saved[b].rstd);
            half = 1u - half;
        }

        for (var step = 0u; step < STEPS; step++) {
            var sum_dgain = Values();
            var sum_dbias = Values();
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                let row = first_row + b;
                if (row < params.rows) {
                    var x_values = load_x(params.x.x + row * params.x.y, step, thread);
                    var dy_values = load_dy(params.dy.x + row * params.dy.y, step, thread);
                    var dx = times_gain_plus(load_parameters(step, thread), dy_values, -means[b].dxhat);
                    for (var part = 0u; part < PARTS; part++) {
                        let xhat = saved_xhat(x_values[part], saved[b]) - means[b].delta;
                        dx[part] = means[b].rstd * projected(xhat, dx[part], means[b]);
                        sum_dgain[part] = fma(dy_values[part], xhat, sum_dgain[part]);
                        sum_dbias[part] += dy_values[part];
                    }
                    write_dx(params.dx.x + row * params.dx.y, step, thread, dx);
                }
            }
            if (WITH_DGAIN) {
                update_partials(partial_dgain(partial_row), step, thread, sum_dgain, is_first);
            }
            if (WITH_DBIAS) {
                update_partials(partial_dbias(partial_row), step, thread, sum_dbias, is_first);
            }
        }
        is_first = false;
    }
}
