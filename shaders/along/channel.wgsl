// gain and bias have a value for each channel. A row is a group of CHANNELS channels with SPATIAL columns each, and an outer
// row, a sample, has inner_rows groups: of its channels, those of group g are CHANNELS * g onwards.
//
//     CHANNELS = 2, SPATIAL = 3   column   0 1 2 3 4 5
//                                 channel  0 0 0 1 1 1   + 2 * group

const CHANNELS: u32 = 2u;
const SPATIAL: u32 = 64u;
// Whether four neighboring columns that a thread accesses at once are always of one channel.
const IS_ONE_CHANNEL: bool = CONTIGUOUS >= 4u && SPATIAL % 4u == 0u;

fn parameter_row(row: u32) -> u32 {
    return row;
}

// The channels of some columns of a row. Beyond the row, of its last column.
fn channels(row: u32, columns: vec4<u32>) -> vec4<u32> {
    let group = (params.first_inner_row + row) % params.inner_rows;
    return vec4<u32>(group * CHANNELS) + min(columns, vec4<u32>(COLS - 1u)) / vec4<u32>(SPATIAL);
}
