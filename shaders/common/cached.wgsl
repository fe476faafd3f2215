// Mean and variance of a row in registers, walked as often as it takes.
//
//     shift   x[0] of the row: near the mean, exactly equal where the row is constant
//     mean    shift + sum(x - shift) / cols
//     c       (x - mean) * scale
//     delta   sum(c) / cols, what rounding left in the mean
//     var     (sum(c * c) - delta * sum(c)) / cols
//     y       gain * (c - delta) / sqrt(var + eps * scale * scale) + bias
//
// scale is 1, or a power of two where squares would overflow or underflow. RMS norm and L2: shift, mean and
// delta are 0. L2: the sum of squares is not divided, and the root is max(norm, eps * scale).

// From this sum of terms on, values are scaled by SMALL_SCALE before they are squared.
const LARGE: f32 = 1.0;
// Below this one, squares may underflow.
const TINY: f32 = 0x1p-37f;

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
    var mean = RowMean(0.0, 1.0);
    if (CENTERED) {
        // In quarters: mean - shift may be twice the largest float32.
        mean.mean = 4.0 * fma(sums.x, 0.25 * MEAN_FACTOR, 0.25 * shift);
    }
    if (WIDE_RANGE) {
        mean.scale = select(1.0, SMALL_SCALE, sums.y >= LARGE);
        // A mean of 1 or more has differences of 2^-25 at least, or none.
        if (params.eps < ENOUGH_EPS && sums.y < TINY && abs(mean.mean) < 1.0) {
            mean.scale = BIG_SCALE;
        }
    }
    return mean;
}

// c
fn center(x: vec4<f32>, mean: RowMean) -> vec4<f32> {
    return scaled_difference(x, mean.mean, mean.scale);
}

struct RowScale {
    delta: f32,
    // 1 / sqrt(var + eps * scale * scale)
    rstd: f32,
    variance: f32,
    // All bits where the row is not finite: see numerics.wgsl.
    nan: u32,
}

// From the sums of c and of c * c.
fn row_scale(sums: Sums, mean: RowMean) -> RowScale {
    var delta = 0.0;
    if (CENTERED) {
        delta = sums.x / f32(COLS);
    }
    let variance = (sums.y - delta * sums.x) / VARIANCE_COUNT;
    let rstd = reciprocal_deviation(variance, mean.scale);
    // The mean too: of one column, a compiler may know that x - mean is 0, whatever x is.
    return RowScale(delta, rstd, variance, bits_if_not_finite(sums.y) | bits_if_not_finite(mean.mean));
}

fn store_row_statistics(row: u32, thread: u32, mean: RowMean, scale: RowScale) {
    let row_mean = mean.mean + scale.delta / mean.scale;
    store_statistics(row, thread, row_mean, scale.rstd * mean.scale, scale.nan);
    update_running(row, thread, row_mean, scale.variance, mean.scale, scale.nan);
}
