// x[0] of a row, which its threads read from memory: a barrier would cost more.
fn first_of_row(row: u32, own_first: f32) -> f32 {
    return load_input(row, 0u, 0u)[0].x;
}
