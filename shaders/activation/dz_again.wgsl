// With all that it is made of read where it is wanted, which costs a GPU's cache little, and no registers.
fn load_dz(row: u32, step: u32, thread: u32, saved: RowStatistics) -> Values {
    let xhat = xhat_of_z(load_source(row, step, thread), saved);
    return dz_of_z(row, step, thread, load_z(row, step, thread, xhat));
}
