// Whether the gradient is added to what is there.
const ACCUMULATES_DROW_GAIN: bool = false;

// The gradient of a row's gain, sum_cols(dy * xhat), by the row's first thread.
fn write_row_gain_gradient(row: u32, thread: u32, means: RowMeans) {
    if (thread == 0u) {
        let at = row_start(PLACE_DROW_GAIN, row);
        let gradient = or_nan(vec4<f32>(means.product), means.nan).x;
        drow_gain[at] = gradient + select(0.0, drow_gain[at], ACCUMULATES_DROW_GAIN);
    }
}
