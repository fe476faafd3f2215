// 16-bit, four elements in 8 bytes: array<vec2<u32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row read as some column of it.
fn load_tensor(start: u32, step: u32, thread: u32) -> Values {
    return Values(unpack(tensor[(start + min(columns(step, 0u, thread).x, COLS - 4u)) / 4u]));
}
