// float32, 32 bytes in four words of 64 bits: array<vec4<u64>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let even = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[0].xz, values[1].xz), nan)));
        let odd = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[0].yw, values[1].yw), nan)));
        BUFFER[element(PLACE_TENSOR, row, column) / 8u] = even | (odd << vec4<u32>(32u));
    }
}
