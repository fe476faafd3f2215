// gain and bias have a value for each column, which serves all rows: one of them for the four rows of a vec4.
const IS_ONE_CHANNEL: bool = true;

fn parameter_row(row: u32) -> u32 {
    return 0u;
}

fn channels(row: u32, step: u32, part: u32, thread: u32) -> vec4<u32> {
    return vec4<u32>(readable_column(step, thread));
}
