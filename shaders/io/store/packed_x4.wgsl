// 16-bit, four elements in 8 bytes: array<vec2<u32>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone. `nan`: see NaN in
// common/numerics.wgsl.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        tensor[(start + column) / 4u] = select(pack(values[0]), vec2<u32>(NAN_WORD), nan != 0u);
    }
}
