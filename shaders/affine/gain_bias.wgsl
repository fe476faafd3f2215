// y = gain * xhat + bias
struct Parameters {
    gain: Values,
    bias: Values,
}

fn load_parameters(row: u32, step: u32, thread: u32) -> Parameters {
    return Parameters(load_factors(row, step, thread), load_bias(parameter_row(row), step, thread));
}

fn apply_affine(parameters: Parameters, xhat: Values) -> Values {
    var of_step = parameters;
    var y = xhat;
    for (var part = 0u; part < PARTS; part++) {
        y[part] = fma(of_step.gain[part], y[part], of_step.bias[part]);
    }
    return y;
}

fn gain_of(parameters: Parameters) -> Values {
    return parameters.gain;
}
