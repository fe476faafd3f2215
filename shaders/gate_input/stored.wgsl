// What is read of rows that forward has walked before: x and the gate input again.
fn load_stored(row: u32, step: u32, thread: u32) -> Values {
    return load_input(row, step, thread);
}
