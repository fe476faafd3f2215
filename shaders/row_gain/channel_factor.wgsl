// The row's means with what the gain of its channel makes of the factor of dx: with rstd first, as either by
// itself may take dx out of the range.
fn with_row_gain(row: u32, means: RowMeans) -> RowMeans {
    var of_row = means;
    var factors = load_factors(row, 0u, 0u);
    of_row.factor = means.rstd * factors[0].x;
    return of_row;
}
