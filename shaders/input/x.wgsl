// The rows that forward normalises are x.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    return load_x(params.x.x + row * params.x.y, step, thread);
}

// The second walk of a streamed row reads x again.
fn load_input_again(row: u32, step: u32, thread: u32) -> Values {
    return load_input(row, step, thread);
}

fn store_input(row: u32, step: u32, thread: u32, values: Values) {}
