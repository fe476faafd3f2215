// 16-bit, two times two elements in a word: array<u32>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).xz;
    let words = select(pack(values[0]), vec2<u32>(NAN_WORD), nan != 0u);
    if (column.x < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column.x) / 2u] = words.x;
    }
    if (column.y < COLS) {
        BUFFER[element(PLACE_TENSOR, row, column.y) / 2u] = words.y;
    }
}
