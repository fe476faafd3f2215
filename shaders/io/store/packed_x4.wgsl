// 16-bit, four elements in 8 bytes: array<vec2<u32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        tensor[(start + column) / 4u] = pack(values[0]);
    }
}
