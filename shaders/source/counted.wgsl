// The columns whose gain is below the least, by the first workgroup. Barriers: those of a row_sum.
fn count_clamped(invocation: Invocation, workgroup: vec3<u32>, thread: u32) {
    if (workgroup_number(workgroup) == 0u) {
        var count = PerRow();
        // Once a call: a loop over STEPS itself would be written out.
        let row_steps = STEPS;
        for (var step = 0u; step < row_steps; step++) {
            var factors = load_factors(0u, step, thread);
            for (var part = 0u; part < PARTS; part++) {
                let is_clamped = abs(factors[part]) < vec4<f32>(least_gain());
                let ones = select(vec4<f32>(), vec4<f32>(1.0), is_clamped);
                count += add_components(keep_row(ones, step, part, thread));
            }
        }
        let total = row_sum(invocation, Sums(count, PerRow(), PerRow()));
        if (invocation.index == 0u) {
            clamped[params.places[PLACE_CLAMPED].x] = vec4<f32>(total[0]).x;
        }
    }
}
