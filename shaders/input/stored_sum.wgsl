// The rows that forward normalises are x + residual as forward_split_statistics has stored them.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    return load_sum(params.sum.x + row * params.sum.y, step, thread);
}
