// Which inner row of its outer row a row is.
fn inner_row_of(row: u32) -> u32 {
    return (params.first_inner_row + row) % params.inner_rows;
}
