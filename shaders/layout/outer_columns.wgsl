// Columns inside outer ones, such as the positions of a channel in each sample, with a stride between outer
// columns, between their inner columns, and between rows:
//
//     column    outer * inner_columns + inner column
//     element   row * row stride + outer * outer stride + inner column * column stride
//
// A tensor without outer columns has inner_columns column strides as its outer stride.

// The element at which a row of the tensor at a place starts.
fn row_start(place: u32, row: u32) -> u32 {
    return params.places[place].x + row * params.places[place].y;
}

// The elements from there to some of its columns.
fn column_starts(place: u32, columns: vec4<u32>) -> vec4<u32> {
    let at = params.places[place];
    let outer = columns / vec4<u32>(params.inner_columns);
    return outer * at.w + (columns - outer * params.inner_columns) * at.z;
}

// To one of them, where several side by side are accessed at once.
fn column_start(place: u32, column: u32) -> u32 {
    let outer = column / params.inner_columns;
    return outer * params.places[place].w + (column - outer * params.inner_columns);
}
