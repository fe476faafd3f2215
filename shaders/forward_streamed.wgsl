// Forward for rows that do not fit the registers: one walk for mean and variance (common/moments.wgsl), one
// from x to y. The second reads from cache where the rows fit there.
//
//     slot        the threads of one row, walking its rows in blocks of BLOCK_ROWS (workgroup_rows)
//     workgroup   rows_per_workgroup slots, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// The second walk goes over the columns once for the whole block: gain and bias are loaded once for
// BLOCK_ROWS rows.
//
// Needs: finite_walk, load_stored, load_parameters, apply_affine, write_y, store_statistics, row_sum (3 calls
// a row).

const BLOCK_ROWS: u32 = 4u;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    for (var first_block = rows.first; first_block < rows.end; first_block += ROWS_PER_WORKGROUP * BLOCK_ROWS) {
        let first_row = first_block + slot_in_workgroup * BLOCK_ROWS;
        var normalizers: array<Normalizer, BLOCK_ROWS>;
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            if (first_block + b < rows.end) {
                // Threads without a row repeat the last one up to its stores, so that all take part in the
                // sums.
                let has_row = first_row + b < rows.end;
                let own = finite_walk(min(first_row + b, rows.end - 1u), 0u, STEPS, thread, has_row);
                normalizers[b] = normalizer(row_moments(invocation, own, f32(COLS)));
            }
        }

        for (var step = 0u; step < STEPS; step++) {
            let parameters = load_parameters(first_row, step, thread);
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                let row = first_row + b;
                if (row < rows.end) {
                    let xhat = normalized(load_stored(row, step, thread), normalizers[b]);
                    write_y(row, step, thread, apply_affine(parameters, xhat), normalizers[b].nan);
                }
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            if (first_row + b < rows.end) {
                store_normalizer(first_row + b, thread, normalizers[b]);
            }
        }
    }
}
