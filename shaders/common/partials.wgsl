// Partial sums of the parameter gradients: [partial rows, PARAMETER_GRADIENTS, cols] in float32, dgain before dbias.
const PARAMETER_GRADIENTS: u32 = 2u;

fn partial_dgain(partial_row: u32) -> u32 {
    return partial_row * PARAMETER_GRADIENTS * COLS;
}

fn partial_dbias(partial_row: u32) -> u32 {
    return (partial_row * PARAMETER_GRADIENTS + PARAMETER_GRADIENTS - 1u) * COLS;
}
