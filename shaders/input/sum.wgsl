// The rows that forward normalises are x + residual as stored: rounded to their dtype, so that backward, which reads
// the stored sum, differentiates the same function.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    let x = load_x(params.x.x + row * params.x.y, step, thread);
    let residual = load_residual(params.residual.x + row * params.residual.y, step, thread);
    var sum = add_values(x, residual);
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = as_stored(sum[part]);
    }
    return sum;
}

// What the second walk of a streamed row reads: the sum that the first has written, from the element at which its row starts.
fn stored_start(row: u32) -> u32 {
    return params.sum.x + row * params.sum.y;
}

fn load_stored(start: u32, step: u32, thread: u32) -> Values {
    return load_sum(start, step, thread);
}

fn store_input(row: u32, step: u32, thread: u32, values: Values) {
    store_sum(params.sum.x + row * params.sum.y, step, thread, values, 0u);
}
