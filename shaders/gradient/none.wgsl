// No gradient of TENSOR.
fn write_TENSOR(row: u32, step: u32, thread: u32, gradient: Values, nan: u32) {}
