// float32, four times 4 bytes: array<f32>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread);
    if (column.x < COLS) {
        tensor[start + column.x] = values[0].x;
    }
    if (column.y < COLS) {
        tensor[start + column.y] = values[0].y;
    }
    if (column.z < COLS) {
        tensor[start + column.z] = values[0].z;
    }
    if (column.w < COLS) {
        tensor[start + column.w] = values[0].w;
    }
}
