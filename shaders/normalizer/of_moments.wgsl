// From a row's moments.
//
//     var     squares / cols                              (L2: squares)
//     rstd    1 / sqrt(var + eps * scale * scale)         (L2: 1 / max(sqrt(var), eps * scale))

fn normalizer(moments: Moments) -> Normalizer {
    var row = moments;
    // A large value again and again, whose mean has rounded to infinity: eps would be lost at the small
    // scale.
    if (row.scale < 1.0 && row.squares / VARIANCE_COUNT < LEAST_VARIANCE) {
        row = Moments(row.count, row.mean / row.scale, row.low / row.scale, 0.0, 1.0);
    }
    let variance = row.squares / VARIANCE_COUNT;
    let rstd = reciprocal_deviation(variance, row.scale);
    // The mean too: of one column, a compiler may know that x - mean is 0, whatever x is.
    let nan = bits_if_not_finite(row.squares) | bits_if_not_finite(row.mean);
    return Normalizer(row.mean, row.low, row.scale, rstd, variance, nan);
}
