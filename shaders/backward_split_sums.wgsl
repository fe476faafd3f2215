// Backward over several workgroups a row, the first of two dispatches: the three sums over the columns of each chunk of each
// row, for backward_split_apply.
//
//     slot        the threads of a chunk of one row, walking rows slot, slot + slots, ...
//     workgroup   rows_per_workgroup slots of one chunk, workgroup n the chunk n % CHUNKS
//     chunk       threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// Needs: walk_sums, load_statistics, first_row_partial, row_sum (1 call a row).

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let chunk = workgroup_number(workgroup) % CHUNKS;
    let first_slot = workgroup_number(workgroup) / CHUNKS * ROWS_PER_WORKGROUP;
    if (first_slot >= params.slots) {
        return;
    }

    let first_step = chunk * STEPS;
    var half = 0u;
    for (var first_row = first_slot; first_row < params.rows; first_row += params.slots) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = first_row + slot_in_workgroup < params.rows;
        let row = min(first_row + slot_in_workgroup, params.rows - 1u);
        let own = walk_sums(row, load_statistics(row), first_step, first_step + STEPS, thread);
        let sums = row_sum(invocation, own, half);
        half = 1u - half;
        if (has_row && thread == 0u) {
            row_partials[first_row_partial(row) + chunk] = sums;
        }
    }
}
