// Partial sums of the parameter gradients: [partial rows, PARAMETER_GRADIENTS, heads, cols] in float32, dgain
// before dbias.
const PARAMETER_GRADIENTS: u32 = 2u;

// Their rows among all rows of partial sums, of the workgroup's head.
fn partial_dgain(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS * params.inner_rows + head;
}

fn partial_dbias(partial_row: u32) -> u32 {
    return (partial_row * PARAMETER_GRADIENTS + PARAMETER_GRADIENTS - 1u) * params.inner_rows + head;
}
