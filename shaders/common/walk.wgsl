// The moments of a thread's columns, from one walk (common/moments.wgsl). Needs: load_input, store_input,
// load_stored.

// Steps of a run: 8 vec4s.
const RUN_STEPS: u32 = 8u / PARTS;

// Moments of the thread's columns in steps first_step to end_step, from what `load_input` reads, which is
// stored (as the sum with a residual), or again from what was stored.
fn walk(row: u32, first_step: u32, end_step: u32, thread: u32, scale: f32, again: bool, stores: bool) -> Moments {
    var total = VectorMoments();
    for (var run_step = first_step; run_step < end_step; run_step += RUN_STEPS) {
        var x: array<Values, RUN_STEPS>;
        var run = VectorMoments();
        for (var i = 0u; i < RUN_STEPS; i++) {
            let step = run_step + i;
            // Steps beyond the last are those of another workgroup, which may be at work on them.
            let loaded_step = min(step, end_step - 1u);
            if (again) {
                x[i] = load_stored(row, loaded_step, thread);
            } else {
                x[i] = load_input(row, loaded_step, thread);
                if (stores && step < end_step) {
                    store_input(row, step, thread, x[i]);
                }
            }
            for (var part = 0u; part < PARTS; part++) {
                let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                run.count += select(vec4<f32>(), vec4<f32>(1.0), is_in);
                // In eighths: the sum of eight may be eight times the largest float32.
                run.mean += select(vec4<f32>(), unfactored(x[i][part] * (0.125 * scale)), is_in);
            }
        }
        if (CENTERED) {
            run.mean = run.mean * (8.0 / max(run.count, vec4<f32>(1.0)));
        } else {
            run.mean = vec4<f32>();
        }
        var sum_c = vec4<f32>();
        var sum_cc = vec4<f32>();
        for (var i = 0u; i < RUN_STEPS; i++) {
            let step = run_step + i;
            for (var part = 0u; part < PARTS; part++) {
                let is_in = in_row(step, part, thread) & vec4<bool>(step < end_step);
                let c = select(vec4<f32>(), fma(x[i][part], vec4<f32>(scale), -run.mean), is_in);
                sum_c += c;
                sum_cc = fma(c, c, sum_cc);
            }
        }
        if (CENTERED) {
            run.low = sum_c / max(run.count, vec4<f32>(1.0));
            sum_cc -= run.low * sum_c;
        }
        run.squares.sum = sum_cc;
        total = merge_vectors(total, run);
    }
    return merge_components(total, scale);
}

// As `walk` at scale 1, but finite where the row is: squares that overflow, or underflow where eps is too
// small to hide it, are taken again, scaled.
fn finite_walk(row: u32, first_step: u32, end_step: u32, thread: u32, stores: bool) -> Moments {
    var own = walk(row, first_step, end_step, thread, 1.0, false, stores);
    if (WIDE_RANGE) {
        let is_large = is_not_finite(own.squares) || is_not_finite(own.mean);
        // A mean of 1 or more has differences of 2^-25 at least, or none.
        let is_tiny = params.eps < ENOUGH_EPS && own.squares < TINY_SQUARES && abs(own.mean) < 1.0;
        if (is_large || is_tiny) {
            let scale = select(BIG_SCALE, SMALL_SCALE, is_large);
            own = walk(row, first_step, end_step, thread, scale, true, false);
        }
    }
    return own;
}
