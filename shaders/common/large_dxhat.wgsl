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
fn unscaled(small_sum: PerRow) -> PerRow {
    return small_sum / SUM_SCALE / ROOT_SCALE / ROOT_SCALE;
}

// A number at the small scale.
fn small_of_row(v: PerRow) -> PerRow {
    return of_row(scaled_down(scaled_down(vec4<f32>(v))));
}

// A row's means at the small scale, from such sums of all its threads, or from the means where those are in
// range.
fn small_means(means: RowMeans, sums: Sums) -> RowMeans {
    var small = known_means(means, sums);
    small.dxhat = select(small_of_row(means.dxhat), small.dxhat, means.is_large);
    small.dxhat_xhat = select(small_of_row(means.dxhat_xhat), small.dxhat_xhat, means.is_large);
    return small;
}

// Where the row is large, the means at the small scale, else as they are.
fn known_means(means: RowMeans, sums: Sums) -> RowMeans {
    var known = means;
    if (is_any(means.is_large)) {
        let dxhat = select(PerRow(), sums[1] * MEAN_FACTOR, CENTERED);
        known.dxhat = select(means.dxhat, dxhat, means.is_large);
        let dxhat_xhat = product_mean(sums[2] * MEAN_FACTOR, means.rstd);
        known.dxhat_xhat = select(means.dxhat_xhat, dxhat_xhat, means.is_large);
        known.product = select(means.product, unscaled(sums[2]), means.is_large);
        // At the small scale a sum of what is not large may be lost.
        known.sum = select(means.sum, unscaled(sums[1]), means.is_large & is_not_finite(means.sum));
        if (!IS_LINEAR) {
            let nan = bits_if_not_finite(sums[1]) | bits_if_not_finite(sums[2]);
            known.nan |= nan & bits_if(means.is_large);
        }
    }
    return known;
}

// Sums over columns of a row, and those of dxhat and dxhat * xhat at the small scale.
struct RowSums {
    walked: WalkSums,
    small: Sums,
}

// As known_means, from sums that were taken before delta was known.
fn split_means(means: RowMeans, sums: Sums) -> RowMeans {
    var row = known_means(means, sums);
    if (is_any(means.is_large)) {
        row.dxhat_xhat -= select(PerRow(), means.delta * row.dxhat, means.is_large);
        let sum = unscaled(sums[1]);
        row.product -= select(PerRow(), means.delta * sum, means.is_large & !is_not_finite(sum));
    }
    return row;
}
