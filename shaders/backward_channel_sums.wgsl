// Backward, the sums over the columns of each channel of each row: what dgain and dbias of a channel are made
// of, a partial sum for each sample.
//
//     workgroup   one row, a group of channels of a sample; workgroup n the row n
//     slot        rows_per_workgroup slots, slot s walking the channels s, s + slots, ...
//     channel     threads_per_row threads side by side, walking its columns in STEPS steps (common/row.wgsl)
//
// A first walk over x takes what rounding left in the saved mean, which the columns of all channels of the
// row show: mostly x comes from cache in the second.
//
// Barriers: 1, beside those of row_sum. Needs: load_source, load_dz, load_statistics, store_partial_sum,
// row_sum (1 call a row, and 1 for every rows_per_workgroup channels).

// Steps of a run: 4 vec4s, or all of a shorter channel.
const RUN_STEPS: u32 = 4u / PARTS;

// xhat of a row that is one column is 0, as compilers may know: they would take 0 times what is not finite
// for 0.
fn channel_xhat(x: vec4<f32>, dy: vec4<f32>, saved: RowStatistics, delta: f32) -> vec4<f32> {
    if (CENTERED && IS_ONE_COLUMN) {
        return or_nan(vec4<f32>(), bits_if_not_finite(dy.x) | bits_if_not_finite(saved.rstd));
    }
    return saved_xhat(x, saved) - delta;
}

// The thread's sums over a channel, of xhat, or else of dy and dy * xhat. In runs, which are added up
// compensated: rounding errors of thousands of additions to one growing sum would show.
fn channel_sums(run: u32, thread: u32, saved: RowStatistics, delta: f32, of_xhat: bool) -> Sums {
    var total = Compensated();
    var plain = vec4<f32>();
    for (var run_step = 0u; run_step < STEPS; run_step += RUN_STEPS) {
        var sum_xhat = vec4<f32>();
        var sum_dy = vec4<f32>();
        var sum_product = vec4<f32>();
        for (var i = 0u; i < RUN_STEPS; i++) {
            let step = run_step + i;
            let loaded_step = min(step, STEPS - 1u);
            var source_values = load_source(run, loaded_step, thread);
            var dy_values: Values;
            if (!of_xhat) {
                dy_values = load_dz(run, loaded_step, thread, saved);
            }
            for (var part = 0u; part < PARTS; part++) {
                let is_in = in_row(step, part, thread) & vec4<bool>(step < STEPS);
                let xhat = channel_xhat(source_values[part], dy_values[part], saved, delta);
                if (of_xhat) {
                    sum_xhat += select(vec4<f32>(), xhat, is_in);
                } else {
                    sum_dy += select(vec4<f32>(), dy_values[part], is_in);
                    sum_product += select(vec4<f32>(), dy_values[part] * xhat, is_in);
                }
            }
        }
        let sums = Sums(add_components(sum_xhat), add_components(sum_dy), add_components(sum_product));
        total = add_compensated(total, vec4<f32>(sums, 0.0));
        plain += vec4<f32>(sums, 0.0);
    }
    // What rounding loses of an infinity is NaN.
    return finite_or(plain, total.sum).xyz;
}

var<workgroup> slot_means: array<f32, ROWS_PER_WORKGROUP>;

// What rounding left in the saved mean of a row, as row_means has it.
fn row_delta(invocation: Invocation, row: u32, slot: u32, thread: u32, saved: RowStatistics) -> f32 {
    if (FROM_Y || !(CENTERED && WITH_DGAIN)) {
        return 0.0;
    }
    var own = Sums();
    for (var channel = slot; channel < CHANNELS; channel += ROWS_PER_WORKGROUP) {
        own += channel_sums(row * CHANNELS + channel, thread, saved, 0.0, true);
    }
    let mean = row_sum(invocation, own).x * MEAN_FACTOR;
    if (thread == 0u) {
        slot_means[slot] = mean;
    }
    workgroupBarrier();
    var delta = 0.0;
    for (var i = 0u; i < ROWS_PER_WORKGROUP; i++) {
        delta += slot_means[i];
    }
    return delta;
}

fn kernel(invocation: Invocation, workgroup: vec3<u32>) {
    let thread = invocation.index % THREADS_PER_ROW;
    let slot = invocation.index / THREADS_PER_ROW;
    let row = workgroup_number(workgroup);
    if (row >= params.rows) {
        return;
    }

    let saved = load_statistics(row * CHANNELS);
    let sample = (params.first_inner_row + row) / params.inner_rows;
    let first_of_row = (params.first_inner_row + row) % params.inner_rows * CHANNELS;
    let is_first = sample >= params.earlier_partial_rows;
    let delta = row_delta(invocation, row, slot, thread, saved);
    for (var first = 0u; first < CHANNELS; first += ROWS_PER_WORKGROUP) {
        // Slots without a channel repeat the last one up to its stores, so that all take part in the sums.
        let channel = min(first + slot, CHANNELS - 1u);
        let own = channel_sums(row * CHANNELS + channel, thread, saved, delta, false);
        let sums = row_sum(invocation, own);
        if (first + slot < CHANNELS && thread == 0u) {
            if (WITH_DGAIN) {
                store_partial_sum(partial_dgain(sample), first_of_row + channel, sums.z, is_first);
            }
            if (WITH_DBIAS) {
                store_partial_sum(partial_dbias(sample), first_of_row + channel, sums.y, is_first);
            }
        }
    }
}
