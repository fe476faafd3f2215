// One unit for all rows, which is given.
fn larger(largest: vec4<u32>, values: Values, step: u32, thread: u32) -> vec4<u32> {
    return largest;
}

fn inverse_unit(invocation: Invocation, row: u32, has_row: bool, thread: u32, largest: vec4<u32>, nan: u32) -> u32 {
    return bits_of_inverse(params.unit, nan);
}
