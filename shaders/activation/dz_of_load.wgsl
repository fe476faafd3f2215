// Beside x and the parameters of the step, which serve other terms.
fn dz_of(row: u32, step: u32, thread: u32, source: Values, held: Parameters, saved: RowStatistics) -> Values {
    return load_dz(row, step, thread, saved);
}

fn load_source_of_dz(row: u32, step: u32, thread: u32) -> Values {
    return Values();
}
