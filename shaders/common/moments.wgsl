// Mean and variance of rows that do not fit the registers, from one walk: moments of short runs, which do, put together
// by the pairwise formula of Chan, Golub, LeVeque (1983). It never takes a difference of large sums, so it is as accurate
// as a second walk.
//
//     run     up to eight terms of each component of a thread's vec4s: mean, then squares around it, corrected
//     thread  its runs, component by component, then its four components
//     row     its threads (and, where several workgroups share a row, their parts of it)
//
// RMS norm: the mean is 0, and the squares are around 0.

// Of x * scale, with scale 1, or SMALL_SCALE where squares would overflow. The mean is mean + low.
struct Moments {
    count: f32,
    mean: f32,
    low: f32,
    // The sum of squares around the mean.
    squares: f32,
    scale: f32,
}

// Moments of the components of a vec4.
struct VectorMoments {
    count: vec4<f32>,
    mean: vec4<f32>,
    low: vec4<f32>,
    squares: Compensated,
}

// What is left of total - part where `total` is a rounded sum of part and something small. Compilers that reorder would
// find 0; see add_compensated.
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

fn merge_moments(a: Moments, b: Moments) -> Moments {
    let first = at_scale(a, min(a.scale, b.scale));
    let second = at_scale(b, min(a.scale, b.scale));
    let vectors = merge_vectors(as_vectors(first), as_vectors(second));
    return Moments(vectors.count.x, vectors.mean.x, vectors.low.x, vectors.squares.sum.x, first.scale);
}

fn as_vectors(a: Moments) -> VectorMoments {
    return VectorMoments(
        vec4<f32>(a.count),
        vec4<f32>(a.mean),
        vec4<f32>(a.low),
        Compensated(vec4<f32>(a.squares), vec4<f32>()),
    );
}

// The same moments at another scale, of which there are two. The square of SMALL_SCALE is too small for float32, and
// compilers that reorder would take it first, as NVIDIA's does: 1 - params.one is 0, which they do not know.
fn at_scale(a: Moments, scale: f32) -> Moments {
    let factor = select(SMALL_SCALE, 1.0, a.scale == scale);
    let scaled_once = fma(a.squares, factor, 1.0 - params.one);
    return Moments(a.count, a.mean * factor, a.low * factor, scaled_once * factor, scale);
}

// From these on, moments at scale 1 are brought to SMALL_SCALE: below them, neither the sum of the threads' squares nor that
// of their means' squares can overflow.
const LARGE_SQUARES: f32 = 0x1p96f;
const LARGE_OFFSET: f32 = 0x1p36f;

// The moments of all threads of the row together, which have `count` columns. Three calls of row_sum, in halves `half`, the
// other and `half`: the next call begins with the other.
fn row_moments(invocation: Invocation, own: Moments, count: f32, half: u32) -> Moments {
    let is_first = invocation.index % THREADS_PER_ROW == 0u;
    // Means are taken relative to the first thread's, so that those of a constant row differ by exactly 0.
    let small_mean = at_scale(own, SMALL_SCALE).mean;
    let is_large = select(0.0, 1.0, own.scale < 1.0 || own.squares >= LARGE_SQUARES);
    let known = row_sum(invocation, Sums(select(0.0, small_mean, is_first), is_large), half);
    let known_scale = select(1.0, SMALL_SCALE, known.y > 0.0);
    let known_part = at_scale(own, known_scale);
    let known_near = known.x * (known_scale / SMALL_SCALE);

    // In quarters: means may be twice the largest float32 apart. Without low, which a compiler would add to the mean first, as
    // Mesa does: it is in e, and what this leaves of the row's mean in `left`.
    let quarter = scaled_difference(vec4<f32>(known_part.mean), known_near, 0.25).x;
    let weight = known_part.count / count;
    let quarters = row_sum(invocation, Sums(weight * quarter, weight * abs(quarter)), 1u - half);
    let is_small = known_scale < 1.0 || quarters.y < 0.25 * LARGE_OFFSET;
    let scale = select(SMALL_SCALE, known_scale, is_small);
    let factor = scale / known_scale;
    let part = at_scale(known_part, scale);
    let near = known_near * factor;
    let from_near = quarters.x * (4.0 * factor);

    let e = (quarter * (4.0 * factor) - from_near) + part.low;
    let sums = row_sum(invocation, Sums(part.count * e, fma(part.count * e, e, part.squares)), half);
    let left = sums.x / count;

    var row = Moments();
    row.count = count;
    row.scale = scale;
    if (CENTRED) {
        row.mean = near + (from_near + left);
        row.low = (from_near + left) - rest_of(vec4<f32>(row.mean), vec4<f32>(near)).x;
        row.squares = sums.y - left * sums.x;
    } else {
        row.squares = sums.y;
    }
    return row;
}
