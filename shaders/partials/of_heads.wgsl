// Partial sums of the parameter gradients: [partial rows, PARAMETER_GRADIENTS, heads, cols] in float32, dgain
// before dbias, and dgate last.
const PARAMETER_GRADIENTS: u32 = 2u;
// The place of dbias among them.
const DBIAS: u32 = 1u;

// Their rows among all rows of partial sums, of the workgroup's head.
fn partial_dgain(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS * params.inner_rows + head;
}

fn partial_dbias(partial_row: u32) -> u32 {
    return (partial_row * PARAMETER_GRADIENTS + DBIAS) * params.inner_rows + head;
}

fn partial_dgate(partial_row: u32) -> u32 {
    return (partial_row * PARAMETER_GRADIENTS + PARAMETER_GRADIENTS - 1u) * params.inner_rows + head;
}
