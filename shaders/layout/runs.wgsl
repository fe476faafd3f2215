// Rows of a channel: run CHANNELS * row + channel has the COLS columns of one channel of a row. Of a tensor
// that has no such columns, as the statistics, run CHANNELS * row stands for the row.

// Channels of a row.
const CHANNELS: u32 = 2u;

// The element at which a run of the tensor at a place starts.
fn row_start(place: u32, run: u32) -> u32 {
    return whole_row_start(place, run / CHANNELS) + run % CHANNELS * COLS * params.places[place].z;
}
