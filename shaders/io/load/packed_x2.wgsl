// 16-bit, two times two elements in a word: array<u32>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let i = (row_start(PLACE_TENSOR, row) + min(columns(step, 0u, thread).xz, vec2<u32>(COLS - 2u))) / 2u;
    return Values(unpack(vec2<u32>(BUFFER[i.x], BUFFER[i.y])));
}
