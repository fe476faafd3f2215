// float16, two in a word, the first in the low half.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

// WGSL leaves open what pack2x16float makes of an infinity: SwiftShader makes a NaN.
fn pack(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let words = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)).xxyy;
    let packed = (words >> vec4<u32>(0u, 16u, 0u, 16u)) & vec4<u32>(0xffffu);
    let infinity = ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u)) | vec4<u32>(0x7c00u);
    let is_infinite = (bits & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
    let halves = select(packed, infinity, is_infinite);
    return halves.xz | (halves.yw << vec2<u32>(16u));
}

fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return unpack(pack(v));
}
