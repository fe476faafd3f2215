// Mean and rstd of a row, side by side or a column stride apart.
fn load_statistics(row: u32) -> RowStatistics {
    let start = row_start(PLACE_STATISTICS, row);
    return RowStatistics(statistics[start], statistics[start + column_stride(PLACE_STATISTICS)]);
}
