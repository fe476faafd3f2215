// What xhat is made of: x.
fn load_source(row: u32, step: u32, thread: u32) -> Values {
    return load_x(row, step, thread);
}
