// What xhat is multiplied by in each column: the gain as stored.
fn load_factors(row: u32, step: u32, thread: u32) -> Values {
    return load_gain(parameter_row(row), step, thread);
}
