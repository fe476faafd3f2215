// Forward, the row in registers: one read of the input, one write of y.
//
//     workgroup   rows_per_workgroup rows, one below the other
//     row         threads_per_row threads side by side, each with STEPS * PARTS vec4 of it (common/row.wgsl)
//
//     shift   x[0] of the row: near the mean, exactly equal where the row is constant
//     mean    shift + sum(x - shift) / cols
//     c       (x - mean) * scale
//     delta   sum(c) / cols, what rounding left in the mean
//     var     (sum(c * c) - delta * sum(c)) / cols
//     y       gain * (c - delta) / sqrt(var + eps * scale * scale) + bias
//
// scale is 1, or a small power of two where squares would overflow. RMS norm: shift, mean and delta are 0.
//
// Needs: load_input, store_input, apply_affine, store_y, store_statistics, row_sum (2 calls).

// Sums over a row, two at a time.
alias Sums = vec2<f32>;

// Layer norm; false for RMS norm.
const CENTRED: bool = true;
// Whether squares of the storage's values can overflow float32.
const WIDE_RANGE: bool = true;
// From this mean |x - shift| on, values are scaled by SMALL_SCALE before they are squared.
const LARGE: f32 = 1.0;
const SMALL_SCALE: f32 = 1.0;

const VECTORS: u32 = STEPS * PARTS;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(invocation: Invocation) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot = workgroup_number(invocation.workgroup) * ROWS_PER_WORKGROUP + invocation.index / THREADS_PER_ROW;
    // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
    let has_row = slot < params.rows;
    let row = min(slot, params.rows - 1u);

    var shift = 0.0;
    if (CENTRED) {
        shift = load_input(row, 0u, 0u)[0].x;
    }
    var x: array<vec4<f32>, VECTORS>;
    var total = vec4<f32>();
    var magnitude = vec4<f32>();
    for (var step = 0u; step < STEPS; step++) {
        var values = load_input(row, step, thread);
        for (var part = 0u; part < PARTS; part++) {
            let v = values[part];
            x[step * PARTS + part] = v;
            let shifted = keep_row(fma(v, vec4<f32>(SUM_SCALE), vec4<f32>(-shift * SUM_SCALE)), step, part, thread);
            total += shifted;
            if (WIDE_RANGE) {
                magnitude += abs(shifted);
            }
        }
    }
    var mean = 0.0;
    var scale = 1.0;
    if (CENTRED || WIDE_RANGE) {
        let sums = row_sum(invocation, Sums(add_components(total), add_components(magnitude)), 0u);
        if (CENTRED) {
            mean = fma(sums.x, MEAN_FACTOR, shift);
        }
        if (WIDE_RANGE) {
            scale = select(1.0, SMALL_SCALE, sums.y >= LARGE);
        }
    }

    // From here on every thread has read its part of the row, and shift: the row may be written.
    if (has_row) {
        for (var step = 0u; step < STEPS; step++) {
            var values: Values;
            for (var part = 0u; part < PARTS; part++) {
                values[part] = x[step * PARTS + part];
            }
            store_input(row, step, thread, values);
        }
    }

    var sum_c = vec4<f32>();
    var sum_cc = vec4<f32>();
    for (var step = 0u; step < STEPS; step++) {
        for (var part = 0u; part < PARTS; part++) {
            let i = step * PARTS + part;
            let c = keep_row(fma(x[i], vec4<f32>(scale), vec4<f32>(-mean * scale)), step, part, thread);
            x[i] = c;
            sum_c += c;
            sum_cc = fma(c, c, sum_cc);
        }
    }
    let sums = row_sum(invocation, Sums(add_components(sum_c), add_components(sum_cc)), 1u);
    var delta = 0.0;
    if (CENTRED) {
        delta = sums.x / f32(COLS);
    }
    let variance = max((sums.y - delta * sums.x) / f32(COLS), 0.0);
    let rstd = poison(reciprocal_sqrt(fma(params.eps * scale, scale, variance)), sums.y);

    if (has_row) {
        for (var step = 0u; step < STEPS; step++) {
            var xhat: Values;
            for (var part = 0u; part < PARTS; part++) {
                xhat[part] = (x[step * PARTS + part] - delta) * rstd;
            }
            store_y(params.y.x + row * params.y.y, step, thread, apply_affine(step, thread, xhat));
        }
        store_statistics(row, thread, mean + delta / scale, rstd * scale);
    }
}
