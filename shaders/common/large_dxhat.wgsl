// Rows of which a dxhat, or what dx is made of on the way, exceeds float32, though dx may not: their sums are
// of dxhat at 2^-144, which a product of any two float32 fits, times SUM_SCALE. Few rows ever do.

// In place of a sum of xhat * xhat, which is never below 0, beside sums of a chunk that are at the small
// scale.
const SMALL_SUMS: f32 = -1.0;

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
    if (!IS_LINEAR) {
        small.nan |= bits_if_not_finite(sums.y) | bits_if_not_finite(sums.z);
    }
    return small;
}

// Where the row is large, the means at the small scale, else as they are.
fn known_means(means: RowMeans, sums: Sums) -> RowMeans {
    if (means.is_large) {
        return small_means(means, sums);
    }
    return means;
}

// Sums over columns of a row, and those of dxhat and dxhat * xhat at the small scale.
struct RowSums {
    walked: WalkSums,
    small: Sums,
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
