// What the chunks of a row leave for one another: [rows, partials_of_row()] vec4 in float32, a row's in the
// order of its columns.

// Columns that each stands for; the last has what is left of the row.
const PARTIAL_COLS: u32 = 8192u;

fn partials_of_row() -> u32 {
    return (COLS + PARTIAL_COLS - 1u) / PARTIAL_COLS;
}

fn partial_cols(partial: u32) -> u32 {
    return min(PARTIAL_COLS, COLS - partial * PARTIAL_COLS);
}

// The row_partials of a row begin here, in vec4s.
fn first_row_partial(row: u32) -> u32 {
    return row_start(PLACE_ROW_PARTIALS, row) / 4u;
}
