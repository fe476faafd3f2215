// A compensated sum (Kahan 1965) for registers: of what rounding loses the first 16 bits are kept, of two
// components in a word. All 32 would spill on AMD's compiler, where these take up to 24 registers a thread.
struct ProductSum {
    sum: vec4<f32>,
    excess: vec2<u32>,
}

// The largest finite number.
const LARGEST: f32 = 0x1.fffffep+127;

// Adds a * b. `params.one` is 1, which compilers do not know, see add_compensated.
fn add_product(total: ProductSum, a: vec4<f32>, b: vec4<f32>) -> ProductSum {
    let high = bitcast<vec2<f32>>(total.excess & vec2<u32>(0xffff0000u));
    let low = bitcast<vec2<f32>>(total.excess << vec2<u32>(16u));
    let due = fma(a, b, -vec4<f32>(high, low));
    let sum = total.sum + due;
    // An infinite sum stays one: its excess is an infinity of the other sign, where without the bounds it
    // would be NaN.
    let bounded = clamp(sum, vec4<f32>(-LARGEST), vec4<f32>(LARGEST));
    let excess = bitcast<vec4<u32>>(fma(bounded, vec4<f32>(params.one), -total.sum) - due);
    return ProductSum(sum, (excess.xy & vec2<u32>(0xffff0000u)) | (excess.zw >> vec2<u32>(16u)));
}
