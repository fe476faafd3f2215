// 16-bit, eight elements in 16 bytes: array<vec4<u32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let words = vec4<u32>(pack(values[0]), pack(values[1]));
        BUFFER[element(PLACE_TENSOR, row, column) / 8u] = select(words, vec4<u32>(NAN_WORD), nan != 0u);
    }
}
