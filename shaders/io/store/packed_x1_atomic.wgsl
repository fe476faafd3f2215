// 16-bit, four times one element, each in one half of a word: array<atomic<u32>>. The other half belongs to
// another thread, workgroup or tensor, so only the bits that change are flipped, in one atomic step. Columns
// beyond the row are left alone. `nan`: see NaN in common/numerics.wgsl.
fn store_TENSOR_half(i: u32, half: u32) {
    let shift = 16u * (i & 1u);
    let old = (atomicLoad(&BUFFER[i / 2u]) >> shift) & 0xffffu;
    atomicXor(&BUFFER[i / 2u], (old ^ half) << shift);
}

fn store_TENSOR(row: u32, step: u32, thread: u32, values: Values, nan: u32) {
    let column = columns(step, 0u, thread);
    let i = row_start(PLACE_TENSOR, row) + column_starts(PLACE_TENSOR, column);
    let words = select(pack(values[0]), vec2<u32>(NAN_WORD), nan != 0u);
    if (column.x < COLS) {
        store_TENSOR_half(i.x, words.x & 0xffffu);
    }
    if (column.y < COLS) {
        store_TENSOR_half(i.y, words.x >> 16u);
    }
    if (column.z < COLS) {
        store_TENSOR_half(i.z, words.y & 0xffffu);
    }
    if (column.w < COLS) {
        store_TENSOR_half(i.w, words.y >> 16u);
    }
}
