// y is SiLU of what gain and bias make of xhat.
fn finish_y(row: u32, step: u32, thread: u32, values: Values) -> Values {
    var y = values;
    for (var part = 0u; part < PARTS; part++) {
        y[part] = silu(y[part]);
    }
    return y;
}
