// float32, a column of four rows in 16 bytes: array<vec4<f32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: PerRowBits) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column) / 4u] = or_nan(values[0], nan);
    }
}
