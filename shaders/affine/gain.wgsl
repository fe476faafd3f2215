// y = gain * xhat
fn apply_affine(step: u32, thread: u32, xhat: Values) -> Values {
    return times_gain_plus(step, thread, xhat, 0.0);
}

// dxhat + summand, with dxhat = dy * gain, rounded once
fn times_gain_plus(step: u32, thread: u32, v: Values, summand: f32) -> Values {
    var gain = load_gain(params.gain, step, thread);
    var sum = v;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = fma(sum[part], gain[part], vec4<f32>(summand));
    }
    return sum;
}
