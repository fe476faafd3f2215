// The columns of such rows, walked again.
//
// Needs: load_source, load_source_of_dz, dz_of, load_parameters, small_dxhat, times_gain_plus, total_dx,
// finish_dx; with dgate load_branch.

// Whether the sums are compensated. A row in registers has few terms a thread, and leaves few registers.
const COMPENSATE_LARGE: bool = true;

// A count of steps that compilers do not know: written out, these walks would be most of the text.
fn unknown_steps() -> u32 {
    return STEPS * u32(params.one);
}

// The thread's sums over the columns of a row in the steps from first_step on: 0, dxhat and dxhat * xhat, at
// a small scale.
fn small_sums(row: u32, first_step: u32, thread: u32, saved: RowStatistics, delta: PerRow) -> Sums {
    var sum_dxhat = Compensated();
    var sum_product = Compensated();
    var plain_dxhat = vec4<f32>();
    var plain_product = vec4<f32>();
    for (var i = 0u; i < unknown_steps(); i++) {
        let step = first_step + i;
        let parameters = load_parameters(row, step, thread);
        let of_dz = load_source_of_dz(row, step, thread);
        let dy_values = dz_of(row, step, thread, of_dz, parameters, saved);
        var dxhat = small_dxhat(parameters, dy_values);
        var unscaled_dxhat = times_gain_plus(parameters, dy_values, PerRow());
        var source_values = load_source(row, step, thread);
        for (var part = 0u; part < PARTS; part++) {
            let term = keep_row(dxhat[part], step, part, thread) * SUM_SCALE;
            let xhat = keep_row(saved_xhat(source_values[part], saved) - delta, step, part, thread);
            if (COMPENSATE_LARGE) {
                sum_dxhat = add_compensated(sum_dxhat, term);
                sum_product = add_compensated(sum_product, term * xhat);
            }
            plain_dxhat += term;
            var factor = term;
            if (IS_LINEAR) {
                // Beside an xhat that is infinite, what is 0 at the small scale alone counts by its sign.
                let is_infinite = (bitcast<vec4<u32>>(xhat) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
                factor = select(term, sign(unscaled_dxhat[part]), is_infinite & (term == vec4<f32>()));
            }
            plain_product = fma(factor, xhat, plain_product);
        }
    }
    // What rounding loses of an infinity is NaN.
    if (COMPENSATE_LARGE) {
        plain_dxhat = finite_or(plain_dxhat, sum_dxhat.sum);
        plain_product = finite_or(plain_product, sum_product.sum);
    }
    return Sums(PerRow(), add_components(plain_dxhat), add_components(plain_product));
}

// dx of a step of such a row, with what is added to it, from means at the small scale. Rows that share
// accesses with such a row have theirs as if they were alone.
fn large_dx(row: u32, step: u32, thread: u32, saved: RowStatistics, means: RowMeans) -> Values {
    // Up again by 2^144, and times the factor: a small one first, as dx may be finite where dx / factor is
    // not.
    let is_small = abs(means.factor) < PerRow(1.0);
    let first = select(PerRow(1.0), means.factor, is_small) / ROOT_SCALE;
    let last = select(means.factor, PerRow(1.0), is_small);
    let parameters = load_parameters(row, step, thread);
    let of_dz = load_source_of_dz(row, step, thread);
    let dy_values = dz_of(row, step, thread, of_dz, parameters, saved);
    var dxhat = small_dxhat(parameters, dy_values);
    var source_values = load_source(row, step, thread);
    var dx: Values;
    for (var part = 0u; part < PARTS; part++) {
        let xhat = saved_xhat(source_values[part], saved) - means.delta;
        dx[part] = projected(xhat, dxhat[part] - means.dxhat, means) * first / ROOT_SCALE * last;
        if (ACCESS_ROWS > 1u) {
            var plain = times_gain_plus(parameters, dy_values, -means.dxhat);
            let of_plain = means.factor * projected(xhat, plain[part], means);
            dx[part] = select(of_plain, dx[part], vec4<bool>(means.is_large));
        }
    }
    return total_dx(row, step, thread, dx);
}

// Writes dx of the thread's columns in the steps from first_step on.
fn write_large_dx(row: u32, first_step: u32, thread: u32, saved: RowStatistics, means: RowMeans) {
    for (var i = 0u; i < unknown_steps(); i++) {
        let step = first_step + i;
        finish_dx(row, step, thread, saved, large_dx(row, step, thread, saved, means), means.nan);
    }
}
