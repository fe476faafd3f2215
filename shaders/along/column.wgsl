// gain and bias have a value for each column, which serves all rows: their one row.
fn parameter_row(row: u32) -> u32 {
    return 0u;
}
