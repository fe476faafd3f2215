// Forward for rows that do not fit the registers: the three walks of forward_cached over memory, of which all but the
// first read from cache where the row fits there, and one write of y. Formulas: common/forward.wgsl.
//
//     workgroup   rows_per_workgroup rows, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// A single walk for mean and variance (Welford's) was tried: where x[0] lies far out, its running mean is off by ten
// times what is allowed.
//
// Needs: load_input, load_input_again, store_input, apply_affine, store_y, store_statistics, row_sum (3 calls).


@compute @workgroup_size(WORKGROUP_SIZE)
fn main(invocation: Invocation, @builtin(workgroup_id) workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP + invocation.index / THREADS_PER_ROW;
    // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
    let has_row = slot < params.rows;
    let number = min(slot, params.rows - 1u);

    // As a sum with one term: exact, and no thread goes on to write the row before x[0] is read.
    var shift = 0.0;
    if (CENTRED) {
        let first = load_input(number, 0u, thread)[0].x;
        shift = row_sum(invocation, Sums(select(0.0, first, thread == 0u), 0.0), 0u).x;
    }

    var total = Compensated();
    var magnitude = vec4<f32>();
    for (var first_step = 0u; first_step < STEPS; first_step += RUN_STEPS) {
        var run_total = vec4<f32>();
        var run_magnitude = vec4<f32>();
        for (var step = first_step; step < min(first_step + RUN_STEPS, STEPS); step++) {
            var values = load_input(number, step, thread);
            if (has_row) {
                store_input(number, step, thread, values);
            }
            for (var part = 0u; part < PARTS; part++) {
                let term = keep_row(shifted_term(values[part], shift), step, part, thread);
                run_total += term;
                if (WIDE_RANGE) {
                    run_magnitude += abs(term);
                }
            }
        }
        total = add_compensated(total, run_total);
        magnitude += run_magnitude;
    }
    let row = row_mean(row_sum(invocation, Sums(add_components(total.sum), add_components(magnitude)), 1u), shift);

    var sum_c = Compensated();
    var sum_cc = Compensated();
    for (var first_step = 0u; first_step < STEPS; first_step += RUN_STEPS) {
        var run_c = vec4<f32>();
        var run_cc = vec4<f32>();
        for (var step = first_step; step < min(first_step + RUN_STEPS, STEPS); step++) {
            var values = load_input_again(number, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let c = keep_row(centre(values[part], row), step, part, thread);
                run_c += c;
                run_cc = fma(c, c, run_cc);
            }
        }
        sum_c = add_compensated(sum_c, run_c);
        sum_cc = add_compensated(sum_cc, run_cc);
    }
    let scale = row_scale(row_sum(invocation, Sums(add_components(sum_c.sum), add_components(sum_cc.sum)), 0u), row);

    if (has_row) {
        for (var step = 0u; step < STEPS; step++) {
            var xhat = load_input_again(number, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                xhat[part] = (centre(xhat[part], row) - scale.delta) * scale.rstd;
            }
            store_y(params.y.x + number * params.y.y, step, thread, apply_affine(step, thread, xhat));
        }
        store_row_statistics(number, thread, row, scale);
    }
}
