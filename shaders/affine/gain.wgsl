// y = gain * xhat
fn apply_affine(step: u32, thread: u32, xhat: Values) -> Values {
    return times_gain(step, thread, xhat);
}

// dxhat = dy * gain
fn times_gain(step: u32, thread: u32, v: Values) -> Values {
    var gain = load_gain(params.gain, step, thread);
    var product = v;
    for (var part = 0u; part < PARTS; part++) {
        product[part] *= gain[part];
    }
    return product;
}
