// What xhat is made of: x * silu(gate_input), by the saved statistics.
fn load_source(row: u32, step: u32, thread: u32) -> Values {
    var product = load_x(row, step, thread);
    var gates = load_gate_input(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= silu(gates[part]);
    }
    return product;
}
