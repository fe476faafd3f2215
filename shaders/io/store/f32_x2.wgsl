// float32, two times 8 bytes: array<vec2<f32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone. `nan`: see NaN in
// common/numerics.wgsl.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).xz;
    let v = or_nan(values[0], nan);
    if (column.x < COLS) {
        tensor[(start + column.x) / 2u] = v.xy;
    }
    if (column.y < COLS) {
        tensor[(start + column.y) / 2u] = v.zw;
    }
}
