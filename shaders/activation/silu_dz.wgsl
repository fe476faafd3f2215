// The gradient of what SiLU was applied to, which is made again: from xhat by the saved statistics, so that
// every walk over a row has the same.
fn load_dz(row: u32, step: u32, thread: u32, saved: RowStatistics) -> Values {
    var xhat = load_source(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = saved_xhat(xhat[part], saved);
    }
    var z = load_z(row, step, thread, xhat);
    var dz = load_dy(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dz[part] = silu_gradient(z[part], dz[part]);
    }
    return dz;
}
