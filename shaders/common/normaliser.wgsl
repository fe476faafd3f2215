// From a row's moments to its xhat.
//
//     var     squares / count
//     rstd    1 / sqrt(var + eps * scale * scale)
//     xhat    ((x * scale - mean) - low) * rstd

struct Normaliser {
    mean: f32,
    low: f32,
    scale: f32,
    rstd: f32,
}

fn normaliser(row: Moments) -> Normaliser {
    let variance = max(row.squares / row.count, 0.0);
    let rstd = reciprocal_sqrt(fma(params.eps * row.scale, row.scale, variance));
    return Normaliser(row.mean, row.low, row.scale, poison(rstd, row.squares));
}

fn normalised(x: Values, row: Normaliser) -> Values {
    var xhat = x;
    for (var part = 0u; part < PARTS; part++) {
        let c = fma(xhat[part], vec4<f32>(row.scale), vec4<f32>(-row.mean));
        xhat[part] = (c - row.low) * row.rstd;
    }
    return xhat;
}

fn store_normaliser(number: u32, thread: u32, row: Normaliser) {
    store_statistics(number, thread, row.mean / row.scale + row.low / row.scale, row.rstd * row.scale);
}
