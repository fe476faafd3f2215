// Sums over all rows of a slot.
fn rows_of_block(rows: Rows, block: u32) -> Rows {
    return rows;
}
