// A partial sum has a value for each column: the sum over the four rows of a vec4.
fn update_partials(row: u32, step: u32, thread: u32, sums: Values, first: bool) {
    let column = columns(step, 0u, thread).x;
    if (column < COLS) {
        let v = sums[0];
        store_partial_sum(row, column, (v.x + v.y) + (v.z + v.w), first);
    }
}
