// The moments of a thread's columns, from one walk (common/moments.wgsl). Needs: load_input, store_input,
// load_stored.

// Steps of a run: 8 vec4s.
const RUN_STEPS: u32 = 8u / PARTS;

// Accesses that are walked side by side, each of rows of its own.
const WALKED: u32 = 1u;

// Rows that are walked: the first of each access, and whether a thread has them, or repeats them to take part
// in sums.
struct WalkedRows {
    first: array<u32, WALKED>,
    has: array<bool, WALKED>,
}

// Moments of the thread's columns in steps first_step to end_step, from what `load_input` reads, which is
// stored (as the sum with a residual), or again from what was stored.
fn walk(
    walked_rows: WalkedRows,
    first_step: u32,
    end_step: u32,
    thread: u32,
    row_scales: array<PerRow, WALKED>,
    again: bool,
) -> array<Moments, WALKED> {
    var rows = walked_rows;
    var scales = row_scales;
    var totals = array<VectorMoments, WALKED>();
    for (var run_step = first_step; run_step < end_step; run_step += RUN_STEPS) {
        for (var w = 0u; w < WALKED; w++) {
            let scale = scales[w];
            var x: array<Values, RUN_STEPS>;
            var run = VectorMoments();
            for (var i = 0u; i < RUN_STEPS; i++) {
                let step = run_step + i;
                // Steps beyond the last are those of another workgroup, which may be at work on them.
                let loaded_step = min(step, end_step - 1u);
                if (again) {
                    x[i] = load_stored(rows.first[w], loaded_step, thread);
                } else {
                    x[i] = load_input(rows.first[w], loaded_step, thread);
                    if (rows.has[w] && step < end_step) {
                        store_input(rows.first[w], step, thread, x[i]);
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
            totals[w] = merge_vectors(totals[w], run);
        }
    }
    var moments: array<Moments, WALKED>;
    for (var w = 0u; w < WALKED; w++) {
        moments[w] = merge_components(totals[w], scales[w]);
    }
    return moments;
}

// As `walk` at scale 1, but finite where the row is: squares that overflow, or underflow where eps is too
// small to hide it, are taken again, scaled. Rows beside such a row are walked again as they were.
fn finite_walk(rows: WalkedRows, first_step: u32, end_step: u32, thread: u32) -> array<Moments, WALKED> {
    var scales: array<PerRow, WALKED>;
    for (var w = 0u; w < WALKED; w++) {
        scales[w] = PerRow(1.0);
    }
    var own = walk(rows, first_step, end_step, thread, scales, false);
    if (WIDE_RANGE) {
        var again = false;
        for (var w = 0u; w < WALKED; w++) {
            let is_large = is_not_finite(own[w].squares) | is_not_finite(own[w].mean);
            // A mean of 1 or more has differences of 2^-25 at least, or none.
            let is_low = (own[w].squares < PerRow(TINY_SQUARES)) & (abs(own[w].mean) < PerRow(1.0));
            let is_tiny = is_low & PerRowBool(params.eps < ENOUGH_EPS);
            let of_tiny = select(PerRow(1.0), PerRow(BIG_SCALE), is_tiny);
            scales[w] = select(of_tiny, PerRow(SMALL_SCALE), is_large);
            again = again || is_any(is_large | is_tiny);
        }
        if (again) {
            own = walk(rows, first_step, end_step, thread, scales, true);
        }
    }
    return own;
}
