// The rows that forward normalises are x.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    return load_x(row, step, thread);
}

fn store_input(row: u32, step: u32, thread: u32, values: Values) {}