// y = gain * xhat
alias Parameters = Values;

fn load_parameters(row: u32, step: u32, thread: u32) -> Parameters {
    return load_factors(row, step, thread);
}

fn apply_affine(gain: Parameters, xhat: Values) -> Values {
    return times_gain_plus(gain, xhat, PerRow());
}

// dxhat + summand, with dxhat = dy * gain, rounded once
fn times_gain_plus(gain: Parameters, v: Values, summand: PerRow) -> Values {
    var factors = gain;
    var sum = v;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = fma(sum[part], factors[part], vec4<f32>(summand));
    }
    return sum;
}

// dxhat at 2^-144, see numerics.wgsl
fn small_dxhat(gain: Parameters, dy: Values) -> Values {
    var factors = gain;
    var small = dy;
    for (var part = 0u; part < PARTS; part++) {
        small[part] = scaled_down(small[part]) * scaled_down(factors[part]);
    }
    return small;
}
