// The gradient of what the gain makes of xhat: dy * silu(gate_input).
fn load_dz(row: u32, step: u32, thread: u32, saved: RowStatistics) -> Values {
    var dz = load_dy(row, step, thread);
    var gates = load_gate_input(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dz[part] *= silu(gates[part]);
    }
    return dz;
}
