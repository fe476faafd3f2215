// 16-bit, four times one element, each in one half of a word: array<u32>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let column = min(columns(step, 0u, thread), vec4<u32>(COLS - 1u));
    let i = row_start(PLACE_TENSOR, row) + column_starts(PLACE_TENSOR, column);
    let words = vec4<u32>(BUFFER[i.x / 2u], BUFFER[i.y / 2u], BUFFER[i.z / 2u], BUFFER[i.w / 2u]);
    let halves = (words >> (16u * (i & vec4<u32>(1u)))) & vec4<u32>(0xffffu);
    return Values(unpack(halves.xz | (halves.yw << vec2<u32>(16u))));
}
