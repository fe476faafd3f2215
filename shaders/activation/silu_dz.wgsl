// The gradient of what SiLU was applied to, which is made again: from xhat by the saved statistics, so that
// every walk over a row has the same.
fn dz_of_z(row: u32, step: u32, thread: u32, z_values: Values) -> Values {
    var z = z_values;
    var dz = load_dy(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dz[part] = silu_gradient(z[part], dz[part]);
    }
    return dz;
}

fn xhat_of_z(source: Values, saved: RowStatistics) -> Values {
    var xhat = source;
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = saved_xhat(xhat[part], saved);
    }
    return xhat;
}
