// 16-bit, eight elements in 16 bytes: array<vec4<u32>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let words = BUFFER[element(PLACE_TENSOR, row, min(columns(step, 0u, thread).x, COLS - 8u)) / 8u];
    return Values(unpack(words.xy), unpack(words.zw));
}
