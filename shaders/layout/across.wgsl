// Rows side by side inside outer ones, such as the positions of a sample, and columns apart:
//
//     row       first_inner_row + row = outer * inner_rows + inner row
//     element   outer * outer stride + inner row * row stride + column * column stride
//
// The row stride is 1 but of the statistics and the partial sums. Sums may wrap around: a start may lie
// before the binding's where its outer row does.

// The element at which a row of the tensor at a place starts.
fn row_start(place: u32, row: u32) -> u32 {
    let inner = params.first_inner_row + row;
    // A dispatch counts below 2^24, so that both are exact in float32 and the quotient is off by 1 at most:
    // software adapters divide whole numbers one after the other.
    var outer = u32(f32(inner) * (1.0 / f32(params.inner_rows)));
    outer -= u32(outer * params.inner_rows > inner);
    outer += u32(inner - outer * params.inner_rows >= params.inner_rows);
    let at = params.places[place];
    return at.x + outer * at.w + (inner - outer * params.inner_rows) * at.y;
}
