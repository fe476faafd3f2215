// 16-bit, a column of four rows in 8 bytes: array<vec2<u32>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: PerRowBits) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let of_nan = (nan.xz & vec2<u32>(0xffffu)) | (nan.yw & vec2<u32>(0xffff0000u));
        let words = (pack(values[0]) & ~of_nan) | (vec2<u32>(NAN_WORD) & of_nan);
        BUFFER[element(PLACE_TENSOR, row, column) / 4u] = words;
    }
}
