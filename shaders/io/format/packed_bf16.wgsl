// bfloat16, two in a word, the first in the low half: the upper 16 bits of a float32.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    let bits = vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
    return bitcast<vec4<f32>>(bits);
}

// Two of them that are NaN.
const NAN_WORD: u32 = 0x7fc07fc0u;

const INFINITY: u32 = 0x7f800000u;

// Rounds to nearest, ties to even: adds just under half of the last kept bit, and that bit. A NaN, whose
// carry could run into the sign, becomes the quiet NaN.
fn pack(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v);
    var rounded = bits + 0x7fffu + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u));
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    if (max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)) > INFINITY) {
        rounded = select(rounded, vec4<u32>(0x7fc00000u), magnitude > vec4<u32>(INFINITY));
    }
    return (rounded.xz >> vec2<u32>(16u)) | (rounded.yw & vec2<u32>(0xffff0000u));
}

fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return unpack(pack(v));
}
