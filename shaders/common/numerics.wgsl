// Float32 arithmetic that neither overflows nor loses digits. See docs/numerics.md.

// 2^-k with 2^k >= 2 * COLS: a sum of differences scaled by it stays within the range of the values.
const SUM_SCALE: f32 = 1.0;
// 2^k / COLS: turns such a sum into a mean.
const MEAN_FACTOR: f32 = 1.0;

// (v - base) * scale where v - base may be beyond the range. `params.one` is 1, which compilers do not know: they would
// take the factor out, as Mesa does, and the difference would overflow.
fn scaled_difference(v: vec4<f32>, base: f32, scale: f32) -> vec4<f32> {
    return fma(v, vec4<f32>(scale), vec4<f32>(-base * (scale * params.one)));
}

// Whether a number is infinite or NaN, by its bits: compilers may assume that floats never are.
fn is_not_finite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7f800000u) == 0x7f800000u;
}

// v, or NaN where `total` is not finite.
fn poison(v: f32, total: f32) -> f32 {
    return select(v, bitcast<f32>(bitcast<u32>(total) | 0x7fc00000u), is_not_finite(total));
}

// The first 8 bits of a significand: products of three such numbers are exact.
fn leading_bits(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) & 0xffff0000u);
}

// 1 / sqrt(v), v normal, to the last bit or the one before. Adapters' inverseSqrt may have as few as 12 good bits: a
// Newton step doubles them, and a second one takes 1 - v * r * r apart so that it is exact to 31 bits, with or without
// a fused fma (without one, llvmpipe was off by 2 units).
fn reciprocal_sqrt(v: f32) -> f32 {
    let first = inverseSqrt(v);
    let r = fma(0.5 * first, fma(-(v * first), first, 1.0), first);
    let v_leading = leading_bits(v);
    let r_leading = leading_bits(r);
    let leading = 1.0 - v_leading * r_leading * r_leading;
    let off = leading - (v - v_leading) * r_leading * r_leading - v * (r - r_leading) * (r + r_leading);
    return fma(0.5 * r, off, r);
}

// A sum that keeps what rounding loses of it (Kahan 1965).
struct Compensated {
    sum: vec4<f32>,
    excess: vec4<f32>,
}

// `params.one` is 1, which compilers do not know: they would simplify (total + due) - total to due, as Mesa does.
fn add_compensated(total: Compensated, term: vec4<f32>) -> Compensated {
    let due = term - total.excess;
    let sum = total.sum + due;
    return Compensated(sum, fma(sum, vec4<f32>(params.one), -total.sum) - due);
}
