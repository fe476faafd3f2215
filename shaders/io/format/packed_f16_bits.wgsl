// float16, two in a word, the first in the low half, rounded by its bits: what Mesa's software rasterizer
// makes of pack2x16float is five times as long, and takes as much longer to compile and to run.
fn unpack(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Two of them that are NaN.
const NAN_WORD: u32 = 0x7e007e00u;

// The bits of 2^-14, the smallest normal float16, of 65536, from which on all is infinity, and of infinity.
const SMALLEST_NORMAL: u32 = 0x38800000u;
const TOO_LARGE: u32 = 0x47800000u;
const INFINITY: u32 = 0x7f800000u;

// Rounds to nearest, ties to even. A normal number gets the exponent of a float16, just under half of the
// last kept bit, and that bit; from 65520 on its carry ends in infinity. A smaller one is added to 0.5, whose
// last bit is that of the smallest float16.
fn pack(v: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    let rounding = ((magnitude >> vec4<u32>(13u)) & vec4<u32>(1u)) + 0xc8000fffu;
    let normal = (magnitude + rounding) >> vec4<u32>(13u);
    let small = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude) + 0.5) - 0x3f000000u;
    let finite = select(normal, small, magnitude < vec4<u32>(SMALLEST_NORMAL));
    let not_finite = select(vec4<u32>(0x7c00u), vec4<u32>(0x7e00u), magnitude > vec4<u32>(INFINITY));
    let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    let halves = select(finite, not_finite, magnitude >= vec4<u32>(TOO_LARGE)) | sign;
    return halves.xz | (halves.yw << vec2<u32>(16u));
}

fn as_stored(v: vec4<f32>) -> vec4<f32> {
    return unpack(pack(v));
}
