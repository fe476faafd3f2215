// Backward, the row in registers: one read of x and of dy, one write of dx, and the sums over rows on the
// way.
//
//     slot        a row's place: the threads of one row, walking its rows (workgroup_rows)
//     workgroup   rows_per_workgroup slots, one below the other
//     row         threads_per_row threads side by side, each with STEPS * PARTS vec4 of it (common/row.wgsl)
//
// Each thread keeps the sums over rows of its own columns in registers from its first row to its last, or to
// the last of a block (sums/), then leaves them as a partial sum, of the slot or of all of the workgroup's
// (slots/), or adds them to it. dy is added in the first walk: beside dy * xhat, in the second, AMD's
// compiler spilled on GCN 5, and earlier in the first on RDNA 3. The three sums over the row's columns are
// taken together.
//
// Where a dxhat exceeds float32, the second reduction is of the row's means instead
// (common/large_dxhat.wgsl).
//
// The gain may stay in registers from row to row, see forward_cached.wgsl.
//
// Needs: load_source, dz_of, load_parameters, times_gain_plus, small_sums, small_means, known_means,
// write_large_dx, row_residue, total_dx, finish_dx, write_row_gain_gradient, update_partials, row_sum
// (2 calls a row), slot_sum (2 calls for each of VECTORS, 3 with dgate), partial_row_of, leaves_sum,
// rows_of_block, add_product, count_clamped; with dgate gate_terms, large_gate_terms.

const VECTORS: u32 = STEPS * PARTS;

// Whether the gain stays in registers from row to row.
const HOLD_PARAMETERS: bool = false;

// Whether x may be so large that a sum of its differences from the mean exceeds float32.
const WIDE_X: bool = true;

// Blocks of rows that a slot's sums over rows are taken of, one after the other (sums/).
const BLOCKS: u32 = 1u;

