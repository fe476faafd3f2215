// 16-bit, two times two elements in a word: array<u32>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let column = min(columns(step, 0u, thread).xz, vec2<u32>(COLS - 2u));
    let low = BUFFER[element(PLACE_TENSOR, row, column.x) / 2u];
    return Values(unpack(vec2<u32>(low, BUFFER[element(PLACE_TENSOR, row, column.y) / 2u])));
}
