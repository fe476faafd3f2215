// The rows that forward normalizes are x.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    return load_x(row, step, thread);
}
