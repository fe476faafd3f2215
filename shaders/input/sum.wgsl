// The rows that forward normalizes are x + residual as stored: rounded to their dtype, so that backward,
// which reads the stored sum, differentiates the same function.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    let x = load_x(row, step, thread);
    let residual = load_residual(row, step, thread);
    var sum = add_values(x, residual);
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = round_sum(sum[part]);
    }
    return sum;
}
