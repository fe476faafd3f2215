// The gradient is added to the dx that is there, in float32, before it is rounded once.
fn total_dx(row: u32, step: u32, thread: u32, gradient: Values) -> Values {
    return add_values(load_dx(row, step, thread), gradient);
}
