// From a row's moments.
//
//     var     squares / cols                              (L2: squares)
//     rstd    1 / sqrt(var + eps * scale * scale)         (L2: 1 / max(sqrt(var), eps * scale))

fn normalizer(moments: Moments) -> Normalizer {
    var row = moments;
    // A large value again and again, whose mean has rounded to infinity: eps would be lost at the small
    // scale.
    let is_lost = (row.scale < PerRow(1.0)) & (row.squares / VARIANCE_COUNT < PerRow(LEAST_VARIANCE));
    row.mean = select(row.mean, row.mean / row.scale, is_lost);
    row.low = select(row.low, row.low / row.scale, is_lost);
    row.squares = select(row.squares, PerRow(), is_lost);
    row.scale = select(row.scale, PerRow(1.0), is_lost);
    let variance = row.squares / VARIANCE_COUNT;
    let rstd = reciprocal_deviation(variance, row.scale);
    // The mean too: of one column, a compiler may know that x - mean is 0, whatever x is.
    let nan = bits_if_not_finite(row.squares) | bits_if_not_finite(row.mean);
    return Normalizer(row.mean, row.low, row.scale, rstd, variance, nan);
}
