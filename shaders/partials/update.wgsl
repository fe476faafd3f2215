// The first sums replace what is in a partial sum, later ones are added.
fn update_partials(row: u32, step: u32, thread: u32, sums: Values, first: bool) {
    var values = sums;
    if (!first) {
        values = add_values(load_partials(row, step, thread), sums);
    }
    store_partials(row, step, thread, values, 0u);
}
