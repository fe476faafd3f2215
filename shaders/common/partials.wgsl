// The plain sum where the compensated one is not finite.
fn finite_or(plain: vec4<f32>, compensated: vec4<f32>) -> vec4<f32> {
    let exponent = vec4<u32>(0x7f800000u);
    return select(compensated, plain, (bitcast<vec4<u32>>(compensated) & exponent) == exponent);
}
