// The moments of a row from those of its chunks.

// Of a chunk, at `scale` or the smaller one that they are at.
fn load_moments(row: u32, partial: u32, scale: f32) -> Moments {
    let v = row_partials[first_row_partial(row) + partial];
    return at_scale(Moments(f32(partial_cols(partial)), v.x, v.y, v.z, v.w), min(v.w, scale));
}

// How far a chunk's mean is from `near`. In quarters, whose product keeps `low` apart: Mesa would add it to
// the mean first, where it is lost.
fn mean_off(part: Moments, near: f32) -> f32 {
    return fma(scaled_difference(vec4<f32>(part.mean), near, 0.25).x, 4.0, part.low);
}

// Of the chunks thread, thread + THREADS_PER_ROW, ... together, at `scale`: `mean` is the first one's, so
// that those of a constant row differ by exactly 0, and `low` what the mean of all is off it.
fn merge_row_partials(row: u32, thread: u32, scale: f32) -> Moments {
    var own = Moments(0.0, 0.0, 0.0, 0.0, scale);
    if (thread < partials_of_row()) {
        own.mean = load_moments(row, thread, scale).mean;
    }
    var sum_off = 0.0;
    for (var partial = thread; partial < partials_of_row(); partial += THREADS_PER_ROW) {
        let part = load_moments(row, partial, scale);
        own.count += part.count;
        sum_off = fma(part.count, mean_off(part, own.mean), sum_off);
    }
    own.low = sum_off / max(own.count, 1.0);
    for (var partial = thread; partial < partials_of_row(); partial += THREADS_PER_ROW) {
        let part = load_moments(row, partial, scale);
        let e = mean_off(part, own.mean) - own.low;
        own.squares += fma(part.count * e, e, part.squares);
        if (part.scale < scale) {
            own.scale = part.scale;
        }
    }
    return own;
}

// As above at the largest scale that all chunks have, but finite where the row is: chunks whose squares
// together overflow are merged again at the next smaller one.
fn finite_row_partials(row: u32, thread: u32) -> Moments {
    if (!WIDE_RANGE) {
        return merge_row_partials(row, thread, 1.0);
    }
    var scale = select(1.0, BIG_SCALE, params.eps < ENOUGH_EPS);
    var own = merge_row_partials(row, thread, scale);
    while (scale >= 1.0 && (own.scale < scale || is_not_finite(own.squares))) {
        scale = select(SMALL_SCALE, 1.0, scale > 1.0);
        own = merge_row_partials(row, thread, scale);
    }
    return own;
}
