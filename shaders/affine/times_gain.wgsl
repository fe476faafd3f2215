// dxhat + summand, with dxhat = dy * gain, rounded once
fn times_gain_plus(parameters: Parameters, v: Values, summand: PerRow) -> Values {
    var factors = gain_of(parameters);
    var sum = v;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] = fma(sum[part], factors[part], vec4<f32>(summand));
    }
    return sum;
}

// dxhat at 2^-144, see numerics.wgsl
fn small_dxhat(parameters: Parameters, dy: Values) -> Values {
    var factors = gain_of(parameters);
    var small = dy;
    for (var part = 0u; part < PARTS; part++) {
        small[part] = scaled_down(small[part]) * scaled_down(factors[part]);
    }
    return small;
}
