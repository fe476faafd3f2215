// Codes in E4M3 without infinities (arXiv 2209.05433, where 0x7f is NaN): a sign, 4 bits of exponent, whose 0
// is -7, and 3 of fraction.
const LARGEST_CODE: f32 = 448.0;
const NAN_CODE: u32 = 0x7fu;

// The bits of 2^-6, the smallest normal one.
const SMALLEST_NORMAL_CODE: u32 = 0x3c800000u;

// The codes of sizes of at most LARGEST_CODE, rounded to nearest, ties to even. A normal one gets just under
// half of the last kept bit, and that bit, and the exponent of a code; a smaller one is a multiple of 2^-9.
fn codes_of_sizes(size: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(size);
    let rounding = ((bits >> vec4<u32>(20u)) & vec4<u32>(1u)) + 0x7ffffu;
    let normal = ((bits + rounding) >> vec4<u32>(20u)) - 960u;
    let small = vec4<u32>(round(size * 512.0));
    return select(normal, small, bits < vec4<u32>(SMALLEST_NORMAL_CODE));
}

fn with_signs(code: vec4<u32>, is_negative: vec4<bool>) -> vec4<u32> {
    return code | select(vec4<u32>(), vec4<u32>(0x80u), is_negative);
}
