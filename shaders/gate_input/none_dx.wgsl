// Without a gate dx is written as it is.
fn finish_dx(row: u32, step: u32, thread: u32, saved: RowStatistics, dx: Values, nan: PerRowBits) {
    write_dx(row, step, thread, dx, nan);
}
