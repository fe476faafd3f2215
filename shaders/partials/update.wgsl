// The first sums replace what is in a partial sum, later ones are added.
fn update_partials(start: u32, step: u32, thread: u32, sums: Values, first: bool) {
    var values = sums;
    if (!first) {
        values = add_values(load_partials(start, step, thread), sums);
    }
    store_partials(start, step, thread, values, 0u);
}
