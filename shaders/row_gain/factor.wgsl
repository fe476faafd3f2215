// The row's means with what its gain makes of the factor of dx: with rstd first, as either by itself may take
// dx out of the range.
fn with_row_gain(row: u32, means: RowMeans) -> RowMeans {
    var of_row = means;
    of_row.factor = means.rstd * row_gain[row_start(PLACE_ROW_GAIN, row)];
    return of_row;
}
