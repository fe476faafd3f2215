// Mean and rstd of four rows, side by side or a column stride apart.
fn store_statistics(row: u32, thread: u32, mean: PerRow, rstd: PerRow, nan: PerRowBits) {
    var means = mean;
    var rstds = or_nan(rstd, nan);
    for (var i = 0u; i < ACCESS_ROWS; i++) {
        if (thread == 0u) {
            let start = row_start(PLACE_STATISTICS, row + i);
            statistics[start] = means[i];
            statistics[start + column_stride(PLACE_STATISTICS)] = rstds[i];
        }
    }
}
