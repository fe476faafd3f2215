// Forward over several workgroups a row, the second of two dispatches: each thread has the row's normalizer,
// from the moments of its chunks or from what is given (normalizer/), then goes from x, or the stored sum, to
// y. Where statistics are given, it is the only dispatch.
//
//     slot        the threads of a chunk of one row, walking its rows (workgroup_rows)
//     workgroup   rows_per_workgroup slots of one chunk, workgroup n the chunk n % CHUNKS
//     chunk       threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// All chunks of a row merge the same moments in the same order, and so get the same bits. gain and bias of a
// chunk stay in registers from row to row.
//
// Needs: load_stored, load_parameters, apply_affine, finish_y, write_y, store_normalizer, row_normalizer.

// Whether the next row has other parameters.
const RELOAD_PARAMETERS: bool = false;

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
    var parameters: array<Parameters, STEPS>;
    for (var step = 0u; step < STEPS; step++) {
        parameters[step] = load_parameters(rows.first, first_step + step, thread);
    }
    for (var first_row = rows.first; first_row < rows.end; first_row += ROWS_PER_WORKGROUP) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = ROWS_PER_WORKGROUP == 1u || first_row + slot_in_workgroup < rows.end;
        let row = min(first_row + slot_in_workgroup, rows.end - 1u);
        let normal = row_normalizer(invocation, row, thread);
        if (has_row) {
            for (var step = 0u; step < STEPS; step++) {
                if (RELOAD_PARAMETERS) {
                    parameters[step] = load_parameters(row, first_step + step, thread);
                }
                let xhat = normalized(load_stored(row, first_step + step, thread), normal);
                let y = finish_y(row, first_step + step, thread, apply_affine(parameters[step], xhat));
                write_y(row, first_step + step, thread, y, normal.nan);
            }
            if (chunk == 0u) {
                store_normalizer(row, thread, normal);
            }
        }
    }
}
