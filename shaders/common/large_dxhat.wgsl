// Rows of which a dxhat, or what dx is made of on the way, exceeds float32, though dx may not: they walk
// their columns again, with dxhat at 2^-144, which a product of any two float32 fits, and its sums times
// SUM_SCALE. Few rows ever do.
//
// Needs: load_x, load_dy, load_parameters, small_dxhat, write_dx.

// In place of a sum of xhat * xhat, which is never below 0, beside sums of a chunk that are at the small
// scale.
const SMALL_SUMS: f32 = -1.0;

// Whether the sums are compensated. A row in registers has few terms a thread, and leaves few registers.
const COMPENSATE_LARGE: bool = true;

// A count of steps that compilers do not know: written out, these walks would be most of the text.
fn unknown_steps() -> u32 {
    return STEPS * u32(params.one);
}

// The thread's sums over the columns of a row in the steps from first_step on: 0, dxhat and dxhat * xhat, at
// a small scale.
fn small_sums(row: u32, first_step: u32, thread: u32, saved: RowStatistics, delta: f32) -> Sums {
    var sum_dxhat = Compensated();
    var sum_product = Compensated();
    for (var i = 0u; i < unknown_steps(); i++) {
        let step = first_step + i;
        var dxhat = small_dxhat(load_parameters(row, step, thread), load_dy(row, step, thread));
        var x_values = load_x(row, step, thread);
        for (var part = 0u; part < PARTS; part++) {
            let term = keep_row(dxhat[part], step, part, thread) * SUM_SCALE;
            let xhat = keep_row(saved_xhat(x_values[part], saved) - delta, step, part, thread);
            if (COMPENSATE_LARGE) {
                sum_dxhat = add_compensated(sum_dxhat, term);
                sum_product = add_compensated(sum_product, term * xhat);
            } else {
                sum_dxhat.sum += term;
                sum_product.sum = fma(term, xhat, sum_product.sum);
            }
        }
    }
    return Sums(0.0, add_components(sum_dxhat.sum), add_components(sum_product.sum));
}

// Sums as they would be at the small scale.
fn small_scaled(sums: vec4<f32>) -> vec4<f32> {
    return scaled_down(scaled_down(sums)) * SUM_SCALE;
}

// The sum at its own scale.
fn unscaled(small_sum: f32) -> f32 {
    return small_sum / SUM_SCALE / ROOT_SCALE / ROOT_SCALE;
}

// A row's means at the small scale, from such sums of all its threads, or from the means where those are in
// range.
fn small_means(means: RowMeans, sums: Sums) -> RowMeans {
    var small = means;
    if (!means.is_large) {
        let scaled = scaled_down(scaled_down(vec4<f32>(means.dxhat, means.dxhat_xhat, 0.0, 0.0)));
        small.dxhat = scaled.x;
        small.dxhat_xhat = scaled.y;
        return small;
    }
    small.dxhat = select(0.0, sums.y * MEAN_FACTOR, CENTERED);
    small.dxhat_xhat = product_mean(sums.z * MEAN_FACTOR, means.rstd);
    small.product = unscaled(sums.z);
    // At the small scale a sum of what is not large may be lost.
    small.sum = select(means.sum, unscaled(sums.y), is_not_finite(means.sum));
    small.nan |= bits_if_not_finite(sums.y) | bits_if_not_finite(sums.z);
    return small;
}

// Where the row is large, the means at the small scale, else as they are.
fn known_means(means: RowMeans, sums: Sums) -> RowMeans {
    if (means.is_large) {
        return small_means(means, sums);
    }
    return means;
}

// As known_means, from sums that were taken before delta was known.
fn split_means(means: RowMeans, sums: Sums) -> RowMeans {
    var row = known_means(means, sums);
    if (means.is_large) {
        row.dxhat_xhat -= means.delta * row.dxhat;
        let sum = unscaled(sums.y);
        row.product -= select(means.delta * sum, 0.0, is_not_finite(sum));
    }
    return row;
}

// Writes dx of the thread's columns in the steps from first_step on, from means at the small scale.
fn write_large_dx(row: u32, first_step: u32, thread: u32, saved: RowStatistics, means: RowMeans) {
    // Up again by 2^144, and times rstd: a small one first, as dx may be finite where dx / rstd is not.
    let is_small = means.rstd < 1.0;
    let first = select(1.0, means.rstd, is_small) / ROOT_SCALE;
    let last = select(means.rstd, 1.0, is_small);
    for (var i = 0u; i < unknown_steps(); i++) {
        let step = first_step + i;
        var dxhat = small_dxhat(load_parameters(row, step, thread), load_dy(row, step, thread));
        var x_values = load_x(row, step, thread);
        var dx: Values;
        for (var part = 0u; part < PARTS; part++) {
            let xhat = saved_xhat(x_values[part], saved) - means.delta;
            dx[part] = projected(xhat, dxhat[part] - means.dxhat, means) * first / ROOT_SCALE * last;
        }
        write_dx(row, step, thread, dx, means.nan);
    }
}
