// y = xhat
fn apply_affine(step: u32, thread: u32, xhat: Values) -> Values {
    return xhat;
}

// dxhat = dy
fn times_gain(step: u32, thread: u32, dy: Values) -> Values {
    return dy;
}
