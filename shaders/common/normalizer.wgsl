// From a row's moments to its xhat.
//
//     var     squares / cols                              (L2: squares)
//     rstd    1 / sqrt(var + eps * scale * scale)         (L2: 1 / max(sqrt(var), eps * scale))
//     xhat    ((x * scale - mean) - low) * rstd

struct Normalizer {
    mean: f32,
    low: f32,
    scale: f32,
    rstd: f32,
    // All bits where the row is not finite: see numerics.wgsl.
    nan: u32,
}

fn normalizer(moments: Moments) -> Normalizer {
    var row = moments;
    // A large value again and again, whose mean has rounded to infinity: eps would be lost at the small
    // scale.
    if (row.scale < 1.0 && row.squares / VARIANCE_COUNT < LEAST_VARIANCE) {
        row = Moments(row.count, row.mean / row.scale, row.low / row.scale, 0.0, 1.0);
    }
    let rstd = reciprocal_deviation(row.squares / VARIANCE_COUNT, row.scale);
    // The mean too: of one column, a compiler may know that x - mean is 0, whatever x is.
    let nan = bits_if_not_finite(row.squares) | bits_if_not_finite(row.mean);
    return Normalizer(row.mean, row.low, row.scale, rstd, nan);
}

fn normalized(x: Values, normal: Normalizer) -> Values {
    var xhat = x;
    for (var part = 0u; part < PARTS; part++) {
        let c = fma(xhat[part], vec4<f32>(normal.scale), vec4<f32>(-normal.mean));
        xhat[part] = (c - normal.low) * normal.rstd;
    }
    return xhat;
}

fn store_normalizer(row: u32, thread: u32, normal: Normalizer) {
    store_statistics(row, thread, normal.mean / normal.scale + normal.low / normal.scale, normal.rstd * normal.scale, normal.nan);
}
