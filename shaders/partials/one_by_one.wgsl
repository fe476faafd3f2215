// A value of a partial sum, of a column or of a channel. The first replaces what is there, later ones are
// added.
fn store_partial_sum(partial_row: u32, at: u32, sum: f32, is_first: bool) {
    let i = row_start(PLACE_PARTIALS, partial_row) + at;
    if (is_first) {
        partials[i] = sum;
    } else {
        partials[i] += sum;
    }
}
