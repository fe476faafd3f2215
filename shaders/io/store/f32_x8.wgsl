// float32, two times 16 bytes, beside 16-bit rows: array<vec4<f32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let i = element(PLACE_TENSOR, row, column) / 4u;
        BUFFER[i] = or_nan(values[0], nan);
        BUFFER[i + 1u] = or_nan(values[1], nan);
    }
}
