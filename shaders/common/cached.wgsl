// Mean and variance of a row in registers, walked as often as it takes.
//
//     shift   x[0] of the row: near the mean, exactly equal where the row is constant
//     mean    shift + sum(x - shift) / cols
//     c       (x - mean) * scale
//     delta   sum(c) / cols, what rounding left in the mean
//     var     (sum(c * c) - delta * sum(c)) / cols
//     y       gain * (c - delta) / sqrt(var + eps * scale * scale) + bias
//
// scale is 1, or a small power of two where squares would overflow. RMS norm: shift, mean and delta are 0.

// From this mean |x - shift| on, values are scaled by SMALL_SCALE before they are squared.
const LARGE: f32 = 1.0;

// x - shift, scaled so that its sum cannot overflow.
fn shifted_term(x: vec4<f32>, shift: f32) -> vec4<f32> {
    return scaled_difference(x, shift, SUM_SCALE);
}

struct RowMean {
    mean: f32,
    scale: f32,
}

// From the sums of the terms and of their magnitudes.
fn row_mean(sums: Sums, shift: f32) -> RowMean {
    var row = RowMean(0.0, 1.0);
    if (CENTRED) {
        // In quarters: mean - shift may be twice the largest float32.
        row.mean = 4.0 * fma(sums.x, 0.25 * MEAN_FACTOR, 0.25 * shift);
    }
    if (WIDE_RANGE) {
        row.scale = select(1.0, SMALL_SCALE, sums.y >= LARGE);
    }
    return row;
}

// c
fn centre(x: vec4<f32>, row: RowMean) -> vec4<f32> {
    return scaled_difference(x, row.mean, row.scale);
}

struct RowScale {
    delta: f32,
    // 1 / sqrt(var + eps * scale * scale)
    rstd: f32,
}

// From the sums of c and of c * c.
fn row_scale(sums: Sums, row: RowMean) -> RowScale {
    var delta = 0.0;
    if (CENTRED) {
        delta = sums.x / f32(COLS);
    }
    let variance = max((sums.y - delta * sums.x) / f32(COLS), 0.0);
    let rstd = reciprocal_sqrt(fma(params.eps * row.scale, row.scale, variance));
    return RowScale(delta, poison(rstd, sums.y));
}

fn store_row_statistics(number: u32, thread: u32, row: RowMean, scale: RowScale) {
    store_statistics(number, thread, row.mean + scale.delta / row.scale, scale.rstd * row.scale);
}
