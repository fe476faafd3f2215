// No gradients of parameters.
fn update_partials(row: u32, step: u32, thread: u32, sums: Values, first: bool) {}
