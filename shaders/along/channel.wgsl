// gain and bias have a value for each channel. A row is a group of CHANNELS channels with SPATIAL columns
// each, and an outer row, a sample, has inner_rows groups: of its channels, those of group g are CHANNELS * g
// onwards.
//
//     CHANNELS = 2, SPATIAL = 3   column   0 1 2 3 4 5
//                                 channel  0 0 0 1 1 1   + 2 * group

const CHANNELS: u32 = 2u;
const SPATIAL: u32 = 64u;
// Whether four neighboring columns that a thread accesses at once are always of one channel.
const IS_ONE_CHANNEL: bool = true;
// Whether all columns of a step are: then no thread asks for another one.
const IS_ONE_CHANNEL_A_STEP: bool = true;

fn parameter_row(row: u32) -> u32 {
    return row;
}

// The channels of the columns of a part of a step. Beyond the row, of its last column.
fn channels(row: u32, step: u32, part: u32, thread: u32) -> vec4<u32> {
    let first = (params.first_inner_row + row) % params.inner_rows * CHANNELS;
    if (IS_ONE_CHANNEL_A_STEP) {
        return vec4<u32>(first + min(step * STEP_COLS, COLS - 1u) / SPATIAL);
    }
    return vec4<u32>(first) + min(columns(step, part, thread), vec4<u32>(COLS - 1u)) / vec4<u32>(SPATIAL);
}
