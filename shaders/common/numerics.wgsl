// Float32 arithmetic that neither overflows nor loses digits. See docs/numerics.md.

// 2^-k with 2^k >= 2 * COLS: a sum of differences scaled by it stays within the range of the values.
const SUM_SCALE: f32 = 1.0;
// 2^k / COLS: turns such a sum into a mean.
const MEAN_FACTOR: f32 = 1.0;

// (v - base) * scale where v - base may be beyond the range. `params.one` is 1, which compilers do not know:
// they would take the factor out, as Mesa does, and the difference would overflow.
fn scaled_difference(v: vec4<f32>, base: PerRow, scale: PerRow) -> vec4<f32> {
    return fma(v, vec4<f32>(scale), vec4<f32>(-base * (scale * params.one)));
}

// v. Compilers do not know that `params.zero` is 0: they cannot take the factor out of a sum of products, a *
// k + b * k, where a + b may be beyond the range, as Mesa does.
fn unfactored(v: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) | vec4<u32>(params.zero));
}

// Whether a number is infinite or NaN, by its bits: compilers may assume that floats never are.
fn is_not_finite(v: PerRow) -> PerRowBool {
    return (bitcast<PerRowBits>(v) & PerRowBits(0x7f800000u)) == PerRowBits(0x7f800000u);
}

// NaN travels as a word beside the values: all bits in a row that is not finite, none in the others. Stores
// take the bits of a NaN for each word by it, which no compiler can reason away, as it may a NaN in
// arithmetic where it assumes that there is none.
fn bits_if_not_finite(v: PerRow) -> PerRowBits {
    return bits_if(is_not_finite(v));
}

fn bits_if(condition: PerRowBool) -> PerRowBits {
    return select(PerRowBits(), PerRowBits(0xffffffffu), condition);
}

// v, or NaN where `nan` has all bits.
fn or_nan(v: vec4<f32>, nan: PerRowBits) -> vec4<f32> {
    return bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(v), vec4<u32>(0x7fc00000u), nan != PerRowBits()));
}

// The first 8 bits of a significand: products of three such numbers are exact.
fn leading_bits(v: PerRow) -> PerRow {
    return bitcast<PerRow>(bitcast<PerRowBits>(v) & PerRowBits(0xffff0000u));
}

// v - a * b where that cancels: no product is rounded that counts, be the adapter's fma fused or not.
fn less_product(v: PerRow, a: PerRow, b: PerRow) -> PerRow {
    let first_a = leading_bits(a);
    let first_b = leading_bits(b);
    let rest = a - first_a;
    return ((v - first_a * first_b) - first_a * (b - first_b)) - rest * first_b - rest * (b - first_b);
}

// 1 / sqrt(v), v normal, to the last bit or the one before. Adapters' inverseSqrt may have as few as 12 good
// bits: a Newton step doubles them, and a second one takes 1 - v * r * r apart so that it is exact to 31
// bits, with or without a fused fma (without one, llvmpipe was off by 2 units).
fn reciprocal_sqrt(v: PerRow) -> PerRow {
    let first = inverseSqrt(v);
    let r = fma(0.5 * first, fma(-(v * first), first, PerRow(1.0)), first);
    let v_leading = leading_bits(v);
    let r_leading = leading_bits(r);
    let leading = 1.0 - v_leading * r_leading * r_leading;
    let off = leading - (v - v_leading) * r_leading * r_leading - v * (r - r_leading) * (r + r_leading);
    return fma(0.5 * r, off, r);
}

// 2^-144, at which a product of any two float32 is one too, is none itself: it is this twice.
const ROOT_SCALE: f32 = 0x1p-72f;

// v * ROOT_SCALE. `params.one` is 1, which compilers do not know: they would take both factors of a product
// together, which is 0, or multiply by them last.
fn scaled_down(v: vec4<f32>) -> vec4<f32> {
    return fma(v, vec4<f32>(ROOT_SCALE * params.one), vec4<f32>(1.0 - params.one));
}

// Whether rows are divided by their norm, of which eps is the least that counts.
const BY_NORM: bool = false;
// What the sum of squares is divided by: the columns, or 1 for the norm.
const VARIANCE_COUNT: f32 = 1.0;
// From this eps on, squares that are lost to underflow do not count beside it.
const ENOUGH_EPS: f32 = 1e-28;
// Values are scaled by this before they are squared where their squares would underflow, and eps is too small
// to hide it.
const BIG_SCALE: f32 = 0x1p63f;
// A variance below this, of values scaled so, is none: the standard deviation is below 2^-126.
const LEAST_VARIANCE: f32 = 0x1p-126f;

// 1 / sqrt(variance + eps * scale * scale), of values scaled by `scale`; 0 where there is no variance. Small
// ones are taken larger, as the parts that reciprocal_sqrt takes them apart into would underflow. By norm:
// 1 / max(norm, eps * scale), with the norm's square in `variance`.
fn reciprocal_deviation(variance: PerRow, scale: PerRow) -> PerRow {
    let eps = select(0.0, params.eps, params.eps >= 0x1p-126f);
    let positive = max(variance, PerRow());
    let v = select(fma(eps * scale, scale, positive), positive, BY_NORM);
    let is_small = v < PerRow(0x1p-90f);
    let root = reciprocal_sqrt(max(v, PerRow(LEAST_VARIANCE)) * select(PerRow(1.0), PerRow(0x1p64f), is_small));
    let rstd = select(PerRow(), root * select(PerRow(1.0), PerRow(0x1p32f), is_small), v >= PerRow(LEAST_VARIANCE));
    if (BY_NORM) {
        let least = eps * scale;
        // The square of eps may be out of range where eps is not.
        let counts = least >= PerRow(0x1p-126f);
        let quotient = 1.0 / select(PerRow(1.0), least, counts);
        // A division may be off by 2.5 units in the last place.
        let by_eps = fma(quotient, fma(-least, quotient, PerRow(1.0)), quotient);
        return select(rstd, select(by_eps, min(rstd, by_eps), v >= PerRow(LEAST_VARIANCE)), counts);
    }
    return rstd;
}

// A sum that keeps what rounding loses of it (Kahan 1965).
struct Compensated {
    sum: vec4<f32>,
    excess: vec4<f32>,
}

// `params.one` is 1, which compilers do not know: they would simplify (total + due) - total to due, as Mesa
// does.
fn add_compensated(total: Compensated, term: vec4<f32>) -> Compensated {
    let due = term - total.excess;
    let sum = total.sum + due;
    return Compensated(sum, fma(sum, vec4<f32>(params.one), -total.sum) - due);
}
