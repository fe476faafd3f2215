// From the moments that the chunks of a row have left. Three calls of row_sum.
fn row_normalizer(invocation: Invocation, row: u32, thread: u32) -> Normalizer {
    let own = finite_row_partials(row, thread);
    return normalizer(row_moments(invocation, own, f32(COLS)));
}
