// float32, two times 32 bytes in four words of 64 bits, beside 16-bit rows: array<vec4<u64>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let i = element(PLACE_TENSOR, row, min(columns(step, 0u, thread).x, COLS - 16u)) / 8u;
    let low = BUFFER[i];
    let high = BUFFER[i + 1u];
    let low_even = bitcast<vec4<f32>>(vec4<u32>(low));
    let low_odd = bitcast<vec4<f32>>(vec4<u32>(low >> vec4<u32>(32u)));
    let high_even = bitcast<vec4<f32>>(vec4<u32>(high));
    let high_odd = bitcast<vec4<f32>>(vec4<u32>(high >> vec4<u32>(32u)));
    return Values(
        vec4<f32>(low_even.x, low_odd.x, low_even.y, low_odd.y),
        vec4<f32>(low_even.z, low_odd.z, low_even.w, low_odd.w),
        vec4<f32>(high_even.x, high_odd.x, high_even.y, high_odd.y),
        vec4<f32>(high_even.z, high_odd.z, high_even.w, high_odd.w),
    );
}
