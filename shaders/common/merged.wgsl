// The moments of a row from those of its chunks.

fn load_moments(row: u32, partial: u32) -> Moments {
    let v = row_partials[first_row_partial(row) + partial];
    return Moments(f32(partial_cols(partial)), v.x, v.y, v.z, v.w);
}

// Of the chunks thread, thread + THREADS_PER_ROW, ... together, at `scale` at most.
fn merge_row_partials(row: u32, thread: u32, scale: f32) -> Moments {
    var own = Moments(0.0, 0.0, 0.0, 0.0, scale);
    for (var partial = thread; partial < ROW_PARTIALS; partial += THREADS_PER_ROW) {
        let part = load_moments(row, partial);
        own = merge_moments(own, at_scale(part, min(part.scale, scale)));
    }
    return own;
}

// As above at scale 1, but finite where the row is: squares that overflow are merged again, scaled.
fn finite_row_partials(row: u32, thread: u32) -> Moments {
    var own = merge_row_partials(row, thread, 1.0);
    if (WIDE_RANGE) {
        if (is_not_finite(own.squares) || is_not_finite(own.mean)) {
            own = merge_row_partials(row, thread, SMALL_SCALE);
        }
    }
    return own;
}
