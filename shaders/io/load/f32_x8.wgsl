// float32, two times 16 bytes, beside 16-bit rows: array<vec4<f32>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let i = element(PLACE_TENSOR, row, min(columns(step, 0u, thread).x, COLS - 8u)) / 4u;
    return Values(BUFFER[i], BUFFER[i + 1u]);
}
