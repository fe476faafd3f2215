// float32, 16 bytes: array<vec4<f32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        tensor[(start + column) / 4u] = values[0];
    }
}
