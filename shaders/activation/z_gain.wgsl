// What the activation is applied to: gain * xhat.
fn load_z(row: u32, step: u32, thread: u32, xhat: Values) -> Values {
    var factors = load_factors(row, step, thread);
    var z = xhat;
    for (var part = 0u; part < PARTS; part++) {
        z[part] *= factors[part];
    }
    return z;
}
