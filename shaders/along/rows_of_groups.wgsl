// Parameters that have a row for each inner row: the element at which that of a row starts, and where one of
// its columns lies; row_start and element of tensors that have no rows of their own.
fn parameter_start(place: u32, row: u32) -> u32 {
    return params.places[place].x + inner_row_of(row) * params.places[place].w;
}

fn parameter_element(place: u32, row: u32, column: u32) -> u32 {
    return parameter_start(place, row) + column;
}
