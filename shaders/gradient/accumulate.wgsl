// The gradient of `tensor` is added to what is there, in float32, and rounded once.
fn write_tensor(start: u32, step: u32, thread: u32, gradient: Values, nan: u32) {
    store_tensor(start, step, thread, add_values(load_tensor(start, step, thread), gradient), nan);
}
