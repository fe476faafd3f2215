// 16-bit, sixteen elements in four words of 64 bits: array<vec4<u64>>.
// `tensor` stands for the name of the tensor. Columns beyond the row are left alone.
fn store_tensor(start: u32, step: u32, thread: u32, values: Values) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let low = vec4<u32>(pack(values[0]), pack(values[1]));
        let high = vec4<u32>(pack(values[2]), pack(values[3]));
        let even = vec4<u64>(vec4<u32>(low.xz, high.xz));
        let odd = vec4<u64>(vec4<u32>(low.yw, high.yw));
        tensor[(start + column) / 16u] = even | (odd << vec4<u32>(32u));
    }
}
