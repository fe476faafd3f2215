// 16-bit, sixteen elements in four words of 64 bits: array<vec4<u64>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let is_nan = nan != 0u;
        let low = select(vec4<u32>(pack(values[0]), pack(values[1])), vec4<u32>(NAN_WORD), is_nan);
        let high = select(vec4<u32>(pack(values[2]), pack(values[3])), vec4<u32>(NAN_WORD), is_nan);
        let even = vec4<u64>(vec4<u32>(low.xz, high.xz));
        let odd = vec4<u64>(vec4<u32>(low.yw, high.yw));
        BUFFER[element(PLACE_TENSOR, row, column) / 16u] = even | (odd << vec4<u32>(32u));
    }
}
