// y = gain * xhat
alias Parameters = Values;

fn load_parameters(row: u32, step: u32, thread: u32) -> Parameters {
    return load_factors(row, step, thread);
}

fn apply_affine(gain: Parameters, xhat: Values) -> Values {
    return times_gain_plus(gain, xhat, PerRow());
}

fn gain_of(parameters: Parameters) -> Values {
    return parameters;
}
