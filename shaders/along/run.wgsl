// gain and bias have a value for each channel, of which a run is one: layout/runs.wgsl.
const IS_ONE_CHANNEL: bool = true;

fn parameter_row(run: u32) -> u32 {
    return run;
}

// The channel of a run, whatever the column.
fn channels(run: u32, step: u32, part: u32, thread: u32) -> vec4<u32> {
    let row = params.first_inner_row + run / CHANNELS;
    return vec4<u32>(row % params.inner_rows * CHANNELS + run % CHANNELS);
}
