// Forward for rows that do not fit the registers: two reads of the input, one write of y.
//
//     workgroup   rows_per_workgroup rows, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// Each of the four components of a thread is a stream of its own, and all streams are at the same count, so Welford's
// update (1962) needs one division for all:
//
//     c       (x - shift) / 4, shift = x[0]: near the mean; a quarter, so that no difference overflows
//     mean    mean + (c - mean) / count
//     m2      m2 + (c - mean before) * (c - mean after)
//
// The streams are then joined as Chan, Golub and LeVeque (1983) do, in two sums over the row:
//
//     delta   sum(count * mean) / cols
//     var     sum(m2 + count * (mean - delta)^2) / cols
//     y       gain * (c - delta) / sqrt(var + eps / 16) + bias
//
// m2 is kept a second time with values scaled by SMALL_SCALE, for rows whose squares overflow. RMS norm: shift and
// every mean are 0.
//
// Needs: load_input, load_input_again, store_input, apply_affine, store_y, store_statistics, row_sum (3 calls).

// Sums over a row, two at a time.
alias Sums = vec2<f32>;

// Layer norm; false for RMS norm.
const CENTRED: bool = true;
// Whether squares of the storage's values can overflow float32.
const WIDE_RANGE: bool = true;
const SMALL_SCALE: f32 = 1.0;

// c is x in this unit.
const QUARTER: f32 = 0.25;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(invocation: Invocation) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot = workgroup_number(invocation.workgroup) * ROWS_PER_WORKGROUP + invocation.index / THREADS_PER_ROW;
    // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
    let has_row = slot < params.rows;
    let row = min(slot, params.rows - 1u);

    // As a sum with one term: exact, and no thread goes on to write the row before x[0] is read.
    var shift = 0.0;
    if (CENTRED) {
        shift = load_input(row, 0u, thread)[0].x * QUARTER;
        shift = row_sum(invocation, Sums(select(0.0, shift, thread == 0u), 0.0), 0u).x;
    }

    var count = vec4<f32>();
    var mean = vec4<f32>();
    var m2 = vec4<f32>();
    var small_m2 = vec4<f32>();
    for (var step = 0u; step < STEPS; step++) {
        var values = load_input(row, step, thread);
        if (has_row) {
            store_input(row, step, thread, values);
        }
        for (var part = 0u; part < PARTS; part++) {
            let present = in_row(step, part, thread);
            let c = fma(values[part], vec4<f32>(QUARTER), vec4<f32>(-shift));
            let before = select(vec4<f32>(), c - mean, present);
            count += select(vec4<f32>(), vec4<f32>(1.0), present);
            if (CENTRED) {
                mean = fma(before, vec4<f32>(1.0 / f32(step * PARTS + part + 1u)), mean);
            }
            let after = select(vec4<f32>(), c - mean, present);
            m2 = fma(before, after, m2);
            if (WIDE_RANGE) {
                small_m2 = fma(before * SMALL_SCALE, after * SMALL_SCALE, small_m2);
            }
        }
    }

    var delta = 0.0;
    if (CENTRED) {
        delta = row_sum(invocation, Sums(add_components(mean * (count / f32(COLS))), 0.0), 1u).x;
        let apart = select(vec4<f32>(), mean - delta, count > vec4<f32>());
        m2 = fma(count * apart, apart, m2);
        let small_apart = apart * SMALL_SCALE;
        small_m2 = fma(count * small_apart, small_apart, small_m2);
    }
    let sums = row_sum(invocation, Sums(add_components(m2), add_components(small_m2)), 0u);
    var scale = 1.0;
    var sum = sums.x;
    if (WIDE_RANGE && is_not_finite(sum)) {
        scale = SMALL_SCALE;
        sum = sums.y;
    }
    let eps = params.eps * (QUARTER * scale) * (QUARTER * scale);
    let rstd = poison(reciprocal_sqrt(sum / f32(COLS) + eps), sum);

    if (has_row) {
        for (var step = 0u; step < STEPS; step++) {
            var values = load_input_again(row, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let c = fma(values[part], vec4<f32>(QUARTER), vec4<f32>(-shift));
                values[part] = ((c - delta) * scale) * rstd;
            }
            store_y(params.y.x + row * params.y.y, step, thread, apply_affine(step, thread, values));
        }
        store_statistics(row, thread, (shift + delta) / QUARTER, rstd * (QUARTER * scale));
    }
}
