// A gate has a value for each column of each inner row: of the sample, or the head, that a row is of.
fn gate_row(row: u32) -> u32 {
    return row;
}
