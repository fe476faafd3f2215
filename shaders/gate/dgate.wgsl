// What the gate's gradient has of a step of a row: dx, the gradient of the gated sum, times the branch.
fn gate_terms(row: u32, step: u32, thread: u32, total: Values, nan: PerRowBits) -> Values {
    var terms = total;
    var branch = load_branch(row, step, thread);
    for (var part = 0u; part < PARTS; part++) {
        terms[part] = or_nan(terms[part], nan) * branch[part];
    }
    return terms;
}
