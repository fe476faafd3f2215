// 16-bit, two times two elements in a word: array<u32>.
// `tensor` stands for the name of the tensor. Columns beyond the row read as some column of it.
fn load_tensor(start: u32, step: u32, thread: u32) -> Values {
    let i = (start + min(columns(step, 0u, thread).xz, vec2<u32>(COLS - 2u))) / 2u;
    return Values(unpack(vec2<u32>(tensor[i.x], tensor[i.y])));
}
