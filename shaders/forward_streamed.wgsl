// Forward for rows that do not fit the registers: one walk for mean and variance (common/moments.wgsl), one from x to y.
// The second reads from cache where the rows fit there.
//
//     slot        the threads of one row, walking blocks slot, slot + slots, ... of BLOCK_ROWS rows each
//     workgroup   rows_per_workgroup slots, mostly one
//     row         threads_per_row threads side by side, walking it in STEPS steps (common/row.wgsl)
//
// The second walk goes over the columns once for the whole block: gain and bias are loaded once for BLOCK_ROWS rows.
//
// Needs: load_input, load_input_again, store_input, load_parameters, apply_affine, store_y, store_statistics,
// row_sum (3 calls a row).

const BLOCK_ROWS: u32 = 4u;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    if (first_slot >= params.slots) {
        return;
    }

    var half = 0u;
    for (var first_block = first_slot; first_block * BLOCK_ROWS < params.rows; first_block += params.slots) {
        let first_row = (first_block + slot_in_workgroup) * BLOCK_ROWS;
        var rows: array<Normaliser, BLOCK_ROWS>;
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
            let has_row = first_row + b < params.rows;
            let own = finite_walk(min(first_row + b, params.rows - 1u), 0u, STEPS, thread, has_row);
            rows[b] = normaliser(row_moments(invocation, own, f32(COLS), half));
            half = 1u - half;
        }

        for (var step = 0u; step < STEPS; step++) {
            let parameters = load_parameters(step, thread);
            for (var b = 0u; b < BLOCK_ROWS; b++) {
                let number = first_row + b;
                if (number < params.rows) {
                    let xhat = normalised(load_input_again(number, step, thread), rows[b]);
                    store_y(params.y.x + number * params.y.y, step, thread, apply_affine(parameters, xhat));
                }
            }
        }
        for (var b = 0u; b < BLOCK_ROWS; b++) {
            if (first_row + b < params.rows) {
                store_normaliser(first_row + b, thread, rows[b]);
            }
        }
    }
}
