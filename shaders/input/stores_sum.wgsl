// What is normalized is written out: the sum.
fn store_input(row: u32, step: u32, thread: u32, values: Values) {
    store_sum(row, step, thread, values, PerRowBits());
}
