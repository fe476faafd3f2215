// float16, two in a word, the first in the low half.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

// WGSL leaves open what pack2x16float makes of numbers beyond the largest float16, infinities and NaNs. (SwiftShader makes
// a NaN of an infinity, and changes the other half of the word.) So it gets none: from 65520 on, where rounding to nearest
// ends in infinity, halves are made from the bits.
fn pack(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    let is_finite = magnitude < vec4<u32>(0x477ff000u);
    let finite = clamp(select(vec4<f32>(), v, is_finite), vec4<f32>(-65504.0), vec4<f32>(65504.0));
    let words = vec2<u32>(pack2x16float(finite.xy), pack2x16float(finite.zw)).xxyy;
    let packed = (words >> vec4<u32>(0u, 16u, 0u, 16u)) & vec4<u32>(0xffffu);
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let not_finite = select(vec4<u32>(0x7c00u), vec4<u32>(0x7e00u), is_nan);
    let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    let halves = select(not_finite | sign, packed, is_finite);
    return halves.xz | (halves.yw << vec2<u32>(16u));
}

fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return unpack(pack(v));
}
