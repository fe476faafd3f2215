// What makes xhat of a row, at the scale that its squares are taken at.
//
//     xhat    ((x * scale - mean) - low) * rstd

struct Normalizer {
    mean: PerRow,
    low: PerRow,
    scale: PerRow,
    rstd: PerRow,
    variance: PerRow,
    // All bits where the row is not finite: see numerics.wgsl.
    nan: PerRowBits,
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
    let mean = normal.mean / normal.scale + normal.low / normal.scale;
    store_statistics(row, thread, mean, normal.rstd * normal.scale, normal.nan);
    update_running(row, thread, mean, normal.variance, normal.scale, normal.nan);
}
