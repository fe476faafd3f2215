// The first sums of a slot replace what is in its partial sums, later ones are added.
fn update_partials(start: u32, step: u32, thread: u32, sums: Values, first: bool) {
    var values = sums;
    if (!first) {
        values = add_values(load_partials(start, step, thread), sums);
    }
    store_partials(start, step, thread, values);
}
