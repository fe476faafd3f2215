// With x and the parameters of the step at hand: a load costs a CPU what a load from memory costs.
fn dz_of(row: u32, step: u32, thread: u32, source: Values, held: Parameters, saved: RowStatistics) -> Values {
    return dz_of_z(row, step, thread, apply_affine(held, xhat_of_z(source, saved)));
}

fn load_source_of_dz(row: u32, step: u32, thread: u32) -> Values {
    return load_source(row, step, thread);
}
