// float32, 16 bytes: array<vec4<f32>>.
// Columns beyond the row read as some column of it.
fn load_TENSOR(row: u32, step: u32, thread: u32) -> Values {
    return Values(BUFFER[element(PLACE_TENSOR, row, readable_column(step, thread)) / 4u]);
}
