// TENSOR is not wanted.
fn write_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: PerRowBits) {}
