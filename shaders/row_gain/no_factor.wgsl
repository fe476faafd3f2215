// Rows have no gains of their own.
fn with_row_gain(row: u32, means: RowMeans) -> RowMeans {
    return means;
}