// Whether dx is wanted, or what is made of it.
const WITH_DX: bool = true;
// Whether the gradient of a gate is wanted.
const WITH_DGATE: bool = false;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    var parameters: array<Parameters, STEPS>;
    if (HOLD_PARAMETERS) {
        for (var step = 0u; step < STEPS; step++) {
            parameters[step] = load_parameters(rows.first, step, thread);
        }
    }
    for (var block = 0u; block < BLOCKS; block++) {
        let block_rows = rows_of_block(rows, block);
        var sum_dgain = array<ProductSum, VECTORS>();
        var sum_dbias = array<ProductSum, VECTORS>();
        var sum_dgate = array<ProductSum, VECTORS>();
        for (var first_row = block_rows.first; first_row < block_rows.end; first_row += ROWS_PER_WORKGROUP) {
            // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
            let has_row = ROWS_PER_WORKGROUP == 1u || first_row + slot_in_workgroup < rows.end;
            let row = min(first_row + slot_in_workgroup, rows.end - 1u);
            let saved = load_statistics(row);
            var xhat: array<vec4<f32>, VECTORS>;
            var dy: array<vec4<f32>, VECTORS>;
            var sum_xhat = vec4<f32>();
            var sum_dxhat = vec4<f32>();
            var sum_product = vec4<f32>();
            for (var step = 0u; step < STEPS; step++) {
                var source_values = load_source(row, step, thread);
                var dy_values = dz_of(row, step, thread, source_values, parameters[step], saved);
                for (var part = 0u; part < PARTS; part++) {
                    let i = step * PARTS + part;
                    xhat[i] = keep_row(saved_xhat(source_values[part], saved), step, part, thread);
                    dy_values[part] = keep_row(dy_values[part], step, part, thread);
                    dy[i] = dy_values[part];
                }
                if (!HOLD_PARAMETERS) {
                    parameters[step] = load_parameters(row, step, thread);
                }
                var dxhat = times_gain_plus(parameters[step], dy_values, 0.0);
                for (var part = 0u; part < PARTS; part++) {
                    var row_xhat = xhat[step * PARTS + part];
                    if (WIDE_X) {
                        row_xhat = unfactored(row_xhat);
                    }
                    sum_xhat += row_xhat;
                    // Without a mean nobody needs it: that of the products shows what is not finite.
                    if (CENTERED || WITH_ROW_SUM) {
                        sum_dxhat += dxhat[part];
                    }
                    sum_product = fma(dxhat[part], row_xhat, sum_product);
                    if (WITH_DBIAS && has_row) {
                        let i = step * PARTS + part;
                        sum_dbias[i] = add_product(sum_dbias[i], dy[i], vec4<f32>(1.0));
                    }
                }
            }
            let sums = Sums(add_components(sum_xhat), add_components(sum_dxhat), add_components(sum_product));
            let means = with_row_gain(row, row_means(row_sum(invocation, sums), saved.rstd));

            var left = vec4<f32>();
            var left_product = vec4<f32>();
            for (var step = 0u; step < STEPS; step++) {
                var dy_values: Values;
                for (var part = 0u; part < PARTS; part++) {
                    dy_values[part] = dy[step * PARTS + part];
                }
                if (!HOLD_PARAMETERS) {
                    parameters[step] = load_parameters(row, step, thread);
                }
                var dxhat = times_gain_plus(parameters[step], dy_values, -means.dxhat);
                for (var part = 0u; part < PARTS; part++) {
                    let i = step * PARTS + part;
                    xhat[i] -= means.delta;
                    if (WITH_DGAIN && has_row) {
                        sum_dgain[i] = add_product(sum_dgain[i], dy[i], gain_factor(xhat[i], dy[i], saved));
                    }
                    // dy has served; its registers hold dx / rstd from here on.
                    dy[i] = keep_row(projected(xhat[i], dxhat[part], means), step, part, thread);
                    left += dy[i];
                    left_product = fma(dy[i], xhat[i], left_product);
                }
            }
            var left_sums = Sums(add_components(left), add_components(left_product), 0.0);
            if (WIDE_RANGE && means.is_large) {
                left_sums = small_sums(row, 0u, thread, saved, means.delta);
            }
            if (WITH_DX || WIDE_RANGE) {
                left_sums = row_sum(invocation, left_sums);
            }
            if (has_row) {
                write_row_gain_gradient(row, thread, known_means(means, left_sums));
            }
            if (WITH_DX) {
                // A dx / rstd may exceed float32 where the means do not.
                let is_large = means.is_large || is_not_finite(left_sums.x) || is_not_finite(left_sums.y);
                if (WIDE_RANGE && has_row && is_large) {
                    let of_large = small_means(means, left_sums);
                    if (WITH_DGATE) {
                        for (var i = 0u; i < unknown_steps(); i++) {
                            var terms = large_gate_terms(row, i, thread, saved, of_large);
                            // By constant places: an array by others is not in registers.
                            for (var step = 0u; step < STEPS; step++) {
                                for (var part = 0u; part < PARTS; part++) {
                                    let own = select(vec4<f32>(), terms[part], step == i);
                                    let at = step * PARTS + part;
                                    sum_dgate[at] = add_product(sum_dgate[at], own, vec4<f32>(1.0));
                                }
                            }
                        }
                    }
                    write_large_dx(row, 0u, thread, saved, of_large);
                } else if (has_row) {
                    let residue = row_residue(left_sums, means);
                    // With a wide range, rows that are not finite are large.
                    let nan = select(means.nan, 0u, WIDE_RANGE);
                    for (var step = 0u; step < STEPS; step++) {
                        var dx: Values;
                        for (var part = 0u; part < PARTS; part++) {
                            let i = step * PARTS + part;
                            dx[part] = means.factor * fma(-xhat[i], vec4<f32>(residue.dx_xhat), dy[i] - residue.dx);
                        }
                        dx = total_dx(row, step, thread, dx);
                        if (WITH_DGATE) {
                            var terms = gate_terms(row, step, thread, dx, nan);
                            for (var part = 0u; part < PARTS; part++) {
                                let at = step * PARTS + part;
                                sum_dgate[at] = add_product(sum_dgate[at], terms[part], vec4<f32>(1.0));
                            }
                        }
                        finish_dx(row, step, thread, saved, dx, nan);
                    }
                }
            }
        }

        let partial_row = partial_row_of(first_slot, slot_in_workgroup);
        let is_first = block == 0u && partial_row >= params.earlier_partial_rows;
        for (var step = 0u; step < STEPS; step++) {
            var dgain: Values;
            var dbias: Values;
            for (var part = 0u; part < PARTS; part++) {
                if (WITH_DGAIN) {
                    dgain[part] = slot_sum(invocation.index, sum_dgain[step * PARTS + part].sum);
                }
                if (WITH_DBIAS) {
                    dbias[part] = slot_sum(invocation.index, sum_dbias[step * PARTS + part].sum);
                }
            }
            if (WITH_DGATE) {
                var dgate: Values;
                for (var part = 0u; part < PARTS; part++) {
                    dgate[part] = slot_sum(invocation.index, sum_dgate[step * PARTS + part].sum);
                }
                if (leaves_sum(slot_in_workgroup)) {
                    update_partials(partial_dgate(partial_row), step, thread, dgate, is_first);
                }
            }
            if (leaves_sum(slot_in_workgroup)) {
                if (WITH_DGAIN) {
                    update_partials(partial_dgain(partial_row), step, thread, dgain, is_first);
                }
                if (WITH_DBIAS) {
                    update_partials(partial_dbias(partial_row), step, thread, dbias, is_first);
                }
            }
        }
    }
    count_clamped(invocation, workgroup, thread);
}
