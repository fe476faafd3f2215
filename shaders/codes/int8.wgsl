// Codes that are whole numbers from -127 to 127, in two's complement.
const LARGEST_CODE: f32 = 127.0;
// Of what is not finite: there is no NaN.
const NAN_CODE: u32 = 0u;

// The codes of sizes of at most LARGEST_CODE, rounded to nearest, ties to even.
fn codes_of_sizes(size: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(round(size));
}

fn with_signs(code: vec4<u32>, is_negative: vec4<bool>) -> vec4<u32> {
    return select(code, (vec4<u32>(256u) - code) & vec4<u32>(0xffu), is_negative);
}
