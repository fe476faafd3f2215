// dx is the gradient of a gated sum: what the gate has multiplied has gate times that, before dx is rounded.
fn finish_dx(row: u32, step: u32, thread: u32, saved: RowStatistics, total: Values, nan: PerRowBits) {
    write_dx(row, step, thread, total, nan);
    var dbranch = total;
    var gate = load_gate(gate_row(row), step, thread);
    for (var part = 0u; part < PARTS; part++) {
        dbranch[part] *= gate[part];
    }
    store_dbranch(row, step, thread, dbranch, nan);
}
