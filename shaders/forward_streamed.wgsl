// Forward for rows that do not fit the registers: one walk for mean and variance (common/moments.wgsl), one
// from x to y. The second reads from cache where the rows fit there. For the unit of codes there is another
// one between them.
//
//     slot        the threads of one row, walking its rows in blocks of BLOCK_ROWS (workgroup_rows)
//     workgroup   rows_per_workgroup slots, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//     access      of columns of a row, or of one column of ACCESS_ROWS rows side by side (access/)
//
// The second walk goes over the columns once for the whole block: gain and bias are loaded once for
// BLOCK_ROWS rows.
//
// Needs: finite_walk, load_stored, load_parameters, apply_affine, finish_y, write_y, store_statistics,
// row_sum (3 calls a row); with codes larger, inverse_unit, write_codes.

// Accesses of a slot's block, of ACCESS_ROWS rows each.
const BLOCK_ROWS: u32 = 4u;

// Whether y is written in codes too, and whether their unit is found for each row.
const WITH_CODES: bool = false;
const FINDS_UNITS: bool = false;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = thread_of(invocation.index);
    let slot_in_workgroup = slot_of(invocation.index);
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    let step_rows = ROWS_PER_WORKGROUP * BLOCK_ROWS * ACCESS_ROWS;
    let last_row = (rows.end - 1u) / ACCESS_ROWS * ACCESS_ROWS;
    for (var first_block = rows.first; first_block < rows.end; first_block += step_rows) {
        var normalizers: array<Normalizer, BLOCK_ROWS>;
        for (var first = 0u; first < BLOCK_ROWS; first += WALKED) {
            // Where none of the workgroup's slots has a row, all are past the end.
            if (block_row(first_block, 0u, first, BLOCK_ROWS) < rows.end) {
                // Threads without a row repeat the last one up to its stores, so that all take part in the
                // sums.
                var walked: WalkedRows;
                for (var w = 0u; w < WALKED; w++) {
                    let row = block_row(first_block, slot_in_workgroup, first + w, BLOCK_ROWS);
                    walked.first[w] = min(row, last_row);
                    walked.has[w] = row < rows.end;
                }
                var own = finite_walk(walked, 0u, STEPS, thread);
                for (var w = 0u; w < WALKED; w++) {
                    normalizers[first + w] = normalizer(row_moments(invocation, own[w], f32(COLS)));
                }
            }
        }

        // Of codes, the bits of 1 / unit.
        var inverses: array<u32, BLOCK_ROWS>;
        if (WITH_CODES) {
            // Nothing is written yet, as y may lie where x does.
            var largest: array<vec4<u32>, BLOCK_ROWS>;
            if (FINDS_UNITS) {
                for (var step = 0u; step < STEPS; step++) {
                    let parameters = load_parameters(block_row(first_block, slot_in_workgroup, 0u, BLOCK_ROWS), step, thread);
                    for (var b = 0u; b < BLOCK_ROWS; b++) {
                        let row = block_row(first_block, slot_in_workgroup, b, BLOCK_ROWS);
                        if (row < rows.end) {
                            let xhat = normalized(load_stored(row, step, thread), normalizers[b]);
                            let y = finish_y(row, step, thread, apply_affine(parameters, xhat));
                            largest[b] = larger(largest[b], y, step, thread);
                        }
                    }
                }
            }
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                if (block_row(first_block, 0u, b, BLOCK_ROWS) < rows.end) {
                    let row = block_row(first_block, slot_in_workgroup, b, BLOCK_ROWS);
                    let nan = normalizers[b].nan;
                    inverses[b] = inverse_unit(invocation, row, row < rows.end, thread, largest[b], nan);
                }
            }
        }

        for (var step = 0u; step < STEPS; step++) {
            let parameters = load_parameters(block_row(first_block, slot_in_workgroup, 0u, BLOCK_ROWS), step, thread);
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                let row = block_row(first_block, slot_in_workgroup, b, BLOCK_ROWS);
                if (row < rows.end) {
                    let xhat = normalized(load_stored(row, step, thread), normalizers[b]);
                    let y = finish_y(row, step, thread, apply_affine(parameters, xhat));
                    write_y(row, step, thread, y, normalizers[b].nan);
                    if (WITH_CODES) {
                        write_codes(row, step, thread, y, inverses[b]);
                    }
                }
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            let row = block_row(first_block, slot_in_workgroup, b, BLOCK_ROWS);
            if (row < rows.end) {
                store_normalizer(row, thread, normalizers[b]);
            }
        }
    }
}
