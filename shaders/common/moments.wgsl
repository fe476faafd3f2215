// Mean and variance of rows that do not fit the registers, from one walk: moments of short runs, which do,
// put together by the pairwise formula of Chan, Golub, LeVeque (1983). It never takes a difference of large
// sums, so it is as accurate as a second walk.
//
//     run     up to eight terms of each component of a thread's vec4s: mean, then squares around it, corrected
//     thread  its runs, component by component, then its four components
//     row     its threads (and, where several workgroups share a row, their parts of it)
//
// RMS norm: the mean is 0, and the squares are around 0.

// Of x * scale, with scale 1, SMALL_SCALE where squares would overflow, or BIG_SCALE where they would
// underflow. The mean is mean + low.
struct Moments {
    count: PerRow,
    mean: PerRow,
    low: PerRow,
    // The sum of squares around the mean.
    squares: PerRow,
    scale: PerRow,
}

// Moments of the components of a vec4.
struct VectorMoments {
    count: vec4<f32>,
    mean: vec4<f32>,
    low: vec4<f32>,
    squares: Compensated,
}

// What is left of total - part where `total` is a rounded sum of part and something small. Compilers that
// reorder would find 0; see add_compensated.
fn rest_of(total: vec4<f32>, part: vec4<f32>) -> vec4<f32> {
    return fma(total, vec4<f32>(params.one), -part);
}

fn merge_vectors(a: VectorMoments, b: VectorMoments) -> VectorMoments {
    let count = a.count + b.count;
    let weight = b.count / max(count, vec4<f32>(1.0));
    // Nothing has any mean: with b's own, no digit of it is lost in the sum.
    let mean = select(a.mean, b.mean, a.count == vec4<f32>());
    let low = select(a.low, b.low, a.count == vec4<f32>());
    let difference = (b.mean - mean) + (b.low - low);
    let change = difference * weight;
    var merged = VectorMoments();
    merged.count = count;
    merged.mean = mean + change;
    merged.low = low + (change - rest_of(merged.mean, mean));
    let between = difference * difference * (a.count * weight);
    merged.squares = add_compensated(a.squares, b.squares.sum + between);
    return merged;
}

// The moments of a row's components together: x with y and z with w, then both.
fn merge_components(total: VectorMoments, scale: PerRow) -> Moments {
    var all = total;
    if (ACCESS_ROWS == 1u) {
        let pairs = merge_vectors(total, turned(total, false));
        all = merge_vectors(pairs, turned(pairs, true));
    }
    return Moments(of_row(all.count), of_row(all.mean), of_row(all.low), of_row(all.squares.sum), scale);
}

// Each component's neighbor, or that of the other half.
fn turned(a: VectorMoments, by_half: bool) -> VectorMoments {
    let squares = a.squares.sum;
    if (by_half) {
        return VectorMoments(a.count.zwxy, a.mean.zwxy, a.low.zwxy, Compensated(squares.zwxy, vec4<f32>()));
    }
    return VectorMoments(a.count.yxwz, a.mean.yxwz, a.low.yxwz, Compensated(squares.yxwz, vec4<f32>()));
}

// The first of three where a scale is SMALL_SCALE, the second where it is 1, else the third.
fn by_scale(scale: PerRow, small: f32, one: f32, big: f32) -> PerRow {
    return select(select(PerRow(one), PerRow(small), scale < PerRow(1.0)), PerRow(big), scale > PerRow(1.0));
}

// The same moments at a scale that is not larger. The square of SMALL_SCALE is too small for float32, and
// compilers that reorder would take it first, as NVIDIA's does: 1 - params.one is 0, which they do not know.
fn at_scale(a: Moments, scale: PerRow) -> Moments {
    let to_one = select(PerRow(1.0), PerRow(1.0 / BIG_SCALE), (a.scale > PerRow(1.0)) & (scale <= PerRow(1.0)));
    let factor = select(PerRow(1.0), PerRow(SMALL_SCALE), (a.scale >= PerRow(1.0)) & (scale < PerRow(1.0)));
    let scaled_once = fma(a.squares * to_one, to_one * factor, PerRow(1.0 - params.one));
    return Moments(a.count, a.mean * to_one * factor, a.low * to_one * factor, scaled_once * factor, scale);
}

// From these on, moments are brought to a smaller scale: below them, neither the sum of the threads' squares
// nor that of their means' squares can overflow.
const LARGE_SQUARES: f32 = 0x1p96f;
const LARGE_OFFSET: f32 = 0x1p36f;
// Below this, squares at scale 1 may have underflowed.
const TINY_SQUARES: f32 = 0x1p-72f;
// What a thread with large squares counts for, beside others that count 1: more than a row has threads.
const LARGE_VOTE: f32 = 4096.0;

// The moments of all threads of the row together, which have `count` columns. Three calls of row_sum.
fn row_moments(invocation: Invocation, own: Moments, count: f32) -> Moments {
    let is_first = thread_of(invocation.index) == 0u;
    // Means are taken relative to the first thread's, so that those of a constant row differ by exactly 0.
    let unscaled = by_scale(own.scale, 0.25 / SMALL_SCALE, 0.25, 0.25 / BIG_SCALE);
    let is_large = (own.scale < PerRow(1.0)) | (own.squares >= PerRow(LARGE_SQUARES));
    let vote = select(select(PerRow(1.0), PerRow(), own.scale > PerRow(1.0)), PerRow(LARGE_VOTE), is_large);
    let known = row_sum(invocation, Sums(select(PerRow(), own.mean * unscaled, is_first), vote));
    let known_scale = select(
        select(PerRow(1.0), PerRow(BIG_SCALE), known[1] == PerRow()),
        PerRow(SMALL_SCALE),
        known[1] >= PerRow(LARGE_VOTE),
    );
    let known_part = at_scale(own, known_scale);
    let known_near = known[0] * (4.0 * known_scale);

    // In quarters: means may be twice the largest float32 apart. Without low, which a compiler would add to
    // the mean first, as Mesa does: it is in e, and what this leaves of the row's mean in `left`.
    let quarter = of_row(scaled_difference(vec4<f32>(known_part.mean), known_near, PerRow(0.25)));
    let weight = known_part.count / count;
    let quarters = row_sum(invocation, Sums(weight * quarter, weight * abs(quarter)));
    let is_small = (known_scale < PerRow(1.0)) | (quarters[1] < PerRow(0.25 * LARGE_OFFSET));
    let factor = select(
        select(PerRow(SMALL_SCALE), PerRow(1.0 / BIG_SCALE), known_scale > PerRow(1.0)),
        PerRow(1.0),
        is_small,
    );
    let scale = known_scale * factor;
    let part = at_scale(known_part, scale);
    let near = known_near * factor;
    let from_near = quarters[0] * (4.0 * factor);

    let e = (quarter * (4.0 * factor) - from_near) + part.low;
    let sums = row_sum(invocation, Sums(part.count * e, fma(part.count * e, e, part.squares)));
    let left = sums[0] / count;

    var row = Moments();
    row.count = PerRow(count);
    row.scale = scale;
    if (CENTERED) {
        row.mean = near + (from_near + left);
        row.low = (from_near + left) - of_row(rest_of(vec4<f32>(row.mean), vec4<f32>(near)));
        row.squares = sums[1] - left * sums[0];
    } else {
        row.squares = sums[1];
    }
    return row;
}
