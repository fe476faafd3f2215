// What xhat is multiplied by in each column: 1 + gain.
fn load_factors(row: u32, step: u32, thread: u32) -> Values {
    var factors = load_gain(parameter_row(row), step, thread);
    for (var part = 0u; part < PARTS; part++) {
        factors[part] += 1.0;
    }
    return factors;
}
