// y is what the gain makes of xhat, times silu(gate_input).
fn finish_y(row: u32, step: u32, thread: u32, values: Values) -> Values {
    var y = values;
    var gates = load_gate_input(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        y[part] *= silu(gates[part]);
    }
    return y;
}
