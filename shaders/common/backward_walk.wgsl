// The sums of xhat, dxhat and dxhat * xhat over columns that do not fit the registers.

// Long sums are taken in runs of eight terms, and the runs added up compensated: rounding errors of thousands of
// additions to one growing sum would show, most where the terms are alike.
const RUN_STEPS: u32 = 8u / PARTS;

// Over the thread's columns in steps first_step to end_step. Needs: load_x, load_dy, load_parameters, times_gain_plus.
fn walk_sums(row: u32, saved: RowStatistics, first_step: u32, end_step: u32, thread: u32) -> Sums {
    var sum_xhat = Compensated();
    var sum_dxhat = Compensated();
    var sum_product = Compensated();
    for (var run_step = first_step; run_step < end_step; run_step += RUN_STEPS) {
        var run_xhat = vec4<f32>();
        var run_dxhat = vec4<f32>();
        var run_product = vec4<f32>();
        for (var step = run_step; step < min(run_step + RUN_STEPS, end_step); step++) {
            var x_values = load_x(params.x.x + row * params.x.y, step, thread);
            var dy_values = load_dy(params.dy.x + row * params.dy.y, step, thread);
            var dxhat = times_gain_plus(load_parameters(step, thread), dy_values, 0.0);
            for (var part = 0u; part < PARTS; part++) {
                let xhat = keep_row(saved_xhat(x_values[part], saved), step, part, thread);
                let row_dxhat = keep_row(dxhat[part], step, part, thread);
                let scaled_xhat = xhat * SUM_SCALE;
                run_xhat += scaled_xhat;
                run_dxhat = fma(row_dxhat, vec4<f32>(SUM_SCALE), run_dxhat);
                run_product = fma(row_dxhat, scaled_xhat, run_product);
            }
        }
        sum_xhat = add_compensated(sum_xhat, run_xhat);
        sum_dxhat = add_compensated(sum_dxhat, run_dxhat);
        sum_product = add_compensated(sum_product, run_product);
    }
    return Sums(
        add_components(sum_xhat.sum),
        add_components(sum_dxhat.sum),
        add_components(sum_product.sum),
        0.0,
    );
}
