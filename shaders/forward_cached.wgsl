// Forward, the row in registers: one read of the input, one write of y. Formulas: common/cached.wgsl.
//
//     slot        a row's place: the threads of one row, walking its rows (workgroup_rows)
//     workgroup   rows_per_workgroup slots, one below the other
//     row         threads_per_row threads side by side, each with STEPS * PARTS vec4 of it (common/row.wgsl)
//
// On a GPU each row is a slot of its own. On a CPU a slot walks many, with gain and bias held between them: a
// load costs there what a load from memory costs, wherever it is served from.
//
// Needs: load_input, store_input, first_of_row, before_writing, load_parameters, apply_affine, finish_y,
// write_y, store_statistics, row_sum (2 calls a row); with codes larger, inverse_unit, write_codes;
// where a gate is held hold_gate.

const VECTORS: u32 = STEPS * PARTS;

// Whether gain and bias stay in registers from row to row, and whether a gate does.
const HOLD_PARAMETERS: bool = false;
const HOLD_GATE: bool = false;

// One column may outweigh all others: each addition of a square after it costs half a unit of rstd in
// float32, which a y of 16 bits does not show.
const COMPENSATE_SQUARES: bool = true;

// Whether y is written in codes too, for whose unit it stays in the registers of x.
const WITH_CODES: bool = false;

// Where a thread has many values, all near one size, each addition may round the same way: the sum of
// differences from the mean, which corrects it, would be off by half a unit for each. Runs of so many vec4s
// are added up apart.
const RUN: u32 = 8u;

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot_in_workgroup = invocation.index / THREADS_PER_ROW;
    let first_slot = workgroup_number(workgroup) * ROWS_PER_WORKGROUP;
    let rows = workgroup_rows(first_slot);
    if (rows.first >= rows.end) {
        return;
    }

    var parameters: array<Parameters, STEPS>;
    if (HOLD_PARAMETERS) {
        for (var step = 0u; step < STEPS; step++) {
            parameters[step] = load_parameters(rows.first, step, thread);
        }
    }
    if (HOLD_GATE) {
        for (var step = 0u; step < STEPS; step++) {
            hold_gate(rows.first, step, thread);
        }
    }
    for (var first_row = rows.first; first_row < rows.end; first_row += ROWS_PER_WORKGROUP) {
        // Threads without a row repeat the last one up to its stores, so that all take part in the sums.
        let has_row = ROWS_PER_WORKGROUP == 1u || first_row + slot_in_workgroup < rows.end;
        let row = min(first_row + slot_in_workgroup, rows.end - 1u);

        var x: array<vec4<f32>, VECTORS>;
        for (var step = 0u; step < STEPS; step++) {
            var values = load_input(row, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                x[step * PARTS + part] = values[part];
            }
        }
        var shift = 0.0;
        if (CENTERED) {
            shift = first_of_row(row, x[0].x);
        }
        var total = vec4<f32>();
        var magnitude = vec4<f32>();
        for (var step = 0u; step < STEPS; step++) {
            for (var part = 0u; part < PARTS; part++) {
                let term = keep_row(shifted_term(x[step * PARTS + part], shift), step, part, thread);
                total += term;
                if (WIDE_RANGE) {
                    magnitude += abs(term);
                }
            }
        }
        var mean = RowMean(0.0, 1.0);
        if (CENTERED || WIDE_RANGE) {
            let sums = Sums(add_components(total), add_components(magnitude));
            mean = row_mean(row_sum(invocation, sums), shift);
        }

        // Every thread has read its part of the row, and shift: from here on the row may be written.
        before_writing();
        if (has_row) {
            for (var step = 0u; step < STEPS; step++) {
                var values: Values;
                for (var part = 0u; part < PARTS; part++) {
                    values[part] = x[step * PARTS + part];
                }
                store_input(row, step, thread, values);
            }
        }

        var sum_c = vec4<f32>();
        var run_c = vec4<f32>();
        var sum_cc = Compensated();
        for (var step = 0u; step < STEPS; step++) {
            for (var part = 0u; part < PARTS; part++) {
                let i = step * PARTS + part;
                x[i] = keep_row(center(x[i], mean), step, part, thread);
                run_c += x[i];
                if (VECTORS > RUN && i % RUN == RUN - 1u) {
                    sum_c += run_c;
                    run_c = vec4<f32>();
                }
                if (COMPENSATE_SQUARES) {
                    sum_cc = add_compensated(sum_cc, x[i] * x[i]);
                } else {
                    sum_cc.sum = fma(x[i], x[i], sum_cc.sum);
                }
            }
        }
        let sums = Sums(add_components(sum_c + run_c), add_components(sum_cc.sum));
        let scale = row_scale(row_sum(invocation, sums), mean);

        // The bits of the largest |y| of each component.
        var largest = vec4<u32>();
        if (has_row) {
            let offset = -scale.delta * scale.rstd;
            for (var step = 0u; step < STEPS; step++) {
                if (!HOLD_PARAMETERS) {
                    parameters[step] = load_parameters(row, step, thread);
                }
                var xhat: Values;
                for (var part = 0u; part < PARTS; part++) {
                    xhat[part] = fma(x[step * PARTS + part], vec4<f32>(scale.rstd), vec4<f32>(offset));
                }
                var y = finish_y(row, step, thread, apply_affine(parameters[step], xhat));
                write_y(row, step, thread, y, scale.nan);
                if (WITH_CODES) {
                    largest = larger(largest, y, step, thread);
                    for (var part = 0u; part < PARTS; part++) {
                        x[step * PARTS + part] = y[part];
                    }
                }
            }
            store_row_statistics(row, thread, mean, scale);
        }
        if (WITH_CODES) {
            let inverse = inverse_unit(invocation, row, has_row, thread, largest, scale.nan);
            if (has_row) {
                for (var step = 0u; step < STEPS; step++) {
                    var y: Values;
                    for (var part = 0u; part < PARTS; part++) {
                        y[part] = x[step * PARTS + part];
                    }
                    write_codes(row, step, thread, y, inverse);
                }
            }
        }
    }
}
