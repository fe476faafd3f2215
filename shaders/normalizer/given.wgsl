// From a mean and a variance that are given. Where the deviation is large, in quarters, so that no difference
// overflows.
fn row_normalizer(invocation: Invocation, row: u32, thread: u32) -> Normalizer {
    let row_mean = mean[row_start(PLACE_MEAN, row)];
    let row_variance = variance[row_start(PLACE_VARIANCE, row)];
    let rstd = reciprocal_deviation(row_variance, 1.0);
    let scale = select(1.0, 0.25, rstd < 1.0);
    // A variance below 0 is none.
    let is_negative = select(0u, 0xffffffffu, row_variance < 0.0);
    let nan = bits_if_not_finite(row_mean) | bits_if_not_finite(row_variance) | is_negative;
    // `params.one` is 1, which compilers do not know: they would take the scale out of the difference.
    return Normalizer(row_mean * (scale * params.one), 0.0, scale, rstd / scale, row_variance, nan);
}
