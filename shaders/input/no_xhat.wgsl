// Of a row whose statistics were given dx has no part along xhat: x is not read.
fn load_xhat(row: u32, step: u32, thread: u32, saved: RowStatistics, delta: f32) -> Values {
    return Values();
}

// Nor does it depend on sums that may be large.
fn write_large_dx(row: u32, first_step: u32, thread: u32, saved: RowStatistics, means: RowMeans) {}
