// TENSOR replaces what is there.
fn write_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: PerRowBits) {
    store_TENSOR(row, step, thread, values, nan);
}
