// What the gate's gradient has of a step of a large row: dx times the branch.
fn large_gate_terms(row: u32, step: u32, thread: u32, saved: RowStatistics, means: RowMeans) -> Values {
    return gate_terms(row, step, thread, large_dx(row, step, thread, saved, means), means.nan);
}
