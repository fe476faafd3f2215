// float32, four times 4 bytes: array<f32>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    let column = min(columns(step, 0u, thread), vec4<u32>(COLS - 1u));
    let i = row_start(PLACE_TENSOR, row) + column_starts(PLACE_TENSOR, column);
    return Values(vec4<f32>(BUFFER[i.x], BUFFER[i.y], BUFFER[i.z], BUFFER[i.w]));
}
