// dsum is added to the gradient in float32, and dx rounded once.
fn write_dx(row: u32, step: u32, thread: u32, gradient: Values, nan: PerRowBits) {
    store_dx(row, step, thread, add_values(load_dsum(row, step, thread), gradient), nan);
}
