// What xhat is made of: y / gain.
fn load_source(row: u32, step: u32, thread: u32) -> Values {
    var factors = load_factors(row, step, thread);
    var xhat = load_y(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        xhat[part] = without_affine(xhat[part], factors[part], vec4<f32>());
    }
    return xhat;
}
