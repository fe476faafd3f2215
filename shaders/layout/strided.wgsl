// Rows inside outer ones, such as the heads of a token or the positions of a sample, with a stride between
// outer rows, between their inner rows, and between columns:
//
//     row       first_inner_row + row = outer * inner_rows + inner row
//     element   outer * outer stride + inner row * row stride + column * column stride
//
// A tensor without outer rows has inner_rows row strides as its outer stride. Sums may wrap around: a start
// may lie before the binding's where its outer row does.

// The element at which a row of the tensor at a place starts.
fn row_start(place: u32, row: u32) -> u32 {
    let inner = params.first_inner_row + row;
    let at = params.places[place];
    return at.x + inner / params.inner_rows * at.w + inner % params.inner_rows * at.y;
}

// The elements from there to some of its columns.
fn column_starts(place: u32, columns: vec4<u32>) -> vec4<u32> {
    return columns * params.places[place].z;
}

// To one of them, where several side by side are accessed at once.
fn column_start(place: u32, column: u32) -> u32 {
    return column;
}
