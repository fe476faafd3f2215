// float16, four times one element: array<f16>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone. `nan`: see NaN in
// common/numerics.wgsl.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread);
    let v = vec4<f16>(or_nan(values[0], nan));
    if (column.x < COLS) {
        tensor[start + column.x] = v.x;
    }
    if (column.y < COLS) {
        tensor[start + column.y] = v.y;
    }
    if (column.z < COLS) {
        tensor[start + column.z] = v.z;
    }
    if (column.w < COLS) {
        tensor[start + column.w] = v.w;
    }
}
