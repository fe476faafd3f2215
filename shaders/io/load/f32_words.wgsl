// float32, 32 bytes in four words of 64 bits: array<vec4<u64>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let words = BUFFER[element(PLACE_TENSOR, row, min(columns(step, 0u, thread).x, COLS - 8u)) / 8u];
    let even = bitcast<vec4<f32>>(vec4<u32>(words));
    let odd = bitcast<vec4<f32>>(vec4<u32>(words >> vec4<u32>(32u)));
    return Values(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}
