// y is what gain and bias make of xhat.
fn finish_y(row: u32, step: u32, thread: u32, values: Values) -> Values {
    return values;
}
