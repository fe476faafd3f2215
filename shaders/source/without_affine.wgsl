// The least |gain| that leaves enough of xhat in y. In backward it is in the word of the unit, which only
// forward has.
fn least_gain() -> f32 {
    return params.unit;
}

// (y - bias) / gain, and 0 where the gain is below the least.
fn without_affine(y: vec4<f32>, factor: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    // In quarters, so that no difference overflows.
    let quarter = fma(y, vec4<f32>(0.25), -bias * (0.25 * params.one));
    // The reciprocal of a large factor may be subnormal.
    let scale = select(vec4<f32>(1.0), vec4<f32>(0x1p-64f), abs(factor) >= vec4<f32>(0x1p64f));
    let is_enough = abs(factor) >= vec4<f32>(least_gain());
    let divisor = select(vec4<f32>(1.0), factor * scale, is_enough);
    let dividend = quarter * scale;
    // A division may be off by 2.5 units in the last place.
    let reciprocal = 1.0 / divisor;
    let quotient = dividend * reciprocal;
    let xhat = 4.0 * fma(fma(-quotient, divisor, dividend), reciprocal, quotient);
    return shown_xhat(select(vec4<f32>(), xhat, is_enough), y);
}
