// No gradient of `tensor`.
fn write_tensor(start: u32, step: u32, thread: u32, gradient: Values, nan: u32) {}
