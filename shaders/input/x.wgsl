// The rows that forward normalises are x.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    return load_x(params.x.x + row * params.x.y, step, thread);
}

// What the second walk of a streamed row reads: x again, from the element at which its row starts.
fn stored_start(row: u32) -> u32 {
    return params.x.x + row * params.x.y;
}

fn load_stored(start: u32, step: u32, thread: u32) -> Values {
    return load_x(start, step, thread);
}

fn store_input(row: u32, step: u32, thread: u32, values: Values) {}
