// Mean and rstd of a row, side by side or a column stride apart.
fn store_statistics(row: u32, thread: u32, mean: f32, rstd: f32, nan: u32) {
    if (thread == 0u) {
        let start = row_start(PLACE_STATISTICS, row);
        statistics[start] = mean;
        statistics[start + column_stride(PLACE_STATISTICS)] = or_nan(vec4<f32>(rstd), nan).x;
    }
}
