// dgain and dbias: the sums over rows, from the partial sums that the slots of backward left.
//
//     workgroup   one step of columns (common/row.wgsl), workgroup n the step n
//     slice       rows_per_workgroup slices, slice s adding up partial sums s, s + slices, ... in order
//
// The slices are then added up in a tree. No atomics: the same partial sums give the same bits every time.
//
// Needs: load_partials, write_dgain, write_dbias, row_sum over the slices (up to 4 calls).

alias Sums = vec4<f32>;

const WITH_DGAIN: bool = true;
const WITH_DBIAS: bool = true;

// What rounding loses of an infinity is NaN, and a compensated sum with it: there the plain one counts.
fn finite_or(plain: vec4<f32>, compensated: vec4<f32>) -> vec4<f32> {
    let exponent = vec4<u32>(0x7f800000u);
    return select(compensated, plain, (bitcast<vec4<u32>>(compensated) & exponent) == exponent);
}

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slice = invocation.index / THREADS_PER_ROW;
    let step = workgroup_number(workgroup);
    if (step >= STEPS) {
        return;
    }

    // A column's partial sums may be far larger than their sum: each plain addition would cost half a unit of the largest.
    var sum_dgain = array<Compensated, PARTS>();
    var sum_dbias = array<Compensated, PARTS>();
    var plain_dgain: Values;
    var plain_dbias: Values;
    for (var partial_row = slice; partial_row < params.rows; partial_row += ROWS_PER_WORKGROUP) {
        if (WITH_DGAIN) {
            var terms = load_partials(partial_dgain(partial_row), step, thread);
            plain_dgain = add_values(plain_dgain, terms);
            for (var part = 0u; part < PARTS; part++) {
                sum_dgain[part] = add_compensated(sum_dgain[part], terms[part]);
            }
        }
        if (WITH_DBIAS) {
            var terms = load_partials(partial_dbias(partial_row), step, thread);
            plain_dbias = add_values(plain_dbias, terms);
            for (var part = 0u; part < PARTS; part++) {
                sum_dbias[part] = add_compensated(sum_dbias[part], terms[part]);
            }
        }
    }
    var dgain: Values;
    var dbias: Values;
    for (var part = 0u; part < PARTS; part++) {
        if (WITH_DGAIN) {
            dgain[part] = row_sum(invocation, finite_or(plain_dgain[part], sum_dgain[part].sum), 0u);
        }
        if (WITH_DBIAS) {
            dbias[part] = row_sum(invocation, finite_or(plain_dbias[part], sum_dbias[part].sum), 0u);
        }
    }
    if (slice == 0u) {
        write_dgain(params.dgain, step, thread, dgain);
        write_dbias(params.dbias, step, thread, dbias);
    }
}
