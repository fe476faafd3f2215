// float32, two times 16 bytes, beside 16-bit rows: array<vec4<f32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone. `nan`: see NaN in
// common/numerics.wgsl.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        tensor[(start + column) / 4u] = or_nan(values[0], nan);
        tensor[(start + column) / 4u + 1u] = or_nan(values[1], nan);
    }
}
