// float16, four times one element: array<f16>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let start = row_start(PLACE_TENSOR, row);
    let column = columns(step, 0u, thread);
    let v = vec4<f16>(or_nan(values[0], nan));
    if (column.x < COLS) {
        BUFFER[start + column.x] = v.x;
    }
    if (column.y < COLS) {
        BUFFER[start + column.y] = v.y;
    }
    if (column.z < COLS) {
        BUFFER[start + column.z] = v.z;
    }
    if (column.w < COLS) {
        BUFFER[start + column.w] = v.w;
    }
}
