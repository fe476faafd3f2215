// Backward over several workgroups a row, the first of two dispatches: four sums over the columns of each
// chunk of each row, for backward_split_apply.
//
//     slot        the threads of a chunk of one row, walking its rows in blocks of BLOCK_ROWS (workgroup_rows)
//     workgroup   rows_per_workgroup slots of one chunk, workgroup n the chunk n % CHUNKS
//     chunk       threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// Sums of a chunk with a large dxhat are at a small scale (common/large_dxhat.wgsl), with SMALL_SUMS beside
// them in place of the sum of xhat * xhat.
//
// Needs: load_block_statistics, walk_sums, row_means, small_sums, first_row_partial, row_sum (2 calls a row).

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
    for (var first_block = rows.first; first_block < rows.end; first_block += ROWS_PER_WORKGROUP * BLOCK_ROWS) {
        let first_row = first_block + slot_in_workgroup * BLOCK_ROWS;
        let block = Block(first_block, slot_in_workgroup, rows.end);
        var saved_rows = load_block_statistics(block);
        var own = walk_sums(block, saved_rows, first_step, first_step + STEPS, thread);
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            // Threads without a row take part in the sums of those that have one.
            if (first_block + b < rows.end) {
                var sums = row_sum(invocation, own[b].sums);
                var squares = 0.0;
                if (WIDE_RANGE) {
                    // xhat as in row_means, but for delta, which no chunk knows.
                    let is_large = is_not_finite(sums.y) || is_not_finite(sums.z);
                    var small = Sums(own[b].squares, 0.0, 0.0);
                    if (is_large && first_row + b < rows.end) {
                        small = small_sums(first_row + b, first_step, thread, saved_rows[b], 0.0);
                    }
                    small = row_sum(invocation, small);
                    squares = small.x;
                    // Where xhat is NaN, only the sum of dxhat counts, which may be lost at the small scale.
                    if (is_not_finite(sums.y) || (is_large && !is_not_finite(small.z))) {
                        sums = Sums(sums.x, small.yz);
                        squares = SMALL_SUMS;
                    } else if (IS_LINEAR && (bitcast<u32>(small.z) & 0x7fffffffu) == 0x7f800000u) {
                        // An infinity is one at any scale, and what rounding loses of it is NaN.
                        sums.z = small.z;
                    }
                }
                if (first_row + b < rows.end && thread == 0u) {
                    row_partials[first_row_partial(first_row + b) + chunk] = vec4<f32>(sums, squares);
                }
            }
        }
    }
}
