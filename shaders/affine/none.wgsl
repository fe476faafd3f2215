// y = xhat
fn apply_affine(step: u32, thread: u32, xhat: Values) -> Values {
    return xhat;
}

// dxhat + summand, with dxhat = dy
fn times_gain_plus(step: u32, thread: u32, dy: Values, summand: f32) -> Values {
    var sum = dy;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] += summand;
    }
    return sum;
}
