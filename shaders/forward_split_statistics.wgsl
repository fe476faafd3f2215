// Forward over several workgroups a row, the first of two dispatches: mean and variance of each chunk of each
// row (common/moments.wgsl), for forward_split_apply. With a residual the sum is stored on the way.
//
//     slot        the threads of a chunk of one row, walking its rows (workgroup_rows)
//     workgroup   rows_per_workgroup slots of one chunk, workgroup n the chunk n % CHUNKS
//     chunk       threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// Needs: finite_walk, first_row_partial, row_sum (3 calls a row).

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let chunk = workgroup_number(workgroup) % CHUNKS;
    let first_slot = workgroup_number(workgroup) / CHUNKS * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    let first_step = chunk * STEPS;
    let count = f32(partial_cols(chunk));
    for (var first_row = rows.first; first_row < rows.end; first_row += ROWS_PER_WORKGROUP) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = ROWS_PER_WORKGROUP == 1u || first_row + slot_in_workgroup < rows.end;
        let row = min(first_row + slot_in_workgroup, rows.end - 1u);
        let walked = WalkedRows(array<u32, WALKED>(row), array<bool, WALKED>(has_row));
        var own = finite_walk(walked, first_step, first_step + STEPS, thread);
        let moments = row_moments(invocation, own[0], count);
        if (has_row && thread == 0u) {
            row_partials[first_row_partial(row) + chunk] =
                vec4<f32>(moments.mean, moments.low, moments.squares, moments.scale);
        }
    }
}
