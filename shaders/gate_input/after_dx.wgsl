// The gradient of gate_input, of what the gain makes of xhat and dy, a step at a time beside dx, which may
// lie over x or dy.
fn finish_dx(row: u32, step: u32, thread: u32, saved: RowStatistics, gradient: Values, nan: PerRowBits) {
    var xhat = load_source(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = saved_xhat(xhat[part], saved);
    }
    var z = load_z(row, step, thread, xhat);
    var gates = load_gate_input(row, step, thread);
    var dgates = load_dy(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dgates[part] = silu_gradient(gates[part], dgates[part] * z[part]);
    }
    store_dgate_input(row, step, thread, dgates, nan);
    write_dx(row, step, thread, gradient, nan);
}
