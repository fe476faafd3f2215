// gain and bias have a value for each column of each inner row, such as each head of a token, or each of the
// samples that a row may be of.
fn parameter_row(row: u32) -> u32 {
    return row;
}

// The element at which those of a row start, and where one of them lies: row_start and element of tensors
// that have no rows of their own.
fn parameter_start(place: u32, row: u32) -> u32 {
    return params.places[place].x + inner_row_of(row) * params.places[place].w;
}

fn parameter_element(place: u32, row: u32, column: u32) -> u32 {
    return parameter_start(place, row) + column;
}
