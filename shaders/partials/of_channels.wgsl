// A partial sum has a value for each channel. The first replaces what is there, later ones are added.
fn store_channel_sum(partial_row: u32, channel: u32, sum: f32, is_first: bool) {
    let at = row_start(PLACE_PARTIALS, partial_row) + channel;
    if (is_first) {
        partials[at] = sum;
    } else {
        partials[at] += sum;
    }
}
