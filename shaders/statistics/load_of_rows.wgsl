// Mean and rstd of four rows, side by side or a column stride apart.
fn load_statistics(row: u32) -> RowStatistics {
    var saved: RowStatistics;
    for (var i = 0u; i < ACCESS_ROWS; i++) {
        let start = row_start(PLACE_STATISTICS, row + i);
        saved.mean[i] = statistics[start];
        saved.rstd[i] = statistics[start + column_stride(PLACE_STATISTICS)];
    }
    return saved;
}
