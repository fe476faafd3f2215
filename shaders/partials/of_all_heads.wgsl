// Partial sums as backward leaves them of each head: [partial rows, PARAMETER_GRADIENTS, heads, cols] in
// float32, dgain before dbias, and dgate last. All heads share gain and bias: a row of partial sums is one of
// any head.
const PARAMETER_GRADIENTS: u32 = 3u;
// The place of dbias among them.
const DBIAS: u32 = 1u;

// Their rows among all rows of partial sums.
fn partial_of_head(partial_row: u32, gradient: u32) -> u32 {
    let of_slot = partial_row / params.inner_rows * PARAMETER_GRADIENTS + gradient;
    return of_slot * params.inner_rows + partial_row % params.inner_rows;
}

fn partial_dgain(partial_row: u32) -> u32 {
    return partial_of_head(partial_row, 0u);
}

fn partial_dbias(partial_row: u32) -> u32 {
    return partial_of_head(partial_row, DBIAS);
}

fn partial_dgate(partial_row: u32) -> u32 {
    return partial_of_head(partial_row, PARAMETER_GRADIENTS - 1u);
}
