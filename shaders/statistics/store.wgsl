// [rows, 2]: mean, rstd.
fn store_statistics(row: u32, thread: u32, mean: f32, rstd: f32, nan: u32) {
    if (thread == 0u) {
        statistics[params.statistics + 2u * row] = mean;
        statistics[params.statistics + 2u * row + 1u] = or_nan(vec4<f32>(rstd), nan).x;
    }
}
