// float32, two times 32 bytes in four words of 64 bits, beside 16-bit rows: array<vec4<u64>>.
// Columns beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let i = element(PLACE_TENSOR, row, column) / 8u;
        let low_even = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[0].xz, values[1].xz), nan)));
        let low_odd = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[0].yw, values[1].yw), nan)));
        BUFFER[i] = low_even | (low_odd << vec4<u32>(32u));
        let high_even = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[2].xz, values[3].xz), nan)));
        let high_odd = vec4<u64>(bitcast<vec4<u32>>(or_nan(vec4<f32>(values[2].yw, values[3].yw), nan)));
        BUFFER[i + 1u] = high_even | (high_odd << vec4<u32>(32u));
    }
}
