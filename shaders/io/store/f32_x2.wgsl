// float32, two times 8 bytes: array<vec2<f32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread).xz;
    if (column.x < COLS) {
        tensor[(start + column.x) / 2u] = values[0].xy;
    }
    if (column.y < COLS) {
        tensor[(start + column.y) / 2u] = values[0].zw;
    }
}
