// What xhat is made of: (y - bias) / gain.
fn load_source(row: u32, step: u32, thread: u32) -> Values {
    var factors = load_factors(row, step, thread);
    var biases = load_bias(parameter_row(row), step, thread);
    var xhat = load_y(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = without_affine(xhat[part], factors[part], biases[part]);
    }
    return xhat;
}
