// A gate that all rows of a slot share, of the thread's own columns: it stays in registers.
var<private> held_gate: array<Values, STEPS>;

fn hold_gate(row: u32, step: u32, thread: u32) {
    held_gate[step] = load_gate(gate_row(row), step, thread);
}

fn gate_of(row: u32, step: u32, thread: u32) -> Values {
    return held_gate[step];
}
