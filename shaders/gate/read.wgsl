// The gate of a step of a row.
fn gate_of(row: u32, step: u32, thread: u32) -> Values {
    return load_gate(gate_row(row), step, thread);
}
