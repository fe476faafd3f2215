// Partial sums of the parameter gradients: [partial rows, PARAMETER_GRADIENTS, cols or channels] in float32,
// dgain before dbias, and dgate last.
const PARAMETER_GRADIENTS: u32 = 2u;
// The place of dbias among them.
const DBIAS: u32 = 1u;

// Their rows among all rows of partial sums.
fn partial_dgain(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS;
}

fn partial_dbias(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS + DBIAS;
}

fn partial_dgate(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS + PARAMETER_GRADIENTS - 1u;
}
