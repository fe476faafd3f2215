// y replaces what is there: SiLU of what gain and bias make of xhat.
fn write_y(row: u32, step: u32, thread: u32, values: Values, nan: PerRowBits) {
    var y = values;
    for (var part = 0u; part < PARTS; part++) {
        y[part] = silu(y[part]);
    }
    store_y(row, step, thread, y, nan);
}
