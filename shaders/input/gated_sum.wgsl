// The rows that forward normalizes are residual + gate * x as stored: rounded to their dtype, so that
// backward, which reads the stored sum, differentiates the same function.
fn load_input(row: u32, step: u32, thread: u32) -> Values {
    var x = load_x(row, step, thread);
    var gate = gate_of(row, step, thread);
    var sum = load_residual(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = round_sum(fma(gate[part], x[part], sum[part]));
    }
    return sum;
}
