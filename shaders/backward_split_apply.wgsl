// Backward over several workgroups a row, the second of two dispatches: the row's sums from those of its
// chunks, then dx, and the sums over rows on the way.
//
//     slot        the threads of a chunk of one row, walking its rows (workgroup_rows)
//     workgroup   rows_per_workgroup slots of one chunk, workgroup n the chunk n % CHUNKS
//     chunk       threads_per_row threads side by side, each with STEPS * PARTS vec4 of it (common/row.wgsl)
//
// Each thread keeps the gain and the sums over rows of its own columns in registers from its first row to its
// last, then leaves them as its columns of the slot's partial sum.
//
// Needs: load_xhat, load_source_of_dz, dz_of, load_parameters, times_gain_plus, load_row_sums, split_means,
// sums_left, projecting_means, write_large_dx, total_dx, finish_dx, write_row_gain_gradient, update_partials,
// row_sum (2 calls a row).

const VECTORS: u32 = STEPS * PARTS;

// Whether the next row has other parameters.
const RELOAD_PARAMETERS: bool = false;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let chunk = workgroup_number(workgroup) % CHUNKS;
    let first_slot = workgroup_number(workgroup) / CHUNKS * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    let first_step = chunk * STEPS;
    var parameters: array<Parameters, STEPS>;
    for (var step = 0u; step < STEPS; step++) {
        parameters[step] = load_parameters(rows.first, first_step + step, thread);
    }
    var sum_dgain = array<ProductSum, VECTORS>();
    var sum_dbias = array<ProductSum, VECTORS>();
    for (var first_row = rows.first; first_row < rows.end; first_row += ROWS_PER_WORKGROUP) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = ROWS_PER_WORKGROUP == 1u || first_row + slot_in_workgroup < rows.end;
        let row = min(first_row + slot_in_workgroup, rows.end - 1u);
        let saved = load_statistics(row);
        let own = load_row_sums(row, thread);
        var means = with_row_gain(row, row_means(row_sum(invocation, own.walked.sums), saved.rstd));
        if (WIDE_RANGE) {
            let left = sums_left(own.walked, means);
            let small = row_sum(invocation, select(left, own.small, means.is_large));
            means = split_means(projecting_means(means, small), small);
        }
        if (has_row) {
            if (chunk == 0u) {
                write_row_gain_gradient(row, thread, means);
            }
            for (var step = 0u; step < STEPS; step++) {
                var xhat = load_xhat(row, first_step + step, thread, saved, means.delta);
                if (RELOAD_PARAMETERS) {
                    parameters[step] = load_parameters(row, first_step + step, thread);
                }
                let of_dz = load_source_of_dz(row, first_step + step, thread);
                var dy_values = dz_of(row, first_step + step, thread, of_dz, parameters[step], saved);
                var dx = times_gain_plus(parameters[step], dy_values, -means.dxhat);
                for (var part = 0u; part < PARTS; part++) {
                    let i = step * PARTS + part;
                    dx[part] = means.factor * projected(xhat[part], dx[part], means);
                    if (WITH_DGAIN) {
                        let factor = gain_factor(xhat[part], dy_values[part], saved);
                        sum_dgain[i] = add_product(sum_dgain[i], dy_values[part], factor);
                    }
                    if (WITH_DBIAS) {
                        sum_dbias[i] = add_product(sum_dbias[i], dy_values[part], vec4<f32>(1.0));
                    }
                }
                // A row in place is read once more.
                if (IS_LINEAR || !(WIDE_RANGE && means.is_large)) {
                    dx = total_dx(row, first_step + step, thread, dx);
                    finish_dx(row, first_step + step, thread, saved, dx, means.nan);
                }
            }
            if (!IS_LINEAR && WIDE_RANGE && means.is_large) {
                write_large_dx(row, first_step, thread, saved, means);
            }
        }
    }

    let partial_row = first_slot + slot_in_workgroup;
    let is_first = partial_row >= params.earlier_partial_rows;
    for (var step = 0u; step < STEPS; step++) {
        var dgain: Values;
        var dbias: Values;
        for (var part = 0u; part < PARTS; part++) {
            dgain[part] = sum_dgain[step * PARTS + part].sum;
            dbias[part] = sum_dbias[step * PARTS + part].sum;
        }
        if (WITH_DGAIN) {
            update_partials(partial_dgain(partial_row), first_step + step, thread, dgain, is_first);
        }
        if (WITH_DBIAS) {
            update_partials(partial_dbias(partial_row), first_step + step, thread, dbias, is_first);
        }
    }
}
