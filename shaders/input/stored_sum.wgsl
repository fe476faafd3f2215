// What is read of rows that forward has walked before: the sum that it has written.
fn load_stored(row: u32, step: u32, thread: u32) -> Values {
    return load_sum(row, step, thread);
}
