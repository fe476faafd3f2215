// 16-bit, sixteen elements in four words of 64 bits: array<vec4<u64>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let words = BUFFER[element(PLACE_TENSOR, row, min(columns(step, 0u, thread).x, COLS - 16u)) / 16u];
    let even = vec4<u32>(words);
    let odd = vec4<u32>(words >> vec4<u32>(32u));
    return Values(
        unpack(vec2<u32>(even.x, odd.x)),
        unpack(vec2<u32>(even.y, odd.y)),
        unpack(vec2<u32>(even.z, odd.z)),
        unpack(vec2<u32>(even.w, odd.w)),
    );
}
