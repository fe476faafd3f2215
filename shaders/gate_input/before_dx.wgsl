// From the gradient of x * silu(gate_input), those of both, a step of both at a time: dx may lie over x.
fn finish_dx(row: u32, step: u32, thread: u32, saved: RowStatistics, gradient: Values, nan: PerRowBits) {
    var dx = gradient;
    var gates = load_gate_input(row, step, thread);
    var dgates = load_x(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dgates[part] = silu_gradient(gates[part], dx[part] * dgates[part]);
        dx[part] *= silu(gates[part]);
    }
    store_dgate_input(row, step, thread, dgates, nan);
    write_dx(row, step, thread, dx, nan);
}
