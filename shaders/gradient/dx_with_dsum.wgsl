// dsum is added to the gradient in float32, before dx is rounded once.
fn total_dx(row: u32, step: u32, thread: u32, gradient: Values) -> Values {
    return add_values(load_dsum(row, step, thread), gradient);
}
