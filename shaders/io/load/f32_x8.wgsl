// float32, two times 16 bytes, beside 16-bit rows: array<vec4<f32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row read as some column of it.
fn load_tensor(start: u32, step: u32, thread: u32) -> Values {
    let i = (start + min(columns(step, 0u, thread).x, COLS - 8u)) / 4u;
    return Values(tensor[i], tensor[i + 1u]);
}
