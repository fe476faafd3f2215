// float32, two times 8 bytes: array<vec2<f32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).xz;
    let v = or_nan(values[0], nan);
    if (column.x < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column.x) / 2u] = v.xy;
    }
    if (column.y < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column.y) / 2u] = v.zw;
    }
}
