// dgain and dbias: the sums over rows, from the partial sums that the slots or workgroups of backward left.
//
//     workgroup   one step of columns (common/row.wgsl), workgroup n the step n
//     slice       rows_per_workgroup slices, slice s adding up partial sums s, s + slices, ... in order
//
// The slices are then added up in a tree. No atomics: the same partial sums give the same bits every time.
//
// Needs: load_partials, finite_or, write_dgain, write_dbias, write_dgate, slot_sum over the slices (3 calls),
// leaves_sum.

alias Sums = vec4<f32>;

const WITH_DGAIN: bool = true;
const WITH_DBIAS: bool = true;
const WITH_DGATE: bool = false;

// Partial sums that a thread loads before it adds them up: most of the time is spent waiting for them.
const BATCH: u32 = 4u;

// A column's partial sums may be far larger than their sum: each plain addition would cost half a unit of the
// largest, and a slice may have many. What rounding loses of an infinity is NaN, and a compensated sum with
// it: there the plain one counts.
struct ColumnSums {
    plain: Values,
    compensated: array<Compensated, PARTS>,
}

fn add_to_columns(total: ColumnSums, terms: Values) -> ColumnSums {
    var sums = total;
    var values = terms;
    sums.plain = add_values(sums.plain, values);
    for (var part = 0u; part < PARTS; part++) {
        sums.compensated[part] = add_compensated(sums.compensated[part], values[part]);
    }
    return sums;
}

// The slices' sums together.
fn column_totals(index: u32, own: ColumnSums) -> Values {
    var sums = own;
    var totals: Values;
    for (var part = 0u; part < PARTS; part++) {
        totals[part] = slot_sum(index, finite_or(sums.plain[part], sums.compensated[part].sum));
    }
    return totals;
}

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slice = invocation.index / THREADS_PER_ROW;
    let step = workgroup_number(workgroup);
    if (step >= STEPS) {
        return;
    }

    var sum_dgain = ColumnSums();
    var sum_dbias = ColumnSums();
    var sum_dgate = ColumnSums();
    for (var first = slice; first < params.rows; first += BATCH * ROWS_PER_WORKGROUP) {
        var dgain: array<Values, BATCH>;
        var dbias: array<Values, BATCH>;
        var dgate: array<Values, BATCH>;
        for (var i = 0u; i < BATCH; i++) {
            // Beyond the last one, that is loaded again and not added.
            let partial_row = min(first + i * ROWS_PER_WORKGROUP, params.rows - 1u);
            if (WITH_DGAIN) {
                dgain[i] = load_partials(partial_dgain(partial_row), step, thread);
            }
            if (WITH_DBIAS) {
                dbias[i] = load_partials(partial_dbias(partial_row), step, thread);
            }
            if (WITH_DGATE) {
                dgate[i] = load_partials(partial_dgate(partial_row), step, thread);
            }
        }
        for (var i = 0u; i < BATCH; i++) {
            if (first + i * ROWS_PER_WORKGROUP < params.rows) {
                if (WITH_DGAIN) {
                    sum_dgain = add_to_columns(sum_dgain, dgain[i]);
                }
                if (WITH_DBIAS) {
                    sum_dbias = add_to_columns(sum_dbias, dbias[i]);
                }
                if (WITH_DGATE) {
                    sum_dgate = add_to_columns(sum_dgate, dgate[i]);
                }
            }
        }
    }
    var dgain: Values;
    var dbias: Values;
    var dgate: Values;
    if (WITH_DGAIN) {
        dgain = column_totals(invocation.index, sum_dgain);
    }
    if (WITH_DBIAS) {
        dbias = column_totals(invocation.index, sum_dbias);
    }
    if (WITH_DGATE) {
        dgate = column_totals(invocation.index, sum_dgate);
    }
    if (leaves_sum(slice)) {
        write_dgain(0u, step, thread, dgain, 0u);
        write_dbias(0u, step, thread, dbias, 0u);
        if (WITH_DGATE) {
            write_dgate(0u, step, thread, dgate, 0u);
        }
    }
}
