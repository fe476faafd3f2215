// Rows that one stride tells apart, with their columns side by side.

// The element at which a row of the tensor at a place starts.
fn row_start(place: u32, row: u32) -> u32 {
    return params.places[place].x + row * params.places[place].y;
}

// The elements from there to some of its columns.
fn column_starts(place: u32, columns: vec4<u32>) -> vec4<u32> {
    return columns;
}

// To one of them, where several side by side are accessed at once.
fn column_start(place: u32, column: u32) -> u32 {
    return column;
}
