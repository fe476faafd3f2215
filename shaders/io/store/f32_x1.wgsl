// float32, four times 4 bytes: array<f32>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread);
    let i = row_start(PLACE_TENSOR, row) + column_starts(PLACE_TENSOR, column);
    let v = or_nan(values[0], nan);
    if (column.x < COLS) {
        BUFFER[i.x] = v.x;
    }
    if (column.y < COLS) {
        BUFFER[i.y] = v.y;
    }
    if (column.z < COLS) {
        BUFFER[i.z] = v.z;
    }
    if (column.w < COLS) {
        BUFFER[i.w] = v.w;
    }
}
