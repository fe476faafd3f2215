// 16-bit, two times two elements in a word: array<u32>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread).xz;
    let words = pack(values[0]);
    if (column.x < COLS) {
        tensor[(start + column.x) / 2u] = words.x;
    }
    if (column.y < COLS) {
        tensor[(start + column.y) / 2u] = words.y;
    }
}
