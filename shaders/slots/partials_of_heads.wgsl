// The element at which a row of the workgroup's head starts, or a row of partial sums, which have all heads.
fn row_start(place: u32, row: u32) -> u32 {
    if (place == PLACE_PARTIALS) {
        return params.places[place].x + row * COLS;
    }
    return whole_row_start(place, row * params.inner_rows + head);
}
