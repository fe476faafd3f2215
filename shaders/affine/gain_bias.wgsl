// y = gain * xhat + bias
fn apply_affine(step: u32, thread: u32, xhat: Values) -> Values {
    var gain = load_gain(params.gain, step, thread);
    var bias = load_bias(params.bias, step, thread);
    var y = xhat;
    for (var part = 0u; part < PARTS; part++) {
        y[part] = fma(gain[part], y[part], bias[part]);
    }
    return y;
}
