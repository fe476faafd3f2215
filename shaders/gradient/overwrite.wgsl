// The gradient of `tensor` replaces what is there.
fn write_tensor(start: u32, step: u32, thread: u32, gradient: Values, nan: u32) {
    store_tensor(start, step, thread, gradient, nan);
}
