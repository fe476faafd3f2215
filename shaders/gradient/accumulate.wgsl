// The gradient of TENSOR is added to what is there, in float32, and rounded once.
fn write_TENSOR(row: u32, step: u32, thread: u32, gradient: Values, nan: PerRowBits) {
    store_TENSOR(row, step, thread, add_values(load_TENSOR(row, step, thread), gradient), nan);
}
