// SiLU: z * sigmoid(z), and what its gradient is multiplied by. NaN stays NaN, by its bits; at the infinities
// both are what they tend to.

// Beyond this, sigmoid is 0 or 1 to the last bit of any product with it.
const FAR: f32 = 128.0;

struct Sigmoid {
    of_z: vec4<f32>,
    of_minus_z: vec4<f32>,
}

// Both are products of positive numbers: exp of none overflows, and 1 is never taken from what is near 1.
fn sigmoid(z: vec4<f32>) -> Sigmoid {
    let small_exp = exp(-abs(z));
    let large = 1.0 / (1.0 + small_exp);
    let small = small_exp * large;
    let is_below = z < vec4<f32>();
    return Sigmoid(select(large, small, is_below), select(small, large, is_below));
}

// v, or NaN: by bits, see numerics.wgsl.
fn or_nan_of(v: vec4<f32>, is_nan: vec4<bool>) -> vec4<f32> {
    return bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(v), vec4<u32>(0x7fc00000u), is_nan));
}

fn magnitude_bits(v: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
}

fn silu(z: vec4<f32>) -> vec4<f32> {
    let y = max(z, vec4<f32>(-FAR)) * sigmoid(clamp(z, vec4<f32>(-FAR), vec4<f32>(FAR))).of_z;
    return or_nan_of(y, magnitude_bits(z) > vec4<u32>(0x7f800000u));
}

// dy * (s + z * s * (1 - s)). An infinity of dy would be multiplied by what may have become 0.
fn silu_gradient(z: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    let near = clamp(z, vec4<f32>(-FAR), vec4<f32>(FAR));
    let s = sigmoid(near);
    let slope = s.of_z * fma(near, s.of_minus_z, vec4<f32>(1.0));
    let is_nan = magnitude_bits(z) > vec4<u32>(0x7f800000u);
    return or_nan_of(dy * slope, is_nan | (magnitude_bits(dy) >= vec4<u32>(0x7f800000u)));
}
