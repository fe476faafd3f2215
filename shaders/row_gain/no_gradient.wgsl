// No gradient of a row's gain is wanted.
fn write_row_gain_gradient(row: u32, thread: u32, means: RowMeans) {}
