// The element at which a row of the workgroup's head starts.
fn row_start(place: u32, row: u32) -> u32 {
    return whole_row_start(place, row * params.inner_rows + head);
}
