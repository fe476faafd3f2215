// gain and bias have a value for each column of each inner row, such as each head of a token, or each of the
// samples that a row may be of.
fn parameter_row(row: u32) -> u32 {
    return row;
}
