// float16, two in a word, the first in the low half.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Two of them that are NaN.
const NAN_WORD: u32 = 0x7e007e00u;

// The bits of the largest float16, 65504, and of 65520, from which on rounding to nearest ends in infinity.
const LARGEST_FINITE: u32 = 0x477fe000u;
const FIRST_INFINITE: u32 = 0x477ff000u;

// Whether rare values are branched to. Software adapters run both sides of a branch for all lanes.
const BRANCH: bool = false;

// WGSL leaves open what pack2x16float makes of numbers beyond the largest float16, infinities and NaNs.
// (SwiftShader makes a NaN of an infinity, and changes the other half of the word.) So it gets none: those
// halves are made from the bits.
fn pack(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    if (BRANCH) {
        let largest = max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w));
        if (largest <= LARGEST_FINITE) {
            return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
        }
    }
    let is_finite = magnitude < vec4<u32>(FIRST_INFINITE);
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
