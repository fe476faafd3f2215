// 16-bit, four elements in 8 bytes: array<vec2<u32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column) / 4u] = select(pack(values[0]), vec2<u32>(NAN_WORD), nan != 0u);
    }
}
