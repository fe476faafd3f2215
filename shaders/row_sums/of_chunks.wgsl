// A thread's part of what the chunks of a row have left.
fn load_row_sums(row: u32, thread: u32) -> RowSums {
    var total = RowSums();
    for (var partial = thread; partial < partials_of_row(); partial += THREADS_PER_ROW) {
        let sums = row_partials[first_row_partial(row) + partial];
        total.walked.sums += sums.xyz;
        if (WIDE_RANGE) {
            let is_small = sums.w == SMALL_SUMS;
            total.small += select(small_scaled(sums), sums, is_small).xyz;
            total.walked.squares += sums.w;
            total.walked.count += f32(partial_cols(partial));
            let sum = vec4<f32>(total.walked.sums.y);
            total.walked.sums.y = or_nan(sum, select(0u, 0xffffffffu, is_small)).x;
        }
    }
    return total;
}
