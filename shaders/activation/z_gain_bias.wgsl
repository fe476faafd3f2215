// What the activation is applied to: gain * xhat + bias.
fn load_z(row: u32, step: u32, thread: u32, xhat: Values) -> Values {
    var factors = load_factors(row, step, thread);
    var z = load_bias(parameter_row(row), step, thread);
    for (var part = 0u; part < PARTS; part++) {
        z[part] = fma(xhat[part], factors[part], z[part]);
    }
    return z;
}
