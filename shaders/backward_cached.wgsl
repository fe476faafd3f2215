// Backward, the row in registers: one read of x and of dy, one write of dx, and the sums over rows on the way.
//
//     slot        a row's place: the threads of one row, walking rows slot, slot + slots, slot + 2 slots, ...
//     workgroup   rows_per_workgroup slots, one below the other
//     row         threads_per_row threads side by side, each with STEPS * PARTS vec4 of it (common/row.wgsl)
//
// Each thread keeps the sums over rows of its own columns in registers from its first row to its last, then leaves them
// as the slot's partial sum. The three sums over the row's columns are taken together.
//
// Needs: load_x, load_dy, times_gain, write_dx, update_partials, row_sum (1 call a row).

const VECTORS: u32 = STEPS * PARTS;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(invocation: Invocation) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(invocation.workgroup) * ROWS_PER_WORKGROUP;
    if (first_slot >= params.slots) {
        return;
    }

    var sum_dgain: array<vec4<f32>, VECTORS>;
    var sum_dbias: array<vec4<f32>, VECTORS>;
    var half = 0u;
    for (var first_row = first_slot; first_row < params.rows; first_row += params.slots) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = first_row + slot_in_workgroup < params.rows;
        let row = min(first_row + slot_in_workgroup, params.rows - 1u);
        let saved = load_statistics(row);
        var xhat: array<vec4<f32>, VECTORS>;
        var dy: array<vec4<f32>, VECTORS>;
        var sum_xhat = vec4<f32>();
        var sum_dxhat = vec4<f32>();
        var sum_product = vec4<f32>();
        for (var step = 0u; step < STEPS; step++) {
            var x_values = load_x(params.x.x + row * params.x.y, step, thread);
            var dy_values = load_dy(params.dy.x + row * params.dy.y, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let i = step * PARTS + part;
                xhat[i] = keep_row(saved_xhat(x_values[part], saved), step, part, thread);
                dy_values[part] = keep_row(dy_values[part], step, part, thread);
                dy[i] = dy_values[part];
            }
            var dxhat = times_gain(step, thread, dy_values);
            for (var part = 0u; part < PARTS; part++) {
                let scaled_xhat = xhat[step * PARTS + part] * SUM_SCALE;
                sum_xhat += scaled_xhat;
                sum_dxhat = fma(dxhat[part], vec4<f32>(SUM_SCALE), sum_dxhat);
                sum_product = fma(dxhat[part], scaled_xhat, sum_product);
            }
        }
        let sums = Sums(add_components(sum_xhat), add_components(sum_dxhat), add_components(sum_product), 0.0);
        let means = row_means(row_sum(invocation, sums, half), saved.rstd);
        half = 1u - half;
        if (has_row) {
            for (var step = 0u; step < STEPS; step++) {
                var dy_values: Values;
                for (var part = 0u; part < PARTS; part++) {
                    dy_values[part] = dy[step * PARTS + part];
                }
                var dx = times_gain(step, thread, dy_values);
                for (var part = 0u; part < PARTS; part++) {
                    let i = step * PARTS + part;
                    let centred_xhat = xhat[i] - means.delta;
                    dx[part] = row_dx(centred_xhat, dx[part], means);
                    if (WITH_DGAIN) {
                        sum_dgain[i] = fma(dy[i], centred_xhat, sum_dgain[i]);
                    }
                    if (WITH_DBIAS) {
                        sum_dbias[i] += dy[i];
                    }
                }
                write_dx(params.dx.x + row * params.dx.y, step, thread, dx);
            }
        }
    }

    let partial_row = params.first_partial_row + first_slot + slot_in_workgroup;
    for (var step = 0u; step < STEPS; step++) {
        var dgain: Values;
        var dbias: Values;
        for (var part = 0u; part < PARTS; part++) {
            dgain[part] = sum_dgain[step * PARTS + part];
            dbias[part] = sum_dbias[step * PARTS + part];
        }
        if (WITH_DGAIN) {
            update_partials(partial_dgain(partial_row), step, thread, dgain, true);
        }
        if (WITH_DBIAS) {
            update_partials(partial_dbias(partial_row), step, thread, dbias, true);
        }
    }
}
