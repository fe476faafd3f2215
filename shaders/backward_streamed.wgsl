// Backward for rows that do not fit the registers: two reads of x and of dy, one write of dx.
//
//     slot        the threads of one row, walking its rows in blocks of BLOCK_ROWS (workgroup_rows)
//     workgroup   rows_per_workgroup slots, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//     access      of columns of a row, or of one column of ACCESS_ROWS rows side by side (access/)
//
// Both walks go over the columns once for the whole block, in runs of RUN_STEPS steps
// (common/backward_walk.wgsl). The first takes four sums over the columns of each row. In the second a thread
// adds up BLOCK_ROWS rows of its columns before it updates the slot's partial sums in memory, where they stay
// from block to block. Only the thread that owns a column touches its sums.
//
// Needs: load_block_statistics, walk_sums, sums_left, projecting_means, load_source, dz_of, load_parameters,
// times_gain_plus, small_sums, known_means, write_large_dx, total_dx, finish_dx, write_row_gain_gradient,
// update_partials, row_sum (2 calls a row), count_clamped; with dgate gate_terms, large_gate_terms.

// Whether the gradient of a gate is wanted.
const WITH_DGATE: bool = false;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = thread_of(invocation.index);
    let slot_in_workgroup = slot_of(invocation.index);
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    let partial_row = first_slot + slot_in_workgroup;
    var is_first = partial_row >= params.earlier_partial_rows;
    let step_rows = ROWS_PER_WORKGROUP * BLOCK_ROWS * ACCESS_ROWS;
    for (var first_block = rows.first; first_block < rows.end; first_block += step_rows) {
        let block = Block(first_block, slot_in_workgroup, rows.end);
        var saved = load_block_statistics(block);
        var sums = walk_sums(block, saved, 0u, STEPS, thread);
        var means: array<RowMeans, BLOCK_ROWS>;
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            // Threads without a row take part in the sums of those that have one.
            if (block_row(first_block, 0u, b, BLOCK_ROWS) < rows.end) {
                let row = row_of(block, b);
                means[b] = row_means(row_sum(invocation, sums[b].sums), saved[b].rstd);
                means[b] = with_row_gain(min(row, rows.end - 1u), means[b]);
                if (WIDE_RANGE) {
                    var left = sums_left(sums[b], means[b]);
                    if (is_any(means[b].is_large) && row < rows.end) {
                        let small = small_sums(row, 0u, thread, saved[b], means[b].delta);
                        left = chosen_sums(left, small, means[b].is_large);
                    }
                    left = row_sum(invocation, left);
                    means[b] = known_means(projecting_means(means[b], left), left);
                }
            }
        }

        for (var b = 0u; b < BLOCK_ROWS; b++) {
            if (row_of(block, b) < rows.end) {
                write_row_gain_gradient(row_of(block, b), thread, means[b]);
            }
        }

        for (var run_step = 0u; run_step < STEPS; run_step += RUN_STEPS) {
            var parameters: array<Parameters, RUN_STEPS>;
            for (var i = 0u; i < RUN_STEPS; i++) {
                parameters[i] = load_parameters(row_of(block, 0u), run_step + i, thread);
            }
            var sum_dgain = array<Values, RUN_STEPS>();
            var sum_dbias = array<Values, RUN_STEPS>();
            var sum_dgate = array<Values, RUN_STEPS>();
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                let row = row_of(block, b);
                if (row < rows.end) {
                    for (var i = 0u; i < RUN_STEPS; i++) {
                        let step = run_step + i;
                        var source_values = load_source(row, step, thread);
                        var dy_values = dz_of(row, step, thread, source_values, parameters[i], saved[b]);
                        var dx = times_gain_plus(parameters[i], dy_values, -means[b].dxhat);
                        for (var part = 0u; part < PARTS; part++) {
                            let xhat = saved_xhat(source_values[part], saved[b]) - means[b].delta;
                            dx[part] = means[b].factor * projected(xhat, dx[part], means[b]);
                            let factor = gain_factor(xhat, dy_values[part], saved[b]);
                            sum_dgain[i][part] = fma(dy_values[part], factor, sum_dgain[i][part]);
                            sum_dbias[i][part] += dy_values[part];
                        }
                        // A row in place is read once more.
                        if (!(WIDE_RANGE && is_any(means[b].is_large))) {
                            dx = total_dx(row, step, thread, dx);
                            if (WITH_DGATE) {
                                sum_dgate[i] = add_values(sum_dgate[i], gate_terms(row, step, thread, dx, means[b].nan));
                            }
                            finish_dx(row, step, thread, saved[b], dx, means[b].nan);
                        }
                    }
                }
            }
            for (var i = 0u; i < RUN_STEPS; i++) {
                if (WITH_DGAIN) {
                    update_partials(partial_dgain(partial_row), run_step + i, thread, sum_dgain[i], is_first);
                }
                if (WITH_DBIAS) {
                    update_partials(partial_dbias(partial_row), run_step + i, thread, sum_dbias[i], is_first);
                }
                if (WITH_DGATE) {
                    update_partials(partial_dgate(partial_row), run_step + i, thread, sum_dgate[i], is_first);
                }
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            if (WIDE_RANGE && is_any(means[b].is_large) && row_of(block, b) < rows.end) {
                if (WITH_DGATE) {
                    for (var step = 0u; step < unknown_steps(); step++) {
                        let terms = large_gate_terms(row_of(block, b), step, thread, saved[b], means[b]);
                        update_partials(partial_dgate(partial_row), step, thread, terms, false);
                    }
                }
                write_large_dx(row_of(block, b), 0u, thread, saved[b], means[b]);
            }
        }
        is_first = false;
    }
    count_clamped(invocation, workgroup, thread);
}
