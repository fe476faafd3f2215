// y = xhat; WGSL has no empty type, so the parameters are a number that nobody reads.
alias Parameters = f32;

fn load_parameters(step: u32, thread: u32) -> Parameters {
    return 1.0;
}

fn apply_affine(parameters: Parameters, xhat: Values) -> Values {
    return xhat;
}

// dxhat + summand, with dxhat = dy
fn times_gain_plus(parameters: Parameters, dy: Values, summand: f32) -> Values {
    var sum = dy;
    for (var part = 0u; part < PARTS; part++) {
        sum[part] += summand;
    }
    return sum;
}
